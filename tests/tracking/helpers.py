"""What the tracking tests share: a folder as `dvc repro` leaves it, and questions to an MLflow database."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import mlflow
import pandas as pd
import yaml

from tests.tiny_settings import params
from vit_atlas.settings import Settings
from vit_atlas.tracking import Mirrored, mirror, open_stream, training_key
from vit_atlas.tracking.client import DATABASE, tracking_uri

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
class Finished:
    """A folder as `dvc repro` leaves it, and what changes it."""

    folder: Path

    def lock(self, **changes: dict[str, Any]) -> None:
        """Write params.yaml and the dvc.lock of a run with these settings; the report's record is an older one."""
        content = params(**{"finetune": {"epochs": 2}} | changes)
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
            "attn-viz": {"cmd": "a", "params": {"params.yaml": {"attention": content["attention"]}}},
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


class Process:
    """A program that serves on this machine: started, waited for until it answers, and gone when the block ends."""

    def __init__(self, folder: Path, command: list[str], health: str, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self._command, self._health = command, health
        self._environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | environment
        self.start()

    def start(self) -> None:
        """Start it (again) in a session of its own."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, how: signal.Signals) -> None:
        """Send a signal to it and its workers, and wait until it is gone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        self.process.wait(timeout=30)

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self._health, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{' '.join(self._command)} did not start:\n{self.log.read_text()[-3000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.end(signal.SIGTERM)


class Server(Process):
    """A real `mlflow server`: by default on the database in ``folder``, with the artifacts in ``folder``/files."""

    def __init__(
        self, folder: Path, store: str | None = None, artifacts: str | None = None, **environment: str
    ) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", store or f"sqlite:///{DATABASE}"]
        command += ["--artifacts-destination", artifacts or str(folder / "files")]
        super().__init__(folder, command, f"{self.address}/health", **environment)


def files(run_id: str, folder: str = "") -> list[str]:
    """Every artifact of a run."""
    found = []
    for item in client().list_artifacts(run_id, folder):
        found += files(run_id, item.path) if item.is_dir else [item.path]
    return sorted(found)


def write_model(labels: tuple[str, ...] = ("cat", "dog")) -> None:
    """A tiny random ViT as finetune leaves it in build/model."""
    from tests.tiny_models import save_tiny

    save_tiny("build/model", labels=labels, hidden_size=8, num_hidden_layers=1, image_size=16)


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri())


def runs() -> list[mlflow.entities.Run]:
    experiment = client().get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", "vit-atlas"))
    return client().search_runs([experiment.experiment_id]) if experiment else []


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client().get_metric_history(run_id, name))


def show() -> Mirrored:
    mirrored = mirror()
    assert mirrored is not None
    return mirrored


def stream(project: Finished, until: int = 4) -> str:
    """What finetune does: send the rows of history.csv as they come."""
    with open_stream(project.training_key(), project.sections()) as opened:
        for row in HISTORY.head(until).to_dict("records"):
            step = int(row.pop("step"))
            opened.log(step, row)
        return str(opened.run_id)
