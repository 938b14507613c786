"""`vit-atlas reproduce`: does a commit's result come out again?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vit_atlas.reproduce.compare import TOLERANCE

DIFFERS, CANNOT_RUN = 1, 2


def reproduce(
    revision: Annotated[str, typer.Argument(help="A commit, branch or tag.", metavar="REV")] = "HEAD",
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Only this stage and those before it; may be repeated.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Work in this new folder, and leave it there to look at.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Room for numbers without an interval, as a part of max(1, their size).")
    ] = TOLERANCE,
    exact: Annotated[bool, typer.Option("--exact", help="Let nothing but equal bytes pass.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run a commit's pipeline again, with its own code on its own data, and compare with what it committed.

    The commit is checked out into a temporary folder: nothing in this one changes. Its data comes from the local DVC
    cache, else from the DVC remote, else (the sample) is made anew, and is checked against its hash. Every stage runs;
    none is taken from DVC's run-cache.

    EXACT means that every out has the hash that dvc.lock records (the report page aside, which names the commit it was
    made at). WITHIN TOLERANCE means that bytes differ, as on another processor or GPU, but every number with a
    bootstrap interval lies in the committed interval, its ends moved by half a width at most, and other numbers by
    --tolerance; captions may be those of another training; prepare must be exact even so. All else DIFFERS.

    Exit code: 0 exact or within tolerance (--exact: exact only), 1 differs, 2 cannot be run.
    """
    import json

    from vit_atlas import reproduce as again
    from vit_atlas.errors import AtlasError

    try:
        result = again.reproduce(revision, Path.cwd(), stage or (), keep, tolerance)
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(CANNOT_RUN) from None
    typer.echo(json.dumps(again.as_json(result), indent=2) if as_json else again.as_text(result))
    if result.verdict == "differs" or (exact and result.verdict != "exact"):
        raise typer.Exit(DIFFERS)
