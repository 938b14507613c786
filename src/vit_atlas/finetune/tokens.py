"""The frozen trunk's output for the training and the validation photos, which is what the tail is trained on."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from vit_atlas.errors import AtlasError
from vit_atlas.finetune.cache import BATCH, Wanted, network_identity, remembered
from vit_atlas.models.classifier import autocast
from vit_atlas.processes import is_first, share_of
from vit_atlas.training.datasets import AugmentedPhotos, CachedTokens, PlainPhotos


def trunk_tokens(
    trunk: Any,
    train: AugmentedPhotos,
    val: PlainPhotos,
    *,
    views: int,
    shape: tuple[int, int],
    workers: int,
    device: torch.device,
    bfloat16: bool,
) -> tuple[CachedTokens, CachedTokens]:
    """Run the trunk over all views of the training photos and over the validation photos, if no earlier training did.

    Activations are kept in half precision (float16): 11 significant bits, an error far below that of the photo's own
    eight bits a channel.

    Args:
        trunk: base model whose ``last_hidden_state`` is kept, as :func:`vit_atlas.models.trunk.split` gives it.
        train: training photos.
        val: validation photos.
        views: augmented versions of each training photo.
        shape: (tokens, dim) of one photo's hidden states.
        workers: processes that load photos.
        device: where ``trunk`` is.
        bfloat16: whether the trunk runs in mixed precision.

    Returns:
        The training photos' and the validation photos' hidden states.

    Raises:
        AtlasError: the disk has no room, or an activation is too large for half precision.
    """
    network = network_identity(trunk, __name__, "vit_atlas.models.trunk")
    network |= {"device": device.type, "bfloat16": bfloat16}
    sources: list[tuple[Any, list[Any]]] = [
        (train, [(view, index) for index in range(len(train))]) for view in range(views)
    ]
    sources.append((val, list(range(len(val)))))
    identities = [*(train.identity(view) for view in range(views)), val.identity()]
    wanted = [
        Wanted({"photos": identity, "network": network}, (len(draws), *shape), np.float16)
        for identity, (_, draws) in zip(identities, sources, strict=True)
    ]
    trunk.eval()

    def fill(place: int, tokens: np.memmap) -> None:
        photos, draws = sources[place]
        share = share_of(len(draws))
        mine = draws[share.start : share.stop]
        start = share.start
        name = f"frozen blocks, view {place + 1} of {views}" if place < views else "frozen blocks, validation photos"
        with tqdm(total=len(mine), desc=name, unit="photo", smoothing=0.1, disable=not is_first()) as progress:
            for batch in DataLoader(photos, sampler=mine, batch_size=BATCH, num_workers=workers):
                hidden = _forward(trunk, batch["pixel_values"].to(device), bfloat16)
                tokens[start : start + len(hidden)] = hidden.numpy()
                start += len(hidden)
                progress.update(len(hidden))

    count = sum(len(draws) for _, draws in sources)
    arrays = remembered(wanted, fill, f"the trunk cache ({count} photos and views)")
    return CachedTokens(arrays[:-1], train.labels), CachedTokens(arrays[-1:], val.labels)


@torch.inference_mode()
def _forward(trunk: Any, pixels: Tensor, bfloat16: bool) -> Tensor:
    with autocast(pixels.device, bfloat16):
        hidden = trunk(pixels).last_hidden_state
    half = hidden.to(torch.float16).cpu()
    if not half.isfinite().all():
        raise AtlasError(
            "an activation of the frozen blocks is too large for the trunk cache's half precision: "
            "set finetune.trainable_blocks to all, which needs no cache"
        )
    return half
