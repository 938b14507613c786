"""CATR v3 as its author published it: the checkpoint is fetched once, checked, and read as tensors only."""

import hashlib
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vit_atlas.captioning.model.captioner import (
    SearchOptions,
    require_visible,
    vocabulary_of,
    write_captions,
)
from vit_atlas.captioning.model.decoding import fast_steps
from vit_atlas.captioning.model.words import Caption
from vit_atlas.captioning.published.catr import Catr, fused_backbone, load_catr
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file
from vit_atlas.models.classifier import device
from vit_atlas.paths import cache_folder

URL = "https://github.com/saahiluppal/catr/releases/download/0.2/weight493084032.pth"
TOKENIZER = "bert-base-uncased"
LONGER_SIDE = 299
"""Pixels that the longer side of a photo is scaled to."""
SHORTEST_SIDE = 16
"""Pixels that the shorter side has at least, so that a strip still makes a feature map."""
BATCH = 8


def published_checkpoint() -> Path:
    """The published weights in the cache (``VIT_ATLAS_CACHE``), downloaded on first use.

    Raises:
        AtlasError: the download fails.
    """
    path = cache_folder() / "catr" / Path(URL).name
    if not path.is_file():
        try:
            with atomic_file(path) as temporary:
                torch.hub.download_url_to_file(URL, str(temporary))
        except OSError as error:
            raise AtlasError(
                f"{URL} cannot be downloaded ({error}): put the file into {path.parent}, "
                "or set captioner.kind to trained"
            ) from None
    return path


def check_hash(path: Path, expected: str | None) -> str:
    """Compare the SHA-256 of ``path`` with ``expected``, or with the one kept beside it when first used.

    Raises:
        AtlasError: the file is not the one expected.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    kept = path.with_name(f"{path.name}.sha256")
    if expected is None and kept.is_file():
        expected = kept.read_text(encoding="utf-8").strip()
    if expected is None:
        with atomic_file(kept) as temporary:
            temporary.write_text(f"{found}\n", encoding="utf-8")
    elif expected != found:
        raise AtlasError(
            f"{path} has SHA-256 {found}, not {expected} as expected: delete it, and {kept.name} beside it, "
            "to download it again"
        )
    return found


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the ``model`` state dict of a PyTorch checkpoint; a pickle that carries code is refused, not run.

    Raises:
        AtlasError: the file is missing, is no checkpoint, or holds anything but tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: captioner.checkpoint names a file with CATR's weights") from None
    except pickle.UnpicklingError:
        raise AtlasError(f"{path} holds more than tensors (code that would run when read): it was not loaded") from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AtlasError(f"{path} cannot be read as a PyTorch checkpoint: {reason}") from None
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise AtlasError(f"{path} holds no state dict of tensors under the key `model`")
    return state


def to_pixels(photo: Image.Image) -> Tensor:
    """A photo as CATR was trained on: longer side 299, values in -1..1; shape (3, height, width)."""
    scale = LONGER_SIDE / max(photo.size)
    width, height = (max(SHORTEST_SIDE, int(side * scale)) for side in photo.size)
    values = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(values).permute(2, 0, 1) / 127.5 - 1


class CatrCaptioner:
    """CATR behind the captioner interface; photos of one size go through the network together."""

    def __init__(self, network: Catr, tokenizer: Any):
        if len(tokenizer) != network.shape.vocabulary:
            raise AtlasError(
                f"the tokenizer knows {len(tokenizer)} tokens and CATR {network.shape.vocabulary}: use {TOKENIZER}"
            )
        self._device = device()
        network.backbone = nn.Sequential(fused_backbone(network.backbone))
        self._network = network.to(self._device)
        if self._device.type == "cpu":
            fast_steps(network)
        self._vocabulary = vocabulary_of(tokenizer, tokenizer.cls_token_id, tokenizer.sep_token_id, TOKENIZER)

    @torch.inference_mode()
    def caption(self, photos: Sequence[Image.Image], options: SearchOptions) -> list[Caption]:
        """See :class:`vit_atlas.captioning.model.captioner.Captioner`."""
        require_visible(photos)
        by_size: dict[tuple[int, ...], list[tuple[int, Tensor]]] = defaultdict(list)
        for index, photo in enumerate(photos):
            pixels = to_pixels(photo)
            by_size[pixels.shape].append((index, pixels))
        captions: dict[int, Caption] = {}
        for members in by_size.values():
            for start in range(0, len(members), BATCH):
                batch = members[start : start + BATCH]
                stacked = torch.stack([pixels for _, pixels in batch]).to(self._device)
                features, _ = self._network.features(stacked)
                written = write_captions(self._network, self._network.encode(features), self._vocabulary, options)
                captions.update(zip([index for index, _ in batch], written, strict=True))
        return [captions[index] for index in range(len(photos))]


def open_catr(checkpoint: str | None, sha256: str | None) -> CatrCaptioner:
    """CATR with the published weights, or with those in the file ``checkpoint``.

    Raises:
        AtlasError: weights or tokenizer are unavailable, or are not the expected ones.
    """
    path = Path(checkpoint) if checkpoint else published_checkpoint()
    if path.is_file():
        check_hash(path, sha256)
    network = load_catr(read_checkpoint(path), str(path))
    return CatrCaptioner(network, bert_tokenizer())


def bert_tokenizer() -> Any:
    """bert-base-uncased's tokenizer, from the hub or its cache.

    Raises:
        AtlasError: it is unavailable.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(TOKENIZER, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"CATR needs the tokenizer {TOKENIZER} from the Hugging Face hub: {reason}") from None
