"""The model as MLflow keeps and serves it: photos in, class names and scores out.

MLflow stores this file beside the weights and runs it wherever the model is loaded, so it imports nothing of vit_atlas
but the package that opens photos, which is stored with it.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

LONGEST_PATH = 1024
"""A longer text is taken for base64 without asking the file system."""
SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
"""Set by `mlflow models serve`: whoever asks over the network must not read this machine's files."""
TOP_K = 5


class PhotoClassifier(PythonModel):
    """A Hugging Face image classifier behind MLflow's ``predict``."""

    def load_context(self, context: Any) -> None:
        """Load the pipeline from the folder ``classifier`` among the model's artifacts."""
        from transformers import pipeline

        self._pipeline = pipeline("image-classification", context.artifacts["classifier"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify photos.

        Args:
            context: not used.
            model_input: a table whose first column holds texts, a list of texts, or one text; each is a photo's bytes
                in base64, or the path of a photo (not when served over HTTP). (MLflow takes hints for schemas, so this
                one names a table alone.)
            params: ``top_k``, how many classes to name (None is 5).

        Returns:
            One row a photo: ``label``, the most probable class; ``score``, its probability; ``classes``, the ``top_k``
            most probable ones with theirs.

        Raises:
            MlflowException: a text is neither, the bytes are not a photo, or ``top_k`` is below 1.
        """
        asked = (params or {}).get("top_k")
        count = TOP_K if asked is None else asked
        if count < 1:
            raise _refusal(f"top_k is {count}, expected at least 1")
        photos = [_open(text, number) for number, text in enumerate(_texts(model_input), 1)]
        rows = [{**answers[0], "classes": answers} for answers in self._pipeline(photos, top_k=count)] if photos else []
        return pd.DataFrame(rows, columns=["label", "score", "classes"])


def _texts(model_input: Any) -> list[str]:
    if isinstance(model_input, pd.DataFrame):
        return [str(cell) for cell in model_input.iloc[:, 0]]
    return [model_input] if isinstance(model_input, str) else [str(cell) for cell in model_input]


def _open(text: str, number: int) -> Any:
    from vit_atlas_photos import AtlasError, open_photo  # type: ignore[import-not-found]

    served = os.environ.get(SERVING) == "true"
    try:
        is_path = not served and len(text) <= LONGEST_PATH and Path(text).is_file()
    except OSError:  # Too long a name for a file system.
        is_path = False
    try:
        content = Path(text) if is_path else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        wanted = "a photo's bytes in base64" if served else "the path of a photo nor a photo's bytes in base64"
        is_not = "not" if served else "neither"
        raise _refusal(f"input {number}, {text[:60]!r}, is {is_not} {wanted}") from None
    try:
        return open_photo(content, called=f"input {number}")
    except AtlasError as error:
        raise _refusal(str(error)) from None


def _refusal(sentence: str) -> MlflowException:
    """An error that the server answers with status 400 and this sentence."""
    return MlflowException.invalid_parameter_value(sentence)


set_model(PhotoClassifier())
