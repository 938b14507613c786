"""Attention rows and maps from any model that dispatches through transformers' attention interface, at SDPA speed.

transformers looks its attention function up in a registry. One function of ours is registered there: it computes the
output with ``scaled_dot_product_attention`` and hands the layer's queries and keys to the recorder that is active. The
recorder computes the softmax rows that were asked for at once (O(N) memory), or keeps queries, keys and values (O(N) as
well), from which :class:`LayerRecord` makes a whole map, and its gradient, one layer at a time and only on demand.
No hooks, no module paths; the weights that SDPA never returns, without paying for N x N maps of all layers.

References:
    transformers' attention interface: https://huggingface.co/docs/transformers/attention_interface
"""

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vit_atlas.errors import AtlasError

IMPLEMENTATION = "vit_atlas_recorder"
"""Name under which the recording attention function is registered with transformers."""

_NOT_SOFTMAX = ("softcap", "s_aux", "position_bias")
"""Arguments with which a model asks for something else than softmax(q k^T * scaling + mask)."""

_active: ContextVar["AttentionRecorder | None"] = ContextVar("vit_atlas_recorder", default=None)


@dataclass
class LayerRecord:
    """What one attention layer worked with in one forward pass.

    Shapes: ``query`` (B, H, Q, D), ``key`` and ``value`` (B, H, N, D). ``output`` is the layer's SDPA output
    (B, Q, H, D), still part of the autograd graph, and ``None`` without gradients; ``output_gradient`` has its shape.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float
    mask: Tensor | None = None
    causal: bool = False
    output: Tensor | None = None
    output_gradient: Tensor | None = field(default=None, repr=False)

    def rows(self, queries: slice | Sequence[int] = slice(None)) -> Tensor:
        """Softmax rows (B, H, len(queries), N), float32, of the query positions asked for; all of them by default."""
        index = queries if isinstance(queries, slice) else list(queries)
        query = self.query[:, :, index].float()
        key = self._key().float()
        logits = torch.matmul(query, key.transpose(2, 3)).mul_(self.scaling)
        bias = self._bias(index, logits)
        if bias is not None:
            logits += bias
        return logits.softmax(dim=-1)

    def parts(self, rows: int = 256) -> Iterator[slice]:
        """All query positions, ``rows`` at a time: what a map is made in, so that it need not exist as a whole."""
        for start in range(0, self.query.shape[2], rows):
            yield slice(start, min(start + rows, self.query.shape[2]))

    def chunks(self, rows: int = 256) -> Iterator[tuple[slice, Tensor]]:
        """The whole map, ``rows`` query positions at a time: pairs of the slice and its rows (B, H, <=rows, N)."""
        for part in self.parts(rows):
            yield part, self.rows(part)

    def head_mean(self) -> Tensor:
        """Mean over heads of the whole map (B, Q, N), made in chunks, so that no (H, Q, N) map exists."""
        batch, _, queries, _ = self.query.shape
        mean = self.query.new_empty((batch, queries, self.key.shape[2]), dtype=torch.float32)
        for part, rows in self.chunks():
            mean[:, part] = rows.mean(dim=1)
        return mean

    def gradient(self, queries: slice | Sequence[int] = slice(None)) -> Tensor:
        """Derivative (B, H, len(queries), N) of the recorder's target with respect to the softmax rows.

        The output is ``A V``, so the derivative with respect to ``A`` is the output's gradient times ``V^T``: exact,
        and the N x N gradient need not be kept while the network runs backwards.

        Raises:
            AtlasError: :meth:`AttentionRecorder.backward` was not called.
        """
        if self.output_gradient is None:
            raise AtlasError("the gradient of an attention map was asked for before AttentionRecorder.backward(target)")
        return self.map_gradient(self.output_gradient, queries)

    def map_gradient(self, upstream: Tensor, queries: slice | Sequence[int] = slice(None)) -> Tensor:
        """:meth:`gradient`, from the gradient ``upstream`` (B, Q, H, D) of any target with respect to ``output``."""
        index = queries if isinstance(queries, slice) else list(queries)
        rows = upstream.transpose(1, 2)[:, :, index].float()
        return torch.matmul(rows, _repeat(self.value, self.query.shape[1]).float().transpose(2, 3))

    def _key(self) -> Tensor:
        return _repeat(self.key, self.query.shape[1])

    def _bias(self, index: slice | list[int], logits: Tensor) -> Tensor | None:
        """What is added to the logits: the model's mask, or the causal triangle that SDPA applies on a flag."""
        if self.mask is not None:
            mask = self.mask[..., index, :] if self.mask.shape[-2] > 1 else self.mask
            if mask.dtype != torch.bool:
                return mask.float()
            return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, float("-inf"))
        if self.causal:
            positions = torch.arange(self.query.shape[2], device=logits.device)[index]
            ahead = torch.arange(logits.shape[-1], device=logits.device)[None] > positions[:, None]
            return torch.zeros_like(ahead, dtype=torch.float32).masked_fill(ahead, float("-inf"))
        return None


class AttentionRecorder:
    """Record what the attention layers of ``model`` do in forward passes inside a ``with`` block.

    The model's attention implementation is switched for the duration and restored afterwards, whatever happens inside.
    Layers are numbered in the order of the model's attention modules, whatever their names are.

    Three modes, by what is kept of every asked layer and forward pass:
        ``queries=(0,)`` (the default): the softmax rows of these query positions, float32, :attr:`rows`;
        ``queries=None``: queries, keys and values, from which :attr:`records` gives rows and maps on demand;
        ``gradients=True``: the same, and :meth:`backward` adds the gradients. The model's parameters need none.

    Usage::

        with AttentionRecorder(model, layers=[-1]) as recorder:
            model(pixel_values)
        recorder.rows(-1)  # (B, H, 1, N)

    Args:
        model: a transformers model, or a part of one that is itself a ``PreTrainedModel`` (a decoder).
        layers: indices of the layers to record, negative from the last; ``None`` is all.
        queries: query positions whose rows to keep; ``None`` keeps what makes every row.
        gradients: keep the autograd graph from the first recorded layer on. Implies ``queries=None``.
        modules: the attention modules that count as layers 0, 1, ...; by default :func:`attention_modules`. For the
            cross-attention of a decoder, give :func:`cross_attention_modules`.

    Raises:
        AtlasError: the model has no attention that dispatches through transformers' interface; a layer index is out of
            range; gradients are asked for under ``torch.inference_mode()``; an attention is not a softmax.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[int] | None = None,
        queries: Sequence[int] | None = (0,),
        gradients: bool = False,
        modules: Sequence[nn.Module] | None = None,
    ) -> None:
        self.model = model
        self.gradients = gradients
        self.queries = None if gradients or queries is None else tuple(queries)
        chosen = list(attention_modules(model) if modules is None else modules)
        if not chosen:
            raise AtlasError(
                f"{type(model).__name__} computes no softmax attention through transformers' attention interface, "
                "so its maps cannot be recorded: use a ViT, DeiT or DINOv2 model"
            )
        self.layer_count = len(chosen)
        wanted = range(self.layer_count) if layers is None else [self._position(layer) for layer in layers]
        self._layer_of = {id(chosen[position]): position for position in wanted}
        self._rows: dict[int, list[Tensor]] = {}
        self._records: dict[int, list[LayerRecord]] = {}

    def __enter__(self) -> Self:
        if self.gradients:
            self.require_autograd()
        if not self.model._can_set_attn_implementation():
            raise AtlasError(
                f"{type(self.model).__name__} does not dispatch its attention through transformers' attention "
                "interface, so its maps cannot be recorded: use a ViT, DeiT or DINOv2 model"
            )
        self._saved = _implementations(self.model)
        self._frozen = [p for p in self.model.parameters() if p.requires_grad] if self.gradients else []
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        self._token = _active.set(self)
        self.model.set_attn_implementation(IMPLEMENTATION)
        return self

    def __exit__(self, *exception: object) -> None:
        _active.reset(self._token)
        for part, implementation in self._saved:
            part.set_attn_implementation(implementation)
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        if exception[0] is None and not self._rows and not self._records:
            raise AtlasError(
                f"no attention of {type(self.model).__name__} reached the recorder: the model was not called inside "
                "the block, or its attention does not go through transformers' attention interface"
            )

    def rows(self, layer: int = -1) -> Tensor:
        """Softmax rows (B, H, len(queries), N), float32, of the newest forward pass."""
        return self._newest(self._rows, layer)

    def record(self, layer: int = -1) -> LayerRecord:
        """The :class:`LayerRecord` of the newest forward pass; needs ``queries=None`` or ``gradients=True``."""
        return self._newest(self._records, layer)

    def all_rows(self, layer: int = -1) -> list[Tensor]:
        """Rows of every forward pass since :meth:`clear`, oldest first: one entry a decoding step, for example."""
        return self._rows.get(self._position(layer), [])

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self._rows.clear()
        self._records.clear()

    def backward(self, target: Tensor) -> None:
        """Compute the gradients of the scalar ``target`` with respect to the recorded layers' outputs.

        Each image's maps see its own term only, so ``target`` may be a sum over the batch. The graph is kept for
        further targets; parameters get no gradients.

        Raises:
            AtlasError: the recorder was made without ``gradients=True``.
        """
        if not self.gradients:
            raise AtlasError("this recorder keeps no gradients: make it with gradients=True")
        records = [calls[-1] for calls in self._records.values()]
        outputs = [record.output for record in records if record.output is not None]
        found = torch.autograd.grad(target, outputs, retain_graph=True, allow_unused=True)
        for record, output, gradient in zip(records, outputs, found, strict=True):
            record.output_gradient = torch.zeros_like(output) if gradient is None else gradient

    def _newest(self, kept: dict[int, list[Any]], layer: int) -> Any:
        position = self._position(layer)
        if position not in kept:
            raise AtlasError(f"layer {layer} was not recorded in this way: recorded are {sorted(kept)}")
        return kept[position][-1]

    def _position(self, layer: int) -> int:
        if not -self.layer_count <= layer < self.layer_count:
            raise AtlasError(
                f"layer {layer} does not exist: {type(self.model).__name__} has {self.layer_count} attention layers, "
                f"0 to {self.layer_count - 1}, or -1 for the last"
            )
        return layer % self.layer_count

    def wants(self, module: nn.Module) -> bool:
        """Whether ``module`` is one of the layers to record."""
        return id(module) in self._layer_of

    def require_autograd(self) -> None:
        """Check that a graph can be recorded.

        Raises:
            AtlasError: under ``torch.inference_mode()`` or ``torch.no_grad()``.
        """
        mode = "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            raise AtlasError(f"gradients of attention were asked for under {mode}: leave that block first")

    def take(self, module: nn.Module, record: LayerRecord) -> None:
        """Keep what this recorder's mode asks for of one call of the wanted layer ``module``."""
        layer = self._layer_of[id(module)]
        if self.queries is None:
            self._records.setdefault(layer, []).append(record)
            return
        with torch.no_grad():
            self._rows.setdefault(layer, []).append(record.rows(self.queries))


def recording_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function in transformers' registry: SDPA's output, and a record for the active recorder.

    Raises:
        AtlasError: the model asks for something else than a softmax of scaled dot products and a mask.
    """
    recorder = _active.get()
    if recorder is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    for name in _NOT_SOFTMAX:
        if kwargs.get(name) is not None:
            raise AtlasError(
                f"the attention of {type(recorder.model).__name__} is not a plain softmax (it uses {name}), "
                "so its maps cannot be recorded: use a ViT, DeiT or DINOv2 model"
            )
    kwargs.pop("output_attentions", None)
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if not recorder.wants(module):
        return output, None
    if recorder.gradients and not output.requires_grad:
        recorder.require_autograd()
        output.requires_grad_()
    scaling = kwargs.get("scaling")
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    record = LayerRecord(
        query=query.detach(),
        key=key.detach(),
        value=value.detach(),
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        mask=attention_mask,
        causal=bool(causal) and attention_mask is None and query.shape[2] > 1,
        output=output if recorder.gradients else None,
    )
    recorder.take(module, record)
    return output, None


def attention_modules(model: nn.Module) -> list[nn.Module]:
    """Self-attention modules of ``model`` that dispatch through transformers' interface, in order.

    They are known by the flag ``is_causal``, which transformers' SDPA function reads from every module that calls it.
    """
    cross = {id(module) for module in cross_attention_modules(model)}
    return [module for module in model.modules() if hasattr(module, "is_causal") and id(module) not in cross]


def cross_attention_modules(model: nn.Module) -> list[nn.Module]:
    """Cross-attention modules of ``model`` in order, by what its class declares to transformers."""
    found: dict[int, nn.Module] = {}
    for part in model.modules():
        declared = getattr(part, "_can_record_outputs", None) or {}
        rule = declared.get("cross_attentions")
        if rule is None:
            continue
        kind = getattr(rule, "target_class", rule)
        suffix = getattr(rule, "layer_name", None) or ""
        for name, module in part.named_modules():
            if isinstance(module, kind) and f".{name}".endswith(suffix):
                found[id(module)] = module
    return list(found.values())


def _implementations(model: PreTrainedModel) -> list[tuple[PreTrainedModel, str]]:
    """Every transformers part of the model with the attention implementation of its config, outermost first."""
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    return [(part, part.config._attn_implementation) for part in parts]


def _repeat(tensor: Tensor, heads: int) -> Tensor:
    """Keys or values of grouped-query attention, one for every query head."""
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)


AttentionInterface.register(IMPLEMENTATION, recording_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
