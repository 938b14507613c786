"""`vit-atlas suspects`: labels to look at again, and corrections beside the data."""

from pathlib import Path
from typing import Annotated

import typer

from vit_atlas.errors import printable


def suspects(
    fix: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A table of corrections: path and label, or rows of build/suspects.csv."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many suspects to list.")] = 40,
) -> None:
    """List photos whose label may be wrong, the likeliest first, and right answers that come from beside the object.

    With --fix, the corrected labels are written to data/classification/label_overrides.csv; photos are never touched.
    """
    from vit_atlas.data.manifest import Manifest, read_classes
    from vit_atlas.data.overrides import NAME, write_corrections
    from vit_atlas.evaluation.suspects import KINDS, NAMES
    from vit_atlas.io.frames import read_csv
    from vit_atlas.paths import CLASSIFICATION_DATA, REJECTED, SUSPECTS

    if fix is not None:
        photos = [Path(path) for path in Manifest.read().paths]
        rejected = read_csv(REJECTED, "prepare", ("file",))["file"]
        given, kept, gone = write_corrections(CLASSIFICATION_DATA, fix, photos, read_classes(), rejected)
        if given:
            typer.echo(
                f"{given} labels corrected, {kept} in {CLASSIFICATION_DATA / NAME}: `dvc repro` trains with them"
            )
        if gone:
            typer.echo(f"{gone} rows name photos that prepare has left out since (see {REJECTED}): not added")
        return
    table = read_csv(SUSPECTS, "suspects", NAMES)
    for row in table.head(count).itertuples():
        typer.echo(printable(f"{row.image_id}: {row.class_name}, like {row.suggested_name}: {KINDS[str(row.kind)]}"))
    if len(table) > count:
        typer.echo(f"... and {len(table) - count} more in {SUSPECTS}")
    if table.empty:
        typer.echo("no suspects")
