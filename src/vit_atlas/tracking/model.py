"""The result's model in MLflow: weights, card, signature, and how to ask it."""

import tempfile
from pathlib import Path
from typing import Any

from vit_atlas import paths
from vit_atlas.export import PHOTO_READER, fill
from vit_atlas.tracking.client import Connection
from vit_atlas.tracking.result import Result

MODEL_NAME = "classifier"
MODEL_TAG = "vit_atlas.model"
HOW_TO_ASK = (
    'POST /invocations with JSON {"inputs": ["<a photo\'s bytes in base64>", ...], "params": {"top_k": 5}}; '
    'the answer is {"predictions": [{"label": ..., "score": ..., "classes": [{"label": ..., "score": ...}, ...]}, ...]}'
)


def log_model(connection: Connection, run: Any, result: Result) -> str | None:
    """Add build/model to the run unless it holds a whole one; returns the model's id, or None without build/model.

    A run whose model another run has sent already, as after an experiment that changed no training, leads to that one:
    nothing is stored twice. The connection has to be the one of MLflow's global functions.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput

    if not (paths.MODEL / "config.json").is_file():
        return None
    client = connection.client
    for output in run.outputs.model_outputs if run.outputs else []:
        if client.get_logged_model(output.model_id).status == "READY":
            return str(output.model_id)
        # Its upload was cut short.
        client.delete_logged_model(output.model_id)
    for model in _same(connection, result):
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
        return str(model.model_id)
    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run.info.run_id):
        folder = Path(scratch) / MODEL_NAME
        folder.mkdir()
        fill(folder, result.metrics, result.data_hash)
        logged = mlflow.pyfunc.log_model(
            name=MODEL_NAME,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={MODEL_NAME: str(folder)},
            code_paths=[str(folder / PHOTO_READER)],
            signature=_signature(),
            pip_requirements=_requirements(),
            metadata={"how_to_ask": HOW_TO_ASK},
            tags={MODEL_TAG: result.model} if result.model else None,
        )
    return str(logged.model_id)


def _same(connection: Connection, result: Result) -> list[Any]:
    """Find whole models of other runs with the same bytes, measured on the same photos."""
    if result.model is None:
        return []
    same = connection.client.search_logged_models(
        [connection.experiment_id], f"tags.`{MODEL_TAG}` = '{result.model}'", max_results=1
    )
    return [model for model in same if model.status == "READY"]


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    one = Object([Property("label", DataType.string), Property("score", DataType.double)])
    answer = [ColSpec("string", "label"), ColSpec("double", "score"), ColSpec(Array(one), "classes")]
    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema(answer),
        params=ParamSchema([ParamSpec("top_k", DataType.integer, 5)]),
    )


def _requirements() -> list[str]:
    from importlib.metadata import version
    from importlib.util import find_spec

    names = ["mlflow", "numpy", "pandas", "pillow", "torch", "torchvision", "transformers"]
    names += ["pillow-heif"] if find_spec("pillow_heif") else []
    # A local build's suffix, as in 2.9.0+cpu, is no version that a registry has.
    return [f"{name}=={version(name).split('+')[0]}" for name in names]
