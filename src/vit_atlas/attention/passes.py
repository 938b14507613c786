"""One pass of a classifier over a batch of photos, with all that the map methods need from it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from vit_atlas.attention.recorder import AttentionRecorder, LayerRecord, require_autograd
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import TokenLayout
from vit_atlas.models.readout import Readout
from vit_atlas.models.trunk import split, states_of_blocks


@dataclass
class Pass:
    """What a classifier did with a batch of B photos. Every map method is a function of it."""

    pixels: Tensor
    """Input (B, 3, height, width)."""
    logits: Tensor
    """(B, classes), detached."""
    targets: Tensor
    """The class (B,) that class-specific maps explain."""
    layout: TokenLayout
    """How the tokens lie on the photo."""
    readout: Readout
    """How the head reads the tokens: where maps start from."""
    pooling: LayerRecord | None
    """The attention of the head itself, where it pools by attention."""
    records: list[LayerRecord]
    """One a block, first to last; with gradients of the targets' logits if asked for."""
    hidden: list[Tensor] = field(repr=False)
    """Token states (B, tokens, dim): after the embeddings, then after every block, not normalised."""
    head: Callable[[Tensor], Tensor] = field(repr=False)
    """Logits (B, classes) of token states, as if no block came after them: the last norm and the head."""
    classifier: Classifier = field(repr=False)
    """The classifier itself."""
    answer: Tensor = field(repr=False)
    """The logits as they came, part of the graph where gradients are kept."""

    def start(self) -> Tensor:
        """Weights (B, tokens), float32, with which the head reads the tokens of the last block."""
        if self.pooling is not None:
            return self.pooling.rows().mean(dim=1)[:, 0]
        return self.readout.weights.to(self.pixels.device).expand(len(self.pixels), -1)

    def read_rows(self, layer: int = -1) -> Tensor:
        """Attention (B, heads, rows, columns) to the patches, in ``layer``, of the tokens as the head reads them.

        For a class token this is its row of the map; for a mean of tokens the mean of their rows. Of a head that pools
        by attention, the last layer's is the head's own attention.

        Raises:
            AtlasError: the model has no such layer.
        """
        if self.pooling is not None and self._block(layer) is self.records[-1]:
            return self.on_grid(self.pooling.rows()[:, :, 0])
        return self.block_rows(layer)

    def block_rows(self, layer: int = -1) -> Tensor:
        """As :meth:`read_rows`, in the attention of a block whatever the head is."""
        record, token = self._block(layer), self.readout.token
        if self.pooling is None and token is not None:
            return self.on_grid(record.rows([token])[:, :, 0])
        weights = self.start()
        parts = (torch.einsum("bq,bhqk->bhk", weights[:, part], rows) for part, rows in record.chunks())
        return self.on_grid(torch.stack(list(parts)).sum(dim=0))

    def _block(self, layer: int) -> LayerRecord:
        """The record of one block; an AtlasError where the model has no such layer."""
        if not -len(self.records) <= layer < len(self.records):
            raise AtlasError(
                f"there is no layer {layer + 1 if layer >= 0 else layer}: the model has {len(self.records)}, "
                "1 is the first and -1 the last (attention.layer in params.yaml)"
            )
        return self.records[layer]

    def explaining(self, targets: Tensor) -> Self:
        """The same pass, explaining the classes ``targets`` (B,): only what runs backwards runs again.

        Raises:
            AtlasError: the pass has gradients, and no graph can be recorded here.
        """
        records, pooling = self.records, self.pooling
        if self.answer.requires_grad:
            require_autograd()
            kept = [*records, *([pooling] if pooling is not None else [])]
            outputs = [record.output for record in kept if record.output is not None]
            chosen = self.answer.gather(1, targets[:, None]).sum()
            found = torch.autograd.grad(chosen, outputs, retain_graph=True, materialize_grads=True)
            renewed = [replace(one, output_gradient=new) for one, new in zip(kept, found, strict=True)]
            records, pooling = renewed[: len(records)], None if pooling is None else renewed[-1]
        return replace(self, targets=targets, records=records, pooling=pooling)

    def on_grid(self, tokens: Tensor) -> Tensor:
        """Drop the special tokens of (..., tokens) and lay the patches out as (..., rows, columns)."""
        return tokens[..., self.layout.prefix_tokens :].unflatten(-1, self.layout.grid)


def run_pass(
    classifier: Classifier, pixels: Tensor, targets: Tensor | None = None, gradients: bool = True, layers: bool = True
) -> Pass:
    """Run ``classifier`` over ``pixels`` once, forwards and (with ``gradients``) backwards.

    Args:
        classifier: the model, on any device, and its processor.
        pixels: (B, 3, height, width), as :meth:`Classifier.pixel_values` gives it; moved to the model's device.
        targets: classes (B,) to explain; ``None`` explains each photo's most likely class.
        gradients: keep the graph and compute the gradients that relevance methods need.
        layers: keep token states of every block, for LeGrad and for norms.

    Raises:
        AtlasError: the model does not attend through torch's scaled_dot_product_attention; gradients are asked for
            under ``torch.inference_mode()`` or ``torch.no_grad()``.
    """
    pixels = pixels.to(next(classifier.model.parameters()).device)
    recorder = AttentionRecorder(classifier.model, queries=None, gradients=gradients)
    if gradients:
        require_autograd()
    readout, count = classifier.readout, classifier.layer_count
    with recorder:
        with torch.set_grad_enabled(gradients), states_of_blocks(classifier.model) as hidden:
            output = classifier.model(pixels)
        chosen = output.logits.argmax(dim=-1) if targets is None else targets
        if gradients:
            recorder.backward(output.logits.gather(1, chosen[:, None]).sum())
    tail = split(classifier.model, 0, classifier.image_size).tail
    return Pass(
        pixels=pixels,
        logits=output.logits.detach(),
        targets=chosen,
        layout=classifier.layout,
        readout=readout,
        pooling=recorder.record(count) if readout.pools else None,
        records=[recorder.record(layer) for layer in range(count)],
        hidden=hidden if layers else [],
        head=lambda states: tail(states).logits,
        classifier=classifier,
        answer=output.logits,
    )
