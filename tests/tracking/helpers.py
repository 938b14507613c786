"""What the tracking tests share: a folder as `dvc repro` leaves it, and questions to an MLflow database."""

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml

from vit_atlas.settings import Settings
from vit_atlas.tracking import open_stream, training_key
from vit_atlas.tracking.client import tracking_uri

HISTORY = pd.DataFrame(
    {
        "step": [1, 2, 3, 4],
        "epoch": [0.5, 1, 1.5, 2],
        "train_loss": [2.0, 1.5, 1.0, 0.5],
        "val_accuracy": [None, 0.5, None, 0.75],
    }
)
DATA_HASH = "0123456789abcdef0123456789abcdef.dir"


@dataclass
class Project:
    """A folder as `dvc repro` leaves it, and what changes it."""

    folder: Path

    def lock(self, **params: Any) -> None:
        """Write params.yaml and the dvc.lock of a run with these settings; the report's record is an older one."""
        content = {"finetune": {"epochs": 2}, "evaluate": {"seed": 0}} | params
        Path("params.yaml").write_text(yaml.safe_dump(content))
        stages = {
            "prepare": {"cmd": "p", "deps": [{"path": "data/classification", "md5": "d" * 32 + ".dir"}]},
            "finetune": {
                "cmd": "f",
                "params": {"params.yaml": {"finetune": content["finetune"]}},
                "outs": [{"path": "build/model", "md5": f"of-{content['finetune']}.dir"}],
            },
            "evaluate": {
                "cmd": "e",
                "params": {"params.yaml": {"evaluate": content["evaluate"]}},
                "outs": [{"path": "metrics/evaluate.json", "md5": md5("metrics/evaluate.json")}],
            },
            "report": {"cmd": "r", "params": {"params.yaml": {"finetune": {"epochs": 77}}}},
        }
        Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def training_key(self) -> str:
        """The key that finetune would use."""
        return training_key("build/prepared/manifest.csv", self.sections())

    def sections(self) -> dict[str, Any]:
        """The settings that finetune reads."""
        settings = Settings.model_validate(yaml.safe_load(Path("params.yaml").read_text()))
        return {"model": settings.model, "augment": settings.augment, "finetune": settings.finetune}


def md5(path: str) -> str:
    return hashlib.md5(Path(path).read_bytes()).hexdigest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri())


def runs() -> list[mlflow.entities.Run]:
    experiment = client().get_experiment_by_name("vit-atlas")
    return client().search_runs([experiment.experiment_id]) if experiment else []


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client().get_metric_history(run_id, name))


def stream(project: Project, until: int = 4) -> str:
    """What finetune does: send the rows of history.csv as they come."""
    with open_stream(project.training_key(), project.sections()) as opened:
        for row in HISTORY.head(until).to_dict("records"):
            step = int(row.pop("step"))
            opened.log(step, row)
        return str(opened.run_id)
