"""Captioners from the Hugging Face hub: any VisionEncoderDecoderModel, and BLIP.

The encoder runs once; the decoder steps through our own search with its cache of keys and values, and gives its
cross-attention with every step. A step has one query, so attention weights cost nothing there that SDPA would save.

References:
    Li et al., "BLIP: bootstrapping language-image pre-training" (2022), https://arxiv.org/abs/2201.12086.
    Li et al., "TrOCR" (2021), https://arxiv.org/abs/2109.10282: an image encoder and a text decoder pretrained apart.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from vit_atlas.captioning.model.captioner import SearchOptions, require_visible, vocabulary_of
from vit_atlas.captioning.model.decoding import search
from vit_atlas.captioning.model.words import Caption
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import device, stretch
from vit_atlas.models.geometry import MOST_SPECIAL, grid_of, native_size, patch_of
from vit_atlas.models.hub import explained, model_source, quiet
from vit_atlas.settings import ModelSettings

BATCH = 8
MODEL_TYPES = ("vision-encoder-decoder", "blip")


class HubDecoder:
    """Steps through a Hugging Face text decoder with cross-attention."""

    def __init__(self, decoder: Any, photo_states: Tensor, prefix_tokens: int):
        self._decoder = decoder
        self._photo_states = photo_states
        self._prefix = prefix_tokens
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`vit_atlas.captioning.model.decoding.Decoder`; maps are over patches, special tokens cut off."""
        output = self._decoder(
            input_ids=tokens[:, None],
            encoder_hidden_states=self._photo_states,
            past_key_values=self._cache,
            use_cache=True,
            output_attentions=True,
            return_dict=True,
        )
        self._cache = output.past_key_values
        maps = torch.stack([layer[:, :, -1, self._prefix :] for layer in output.cross_attentions])
        return output.logits[:, -1], maps

    def reorder(self, rows: Tensor) -> None:
        """See :class:`vit_atlas.captioning.model.decoding.Decoder`."""
        self._cache.reorder_cache(rows)
        self._photo_states = self._photo_states[rows]


class HubCaptioner:
    """A hub model behind the captioner interface."""

    def __init__(self, model: Any, processor: Any, tokenizer: Any, name: str):
        self._device = device()
        self._model = model.eval().to(self._device)
        blip = model.config.model_type == "blip"
        self._encoder = model.vision_model if blip else model.encoder
        self._decoder = model.text_decoder if blip else model.decoder
        self._decoder.set_attn_implementation("eager")
        size = native_size(self._encoder)
        self._grid = grid_of(size, patch_of(self._encoder))
        stretch(processor, size)
        self._processor = processor
        start, end = _limits(model, blip)
        self._vocabulary = vocabulary_of(tokenizer, start, end, name)
        text = model.config.text_config if blip else model.config.decoder
        self._longest = int(getattr(text, "max_position_embeddings", 512))

    @torch.inference_mode()
    def caption(self, photos: Sequence[Image.Image], options: SearchOptions) -> list[Caption]:
        """See :class:`vit_atlas.captioning.model.captioner.Captioner`."""
        require_visible(photos)
        captions: list[Caption] = []
        for start in range(0, len(photos), BATCH):
            captions += self._caption_batch(list(photos[start : start + BATCH]), options)
        return captions

    def _caption_batch(self, photos: list[Image.Image], options: SearchOptions) -> list[Caption]:
        pixels = self._processor(images=photos, return_tensors="pt")["pixel_values"].to(self._device)
        states = self._encoder(pixel_values=pixels).last_hidden_state
        patches = self._grid[0] * self._grid[1]
        special = states.shape[1] - patches
        if not 0 <= special <= MOST_SPECIAL:
            raise AtlasError(
                f"the encoder makes {states.shape[1]} tokens of {patches} patches, which do not lie "
                "on the photo as tokens should: use a captioner whose encoder is a plain ViT"
            )
        projection = getattr(self._model, "enc_to_dec_proj", None)
        if projection is not None and states.shape[-1] != self._decoder.config.hidden_size:
            states = projection(states)
        decoder = HubDecoder(self._decoder, states, special)
        found = search(decoder, len(photos), self._vocabulary.rules(options, self._longest), self._device)
        return [self._vocabulary.caption(decoded, self._grid) for decoded in found]


def open_hub(name: str, revision: str | None) -> HubCaptioner:
    """Load a captioner from the hub or a local folder.

    Raises:
        AtlasError: it is unavailable, or is neither a VisionEncoderDecoderModel nor BLIP.
    """
    from transformers import BlipForConditionalGeneration, VisionEncoderDecoderModel

    settings = ModelSettings(name=name, revision=revision, image_size=None)
    source = model_source(settings, "captioner.name")
    with explained(settings, "captioner.name"), quiet():
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    if config.model_type not in MODEL_TYPES:
        raise AtlasError(
            f"captioner.name {name} is a {config.model_type} model: choose a VisionEncoderDecoderModel such as "
            "nlpconnect/vit-gpt2-image-captioning, or a BLIP captioner"
        )
    kind = BlipForConditionalGeneration if config.model_type == "blip" else VisionEncoderDecoderModel
    with explained(settings, "captioner.name"), quiet():
        options = {"revision": revision, "trust_remote_code": False}
        model = kind.from_pretrained(source, dtype=torch.float32, **options)
        processor = AutoImageProcessor.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    return HubCaptioner(model, processor, tokenizer, Path(name).name)


def _limits(model: Any, blip: bool) -> tuple[int | None, int | None]:
    """Start and end token: from the generation settings, then from the configuration."""
    if blip:
        return model.config.text_config.bos_token_id, model.config.text_config.sep_token_id
    found = []
    for name in ("decoder_start_token_id", "eos_token_id"):
        places = (model.generation_config, model.config, model.config.decoder)
        found.append(next((value for place in places if (value := getattr(place, name, None)) is not None), None))
    start, end = found
    return start, end[0] if isinstance(end, list) else end
