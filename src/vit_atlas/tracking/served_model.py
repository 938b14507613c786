"""The model as MLflow keeps and serves it: photos in, class names and scores out.

MLflow stores this file beside the weights and runs it wherever the model is loaded, so it imports nothing of vit_atlas.
"""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

LONGEST_PATH = 1024
"""A longer text is taken for base64 without asking the file system."""


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
            model_input: a table whose first column holds texts, a list of texts, or one text; each is the path of a
                photo, or a photo's bytes in base64. (MLflow takes hints for schemas, so this one names a table alone.)
            params: not used.

        Returns:
            One row a photo: ``label``, the most probable class, and ``score``, its probability.

        Raises:
            ValueError: a text is neither.
        """
        photos = [_open(text) for text in _texts(model_input)]
        return pd.DataFrame([answers[0] for answers in self._pipeline(photos, top_k=1)], columns=["label", "score"])


def _texts(model_input: Any) -> list[str]:
    if isinstance(model_input, pd.DataFrame):
        return [str(cell) for cell in model_input.iloc[:, 0]]
    return [model_input] if isinstance(model_input, str) else [str(cell) for cell in model_input]


def _open(text: str) -> Any:
    from PIL import Image
    from transformers.image_utils import load_image

    if len(text) <= LONGEST_PATH and Path(text).is_file():
        return load_image(text)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:60]!r} is neither the path of a photo nor a photo's bytes in base64") from None
    return load_image(Image.open(io.BytesIO(content)))


set_model(PhotoClassifier())
