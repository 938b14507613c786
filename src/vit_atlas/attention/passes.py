"""One pass of a classifier over a batch of photos, with all that the map methods need from it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from vit_atlas.attention.recorder import AttentionRecorder, LayerRecord
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import TokenLayout
from vit_atlas.models.trunk import split


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
    records: list[LayerRecord]
    """One a layer, first to last; with gradients of the targets' logits if asked for."""
    hidden: list[Tensor] = field(repr=False)
    """Token states (B, tokens, dim): after the embeddings, then after every block, not normalised."""
    head: Callable[[Tensor], Tensor] = field(repr=False)
    """Logits (B, classes) of token states, as if no block came after them: the last norm and the head."""
    classifier: Classifier = field(repr=False)
    """The classifier itself."""
    answer: Tensor = field(repr=False)
    """The logits as they came, part of the graph where gradients are kept."""

    def class_rows(self, layer: int = -1) -> Tensor:
        """Attention of the class token to the patches (B, heads, rows, columns) in ``layer``."""
        return self.on_grid(self.records[layer].rows([0])[:, :, 0])

    def explaining(self, targets: Tensor) -> Self:
        """The same pass, explaining the classes ``targets`` (B,): only what runs backwards runs again."""
        records = self.records
        if self.answer.requires_grad:
            outputs = [record.output for record in records if record.output is not None]
            chosen = self.answer.gather(1, targets[:, None]).sum()
            found = torch.autograd.grad(chosen, outputs, retain_graph=True, materialize_grads=True)
            records = [replace(one, output_gradient=new) for one, new in zip(records, found, strict=True)]
        return replace(self, targets=targets, records=records)

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
    with AttentionRecorder(classifier.model, queries=None, gradients=gradients) as recorder:
        with torch.set_grad_enabled(gradients):
            output = classifier.model(pixels, output_hidden_states=layers)
        chosen = output.logits.argmax(dim=-1) if targets is None else targets
        if gradients:
            recorder.backward(output.logits.gather(1, chosen[:, None]).sum())
    tail = split(classifier.model, 0).tail
    return Pass(
        pixels=pixels,
        logits=output.logits.detach(),
        targets=chosen,
        layout=classifier.layout,
        records=[recorder.record(layer) for layer in range(recorder.layer_count)],
        hidden=list(output.hidden_states or ()),
        head=lambda states: tail(states).logits,
        classifier=classifier,
        answer=output.logits,
    )
