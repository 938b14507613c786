"""`vit-atlas compare`: is the new result better, and does it look at the right thing?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

WORSE, CANNOT_COMPARE = 1, 2


def compare(
    old: Annotated[
        str, typer.Argument(help="A commit, branch, tag or experiment; a project's folder; a maps.npz.", metavar="REV")
    ] = "HEAD",
    new: Annotated[
        str | None, typer.Argument(help="The same; by default the result in this folder.", metavar="[REV]")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where pictures of both maps go; it is replaced.")] = Path(
        "plots/compare"
    ),
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    page: Annotated[
        bool,
        typer.Option("--page", help="Write index.html into the folder: the table, and both maps of changed photos."),
    ] = False,
    fail_on: Annotated[
        str, typer.Option(help="Exit with 1 on `worse`, or on `worse:accuracy,relevance.mass`.", metavar="WORSE")
    ] = "",
) -> None:
    """Compare two results photo by photo: is the new one better, worse, or is no difference seen?

    Answers, map scores, interventions and words are compared on the test photos that both have, the old one first. Each
    row says the difference with its 95 % interval, a verdict, and from which size a difference would have been seen.
    Holm's correction counts all rows of the table. Photos that changed their answer are named, and the maps of photos
    drawn in both are drawn side by side.

    Tables by photo come from this folder, DVC's cache or the DVC remote; where a commit's are in none of them, its
    numbers in git are compared.

    Exit code: 0, or 1 by --fail-on, or 2 where there is nothing to compare.
    """
    from vit_atlas.errors import AtlasError

    try:
        _check(old, new)
        names = _named(fail_on)
        from vit_atlas.comparison import table
        from vit_atlas.comparison.compare import compare_results, open_both
        from vit_atlas.comparison.page import NEEDED, write_page

        with open_both(old, new, NEEDED if page else ()) as sides:
            found = compare_results(*sides, folder)
            if page:
                write_page(found, *sides, folder / "index.html")
                sys.stderr.write(f"page: {folder / 'index.html'}\n")
        worse = found.worse(names) if fail_on else []
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(CANNOT_COMPARE) from None
    if as_json:
        import json

        typer.echo(json.dumps(table.as_json(found), indent=2, ensure_ascii=False))
    else:
        typer.echo(table.as_markdown(found) if markdown else table.as_text(found))
    if worse:
        sys.stderr.write(f"worse: {', '.join(worse)}\n")
        raise typer.Exit(WORSE)


def _check(*names: str | None) -> None:
    """Find both revisions before anything heavy is imported."""
    from vit_atlas.reproduce.workspace import find_revision

    for name in names:
        if name is not None and not name.endswith(".npz") and not (name and (Path(name) / "dvc.yaml").is_file()):
            find_revision(name, Path())


def _named(fail_on: str) -> list[str]:
    from vit_atlas.errors import AtlasError

    verdict, colon, names = fail_on.partition(":")
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if fail_on and (verdict != "worse" or (colon and not listed)):
        raise AtlasError(
            f"--fail-on {fail_on} is neither `worse` nor `worse:` with names of numbers, such as worse:accuracy"
        )
    return listed
