"""`vit-atlas data`: the sample, the official pets, and a look at your own folder before you use it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vit_atlas.errors import printable

if TYPE_CHECKING:
    from vit_atlas.data.prepare import Prepared
    from vit_atlas.settings import DataSettings

app = typer.Typer(help="Get photos, or check your own.", no_args_is_help=True, pretty_exceptions_enable=False)

SHOWN = 40
"""Rows of a table that `check` prints before it says how many more there are."""

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite what is there, even your own photos.")]


@app.command()
def stickers(
    folder: Annotated[
        Path, typer.Option(help="The data folder; the sample goes in classification/ and captioning/.")
    ] = Path("data"),
    replace: Replace = False,
) -> None:
    """Make the sample: cut-out photographs on painted backgrounds, the same bytes on every machine."""
    from vit_atlas.data.stickers.sample import write_sample

    photos, scenes = write_sample(folder, _say, replace=replace)
    typer.echo(f"{photos} photos in {folder / 'classification'}, {scenes} scenes in {folder / 'captioning'}")


@app.command()
def pets(
    folder: Annotated[Path, typer.Option(help="Where images/ and annotations/ go.")] = Path("data/classification"),
    replace: Replace = False,
) -> None:
    """Download the official Oxford-IIIT Pet photos (about 800 MB)."""
    from vit_atlas.data.pets import write_pets

    photos = write_pets(folder, _say, replace=replace)
    typer.echo(f"{photos} photos in {folder}")


@app.command(name="import")
def import_(
    source: Annotated[
        str, typer.Argument(help="A data set on the Hugging Face hub, a Parquet file, or a folder saved by `datasets`.")
    ],
    folder: Annotated[Path, typer.Option(help="Where <split>/<class>/ go.")] = Path("data/classification"),
    config: Annotated[str | None, typer.Option(help="Configuration, where the data set has several.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    image: Annotated[str | None, typer.Option(help="Column of the photos, where several could be it.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the labels, where several could be it.")] = None,
    replace: Replace = False,
) -> None:
    """Write a data set of the Hugging Face hub, or a Parquet file of photos, as an ordinary folder."""
    from vit_atlas.data.hub_import import Choice, import_dataset

    photos = import_dataset(source, folder, _say, Choice(config, revision, image, label), replace=replace)
    typer.echo(f"{photos} photos in {folder}")


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="A folder of photos.")]) -> None:
    """Look at a folder as the pipeline would: layout, splits, every file that would be left out. Writes nothing.

    What DVC cannot store is named first: `dvc add` fails on it, or waits for ever. A folder with images/ and a table
    captions.csv, and data/captioning itself, are read as photos with captions.
    """
    from vit_atlas.captioning.dataset import captions_table
    from vit_atlas.data.prepare import prepare
    from vit_atlas.data.storable import not_storable
    from vit_atlas.paths import CAPTIONING_DATA

    if folder.is_dir() and (problems := not_storable(folder)):
        lines = _table("DVC cannot store", [f"{name}: {reason}" for name, reason in problems])
        typer.echo("\n".join([*lines[1:], ""]))
    # Captions are optional there: a folder of that name holds photos to be captioned, not classes.
    if captions_table(folder) or folder.resolve() == CAPTIONING_DATA.resolve():
        typer.echo("\n".join(_captioning_report(folder)))
        return
    prepared = prepare(folder, _data_settings())
    typer.echo("\n".join(_report(folder, prepared)))


def _report(folder: Path, prepared: "Prepared") -> list[str]:
    from vit_atlas.data.summary import class_counts

    metrics, layout, found = prepared.metrics, prepared.layout, prepared.findings
    counts = ", ".join(f"{metrics[split]} {split}" for split in ("train", "val", "test"))
    lines = [
        f"{printable(str(folder))}: {metrics['layout']}, {metrics['classes']} classes, {metrics['photos']} photos "
        f"({counts}), {metrics['masks']} masks"
    ]
    table = class_counts(prepared.manifest, prepared.classes).pivot(
        index="class_name", columns="split", values="photos"
    )
    table = table.loc[prepared.classes, ["train", "val", "test"]].rename(index=printable)
    lines += ["", table.rename_axis(index="class", columns=None).to_string()]
    converted = prepared.manifest.frame[prepared.manifest.frame["conversions"] != ""]
    lines += _table("left out", _pairs(found.rejected["file"], found.rejected["reason"]))
    lines += _table("converted", _pairs(converted["image_id"], converted["conversions"].str.replace(";", ", ")))
    lines += _table("masks dropped", _pairs(found.masks_dropped["file"], found.masks_dropped["reason"]))
    for kind, title in (("copy", "copies"), ("near", "near-duplicates")):
        groups = found.duplicates[found.duplicates["kind"] == kind].groupby("group")
        shown = [f"{', '.join(rows['file'])} ({', '.join(dict.fromkeys(rows['split']))})" for _, rows in groups]
        lines += _table(title, shown)
    lines += _table("other files", list(layout.ignored))
    return lines + _table("notes", list(layout.notes)) + _table("warnings", metrics["warnings"])


def _captioning_report(folder: Path) -> list[str]:
    from vit_atlas.captioning.dataset import read_dataset

    dataset = read_dataset(folder)
    splits = [photo.split for photo in dataset.photos]
    counts = ", ".join(f"{splits.count(split)} {split}" for split in ("train", "val", "test"))
    lines = [
        f"{printable(str(folder))}: captions, {len(splits)} photos ({counts}, {splits.count('')} without a caption), "
        f"{sum(len(photo.captions) for photo in dataset.photos)} captions, "
        f"{sum(len(photo.things) for photo in dataset.photos)} masks of nouns"
    ]
    lines += _table("left out", [f"{item.file}: {item.reason}" for item in dataset.left_out])
    return lines + _table("warnings", list(dataset.warnings))


def _pairs(files: Iterable[str], details: Iterable[str]) -> list[str]:
    return [f"{file}: {detail}" for file, detail in zip(files, details, strict=True)]


def _table(title: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    more = [f"  ... and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return ["", f"{title} ({len(rows)}):", *(f"  {printable(row)}" for row in rows[:SHOWN]), *more]


def _data_settings() -> "DataSettings":
    from vit_atlas.settings import settings_outside_a_project

    return settings_outside_a_project().data


def _say(line: str) -> None:
    typer.echo(line, err=True)
