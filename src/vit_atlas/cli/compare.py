"""`vit-atlas compare`: where the maps of two commits differ."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    old: Annotated[str, typer.Argument(help="A commit, branch or tag, or a maps.npz file, to compare with.")] = "HEAD",
    new: Annotated[
        str, typer.Argument(help="The same; by default the maps in this folder.")
    ] = "build/attention/maps.npz",
    folder: Annotated[Path, typer.Option(help="Where the pictures go; it is replaced.")] = Path("plots/compare"),
) -> None:
    """Draw old map, new map and their difference for every photo that both results have, and say how much moved."""
    from vit_atlas.comparison.maps import draw_differences, maps_of

    moved = draw_differences(maps_of(old), maps_of(new), folder)
    for method, amount in moved.items():
        typer.echo(f"{method:16} {amount:6.1%} of the map in another place")
    typer.echo(f"pictures: {folder}")
