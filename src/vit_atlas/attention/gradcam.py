"""Grad-CAM by the pytorch-grad-cam library, on the pass that was made already."""

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from vit_atlas.attention.passes import Look
from vit_atlas.errors import AtlasError
from vit_atlas.models.trunk import blocks, split


def gradcam(look: Look) -> Tensor:
    """Grad-CAM (B, rows, columns) at the first norm of the last block, the place that the library advises for a ViT.

    The library gets the last block and the head only, fed with the token states of the pass, so the network does not
    run again.

    Raises:
        AtlasError: the pass kept no token states.

    References:
        Selvaraju et al. 2017, Grad-CAM, https://arxiv.org/abs/1610.02391
        Gildenblat and contributors, pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam
    """
    if len(look.hidden) < 2:
        raise AtlasError("Grad-CAM needs the token states of every layer: call look(..., layers=True)")
    model = look.classifier.model
    _, layers = blocks(model)
    norm = next(module for module in layers[-1].modules() if isinstance(module, nn.LayerNorm))
    tail = _Tail(split(model, 1).tail, look.hidden[-2].detach())
    rows, columns = look.layout.grid
    # The library resizes its map to the height and width of what it takes for the photo: here, the grid itself.
    stand_in = look.pixels.new_zeros(look.pixels.shape[0], 3, rows, columns)
    with (
        torch.enable_grad(),
        GradCAM(model=tail, target_layers=[norm], reshape_transform=lambda states: _as_image(look, states)) as cam,
    ):
        targets = [ClassifierOutputTarget(int(target)) for target in look.targets]
        maps = cam(input_tensor=stand_in, targets=targets)
    model.zero_grad(set_to_none=True)
    return torch.from_numpy(maps)


class _Tail(nn.Module):
    """The last block and the head on fixed token states, whatever the input."""

    def __init__(self, tail: nn.Module, states: Tensor) -> None:
        super().__init__()
        self.tail = tail
        self.states = states.requires_grad_()

    def forward(self, stand_in: Tensor) -> Tensor:
        del stand_in
        return self.tail(self.states).logits


def _as_image(look: Look, states: Tensor) -> Tensor:
    """Patch tokens of (B, tokens, dim) as (B, dim, rows, columns)."""
    return look.on_grid(states.transpose(1, 2))
