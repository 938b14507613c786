"""`vit-atlas track`: show the present result in MLflow."""

import typer


def track() -> None:
    """Show the result in this folder in MLflow (MLFLOW_TRACKING_URI, or mlflow.db here), completing its run."""
    from vit_atlas.tracking import mirror

    mirrored = mirror()
    if mirrored is None:
        raise typer.Exit(1)
    what = {"made": "made", "adopted": "completed", "found": "already there, now complete"}[mirrored.how]
    typer.echo(f"MLflow run {mirrored.run_id} {what}: {mirrored.uri} (`make ui` opens it)")
