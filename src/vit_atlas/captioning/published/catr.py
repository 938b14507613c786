"""CATR v3: a dilated ResNet-101 and the captioning transformer; its published checkpoint loads unchanged.

References:
    Saahil Uppal, "CATR: image captioning with transformers" (2020), https://github.com/saahiluppal/catr.
"""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models import resnet101
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape
from vit_atlas.errors import AtlasError


class Backbone(nn.Module):
    """ResNet-101 without its head, stride 16: the last stage is dilated. Batch norm is frozen."""

    def __init__(self) -> None:
        super().__init__()
        trunk = resnet101(weights=None, norm_layer=FrozenBatchNorm2d, replace_stride_with_dilation=[False, False, True])
        self.body = IntermediateLayerGetter(trunk, {"layer4": "features"})

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (batch, 3, height, width) pixels to (batch, 2048, rows, columns)."""
        return self.body(pixels)["features"]


class Catr(CaptionNetwork):
    """Backbone and transformer, with the keys of the published checkpoint."""

    def __init__(self, shape: NetworkShape | None = None):
        super().__init__(shape or NetworkShape())
        self.backbone = nn.Sequential(Backbone())

    def features(self, pixels: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The backbone's feature map of (batch, 3, height, width) pixels, and the padding scaled to its grid."""
        features = self.backbone(pixels)
        if padding is None:
            return features, None
        return features, F.interpolate(padding[None].float(), size=features.shape[-2:])[0].bool()


def load_catr(state: dict[str, Any], source: str) -> Catr:
    """Build the network from the state dict of the published checkpoint.

    Args:
        state: names and tensors.
        source: where they came from, for the error message.

    Raises:
        AtlasError: names or shapes are not those of CATR v3.
    """
    with torch.device("meta"):
        network = Catr()
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in state.items()}
    found = {name: shape for name, shape in found.items() if not name.endswith("num_batches_tracked")}
    problem = next(_differences(expected, found), None)
    if problem:
        raise AtlasError(f"{source} is not a CATR v3 checkpoint: {problem}; use the published weight493084032.pth")
    network.load_state_dict({name: state[name] for name in expected}, assign=True)
    return network.eval()


def fused_backbone(backbone: nn.Module) -> nn.Module:
    """A copy of ``backbone`` for inference: each frozen batch norm becomes part of the convolution before it.

    The numbers stay the same within rounding; what goes is a pass over memory for every layer. Convolutions run
    channels-last, the layout that they are fastest in on a CPU.
    """
    fused = copy.deepcopy(backbone).eval()
    for parent in list(fused.modules()):
        names = list(parent._modules)
        for before, after in pairwise(names):
            convolution, norm = parent._modules[before], parent._modules[after]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                _fuse(convolution, norm)
                parent._modules[after] = nn.Identity()
    return fused.to(memory_format=torch.channels_last)


def _fuse(convolution: nn.Conv2d, norm: FrozenBatchNorm2d) -> None:
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.weight, convolution.bias = weight.requires_grad_(False), bias.requires_grad_(False)


def _differences(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in found:
            yield f"`{name}` is missing"
        elif found[name] != shape:
            yield f"`{name}` has shape {found[name]}, not {shape}"
    for name in found:
        if name not in expected:
            yield f"`{name}` is not one of its tensors"
