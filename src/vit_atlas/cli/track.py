"""`vit-atlas track`: show the present result in MLflow; `vit-atlas export`: hand the model on."""

from pathlib import Path
from typing import Annotated

import typer


def track(
    champion: Annotated[
        bool, typer.Option("--champion", help="Make this result's model the registry's champion, whatever its numbers.")
    ] = False,
) -> None:
    """Show the result in this folder in MLflow (MLFLOW_TRACKING_URI, or mlflow.db here), completing its run."""
    from vit_atlas.tracking import mirror

    mirrored = mirror(champion)
    if mirrored is None or (champion and mirrored.version is None):
        raise typer.Exit(1)
    what = {"made": "made", "adopted": "completed", "found": "already there, now complete"}[mirrored.how]
    typer.echo(f"MLflow run {mirrored.run_id} {what}: {mirrored.uri} (`make ui` opens it)")
    if mirrored.version:
        name = mirrored.registered
        typer.echo(f"model models:/{name}/{mirrored.version}; the best one for these classes: models:/{name}@champion")


def export(
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet, or is empty.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write model.onnx too: opset 18, any batch, preprocessing in its metadata.")
    ] = False,
) -> None:
    """Copy build/model to a folder, with a model card that holds the results on test photos."""
    from vit_atlas.export import export_model
    from vit_atlas.provenance import LOCK, data_hash, read_lock, read_numbers
    from vit_atlas.tracking.result import read_result

    if LOCK.is_file():
        # Makes sure that the model and the numbers are of one result.
        read_result()

    def write(path: Path) -> None:
        from vit_atlas.export_onnx import OPSET, write_onnx
        from vit_atlas.models.classifier import load_finetuned

        typer.echo(f"{path.name}, opset {OPSET}: {write_onnx(load_finetuned(), path)}")

    folder = export_model(target, read_numbers(), data_hash(read_lock()), write if onnx else None)
    typer.echo(f"model and card: {folder}")
