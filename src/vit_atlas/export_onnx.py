"""The model as one ONNX file, for runtimes without torch: checked against the model, with its preprocessing inside."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from torch import Tensor, nn

from vit_atlas.data.manifest import Manifest
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file
from vit_atlas.models.classifier import Classifier
from vit_atlas.paths import MANIFEST, MODEL

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference between a logit of the file and of the model."""
PHOTOS = 8
"""How many photos the check asks about."""
LARGEST = 2**31 - 2**20
"""Bytes of weights that one file of this format holds."""


def write_onnx(classifier: Classifier, path: str | Path) -> str:
    """Write a classifier as ONNX, from ``pixel_values`` (batch, 3, height, width) to ``logits`` (batch, classes).

    The batch is of any size. The graph's metadata say how a photo becomes ``pixel_values``, see :func:`metadata`. Where
    onnxruntime is installed, the file has to answer as the model does: on test photos of build/prepared, or on noise
    where there are none.

    Args:
        classifier: on the CPU.
        path: the file to write (atomically).

    Returns:
        A sentence on what was checked.

    Raises:
        AtlasError: the model is too large or has an operation that ONNX lacks, or the file answers otherwise.
    """
    if sum(value.nbytes for value in classifier.model.state_dict().values()) > LARGEST:
        raise AtlasError(f"{MODEL} has more than 2 GB of weights, which one ONNX file cannot hold: leave out --onnx")
    with atomic_file(path) as temporary:
        _trace(classifier, temporary)
        made = onnx.load(temporary)
        onnx.helper.set_model_props(made, metadata(classifier))
        onnx.save(made, temporary)
        return _check(classifier, temporary)


def metadata(classifier: Classifier) -> dict[str, str]:
    """How a photo becomes the model's input, and what its outputs mean: JSON values by name.

    A photo, upright and in sRGB, is stretched to ``size`` ([height, width]) with ``interpolation``; its values, 0 to
    255, are multiplied with ``rescale``, ``mean`` is taken away, and the rest divided by ``std``, by channel.
    ``crop`` is null, as the whole photo is seen. Logit number n is that of ``classes`` number n.
    """
    processor, names = classifier.processor, classifier.id2label
    rescaled, normalised = processor.do_rescale, processor.do_normalize
    values: dict[str, Any] = {
        "size": list(classifier.image_size),
        "interpolation": Image.Resampling(int(processor.resample)).name.lower(),
        "crop": None,
        "rescale": processor.rescale_factor if rescaled else 1.0,
        "mean": list(processor.image_mean) if normalised else [0.0, 0.0, 0.0],
        "std": list(processor.image_std) if normalised else [1.0, 1.0, 1.0],
        "channels": "RGB",
        "classes": [names[label] for label in sorted(names)],
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def _trace(classifier: Classifier, path: Path) -> None:
    model = classifier.model
    example = torch.zeros(2, 3, *classifier.image_size)
    try:
        with _fixed_positions(model, example), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Logits(model),
                (example,),
                path,
                input_names=["pixel_values"],
                output_names=["logits"],
                dynamic_axes={"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AtlasError(
            f"{MODEL}, a {model.config.model_type} model, cannot be written as ONNX ({first}): leave out --onnx"
        ) from None


class _Logits(nn.Module):
    """A classifier whose forward gives a plain tensor."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.classifier(pixel_values=pixel_values).logits
        return logits


@contextlib.contextmanager
def _fixed_positions(model: Any, example: Tensor) -> Iterator[None]:
    """Make position embeddings that are fitted to the input constants: its size is fixed, and ONNX lacks the fit."""
    fitting = [module for module in model.modules() if hasattr(module, "interpolate_pos_encoding")]
    fitted: dict[nn.Module, Tensor] = {}

    def once(module: Any, fit: Any) -> Callable[..., Tensor]:
        def positions(*arguments: Any, **options: Any) -> Tensor:
            if module not in fitted:
                fitted[module] = fit(*arguments, **options).detach()
            return fitted[module]

        return positions

    for module in fitting:
        module.interpolate_pos_encoding = once(module, module.interpolate_pos_encoding)
    try:
        with torch.no_grad():
            model(pixel_values=example)
        yield
    finally:
        for module in fitting:
            del module.interpolate_pos_encoding


def _check(classifier: Classifier, path: Path) -> str:
    try:
        import onnxruntime
    except ImportError:
        return "not checked, as onnxruntime is not installed: pip install 'vit-atlas[onnx]'"
    pixels, what = _inputs(classifier)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"pixel_values": pixels.numpy()})[0]
    with torch.inference_mode():
        expected = classifier.model(pixel_values=pixels).logits.numpy()
    largest = float(np.abs(found - expected).max())
    # Not "greater": what is no number fails too.
    if not largest <= TOLERANCE or (found.argmax(-1) != expected.argmax(-1)).any():
        raise AtlasError(
            f"the ONNX file answers otherwise than {MODEL} on {what} (a logit differs by {largest:.2g}), so it was not "
            "written: install other versions of torch or onnxruntime, or leave out --onnx"
        )
    return f"checked on {what}: the same classes, logits within {largest:.1g}"


def _inputs(classifier: Classifier) -> tuple[Tensor, str]:
    """Some test photos as the model's input, or noise; and what it is, in words."""
    paths = _test_photos()
    if not paths:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(PHOTOS, 3, *classifier.image_size, generator=generator), "noise, as no photos are here"
    return classifier.pixel_values([open_photo(path) for path in paths]), f"{len(paths)} test photos"


def _test_photos() -> Sequence[str]:
    if not Path(MANIFEST).is_file():
        return []
    paths = [path for path in Manifest.read().split("test").paths if Path(path).is_file()]
    return paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS]
