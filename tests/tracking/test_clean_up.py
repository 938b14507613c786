"""The commands of docs/how-to/clean-up.md, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from vit_atlas.tracking import mirror

from .helpers import Finished, client, runs, write_model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "clean-up.md"


def stored() -> set[str]:
    """Models of which files lie in this folder."""
    return {path.parts[2] for path in Path("mlartifacts/models").rglob("*") if path.is_file()}


def test_models_that_no_run_needs_are_removed_and_others_stay(project: Finished) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert (
        "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow gc --backend-store-uri sqlite:///mlflow.db" in PAGE.read_text()
    )
    write_model()
    first = mirror()
    project.lock(attention={"layer": 3})
    same_model = mirror()
    project.lock(finetune={"seed": 5})
    other = mirror()
    assert first is not None
    assert same_model is not None
    assert other is not None
    kept = {model.model_id for model in client().get_run(same_model.run_id).outputs.model_outputs}
    assert len(stored()) == 2
    client().delete_run(first.run_id)
    client().delete_run(other.run_id)
    subprocess.run([sys.executable, "-c", snippet], check=True)
    collect = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", "sqlite:///mlflow.db"]
    subprocess.run(collect, check=True, env=os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"})
    assert stored() == kept
    assert [run.info.run_id for run in runs()] == [same_model.run_id]
    again = mirror()
    assert again is not None
    assert again.how == "made", "its run was removed"
    assert len(stored()) == 2
