"""The captioner that the pipeline trains: its folder, and how it writes captions."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from vit_atlas.captioning.model.backbones import Backbone, load_backbone
from vit_atlas.captioning.model.captioner import (
    SearchOptions,
    require_visible,
    vocabulary_of,
    write_captions,
)
from vit_atlas.captioning.model.decoding import fast_steps
from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape
from vit_atlas.captioning.model.words import Caption
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json, write_json
from vit_atlas.models.classifier import device

DESCRIPTION = "captioner.json"
WEIGHTS = "model.safetensors"
BACKBONE = "backbone"
BATCH = 16


class TrainedCaptioner:
    """A backbone, a captioning network and its tokenizer behind the captioner interface."""

    def __init__(self, backbone: Backbone, network: CaptionNetwork, tokenizer: Any):
        self._device = device()
        self._backbone = backbone.to(self._device)
        self._network = network.eval().to(self._device)
        if self._device.type == "cpu":
            fast_steps(network)
        self._vocabulary = vocabulary_of(tokenizer, tokenizer.bos_token_id, tokenizer.eos_token_id, "the captioner")

    @torch.inference_mode()
    def caption(self, photos: Sequence[Image.Image], options: SearchOptions) -> list[Caption]:
        """See :class:`vit_atlas.captioning.model.captioner.Captioner`."""
        require_visible(photos)
        captions: list[Caption] = []
        for start in range(0, len(photos), BATCH):
            memory = self._network.encode(self._backbone(photos[start : start + BATCH]))
            captions += write_captions(self._network, memory, self._vocabulary, options)
        return captions


def save_captioner(
    folder: Path,
    backbone: Backbone,
    backbone_description: dict[str, Any],
    network: CaptionNetwork,
    tokenizer: Any,
    data: str,
) -> None:
    """Write all that :func:`load_captioner` needs, and the name of the ``data``, into an existing, empty folder."""
    (folder / BACKBONE).mkdir()
    backbone.save(folder / BACKBONE)
    tokenizer.save_pretrained(folder)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
    description = {"kind": "trained", "shape": asdict(network.shape), "backbone": backbone_description, "data": data}
    write_json(folder / DESCRIPTION, description)


def load_captioner(folder: Path) -> TrainedCaptioner:
    """The captioner that :func:`save_captioner` wrote.

    Raises:
        AtlasError: the folder is not whole.
    """
    description = read_json(folder / DESCRIPTION)
    network = CaptionNetwork(NetworkShape(**description["shape"]))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
        backbone = load_backbone(folder / BACKBONE, description["backbone"])
    except (RuntimeError, OSError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AtlasError(f"the weights in {folder} do not fit {DESCRIPTION} there ({reason}): train again") from None
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return TrainedCaptioner(backbone, network, tokenizer)
