"""Attention rows and maps of any model that attends through ``scaled_dot_product_attention``, at its speed.

transformers, timm, torchvision, open_clip and plain PyTorch modules all call one function,
``torch.nn.functional.scaled_dot_product_attention``. While a recorder is active that function is exchanged for one that
computes the same output and hands queries, keys, values and mask to the recorder in whose model the call happens. It
computes the softmax rows that were asked for at once, or keeps queries, keys and values (both O(N) memory), from which
:class:`LayerRecord` makes a whole map, and its gradient, one layer at a time and only on demand.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vit_atlas.errors import AtlasError

_active: ContextVar[tuple["AttentionRecorder", ...]] = ContextVar("vit_atlas_recorders", default=())
"""Recorders of this thread (or task), outermost first."""

_REMEDY = "use a plain vision transformer such as ViT, DeiT or DINOv2"

_lock = threading.Lock()
_installed = 0
_original: Any = functional.scaled_dot_product_attention


@dataclass
class LayerRecord:
    """What one attention layer worked with in one forward pass.

    Shapes: ``query`` (B, H, Q, D), ``key`` and ``value`` (B, H, N, D), as they arrive: rotary embeddings are applied.
    ``mask`` is what is added to the logits (a relative position bias, for example) or, where boolean, what may be
    attended to; it broadcasts to (B, H, Q, N). ``output`` is the layer's SDPA output (B, H, Q, D), still part of the
    autograd graph, and ``None`` without gradients; ``output_gradient`` has its shape.
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
        """:meth:`gradient`, from the gradient ``upstream`` (B, H, Q, D) of any target with respect to ``output``."""
        index = queries if isinstance(queries, slice) else list(queries)
        rows = upstream[:, :, index].float()
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

    Whatever is exchanged for that is put back when the block ends, whatever happens inside. Other models, and other
    threads, are not recorded; recorders may be nested. Layers are numbered in the order in which they are called.

    Three modes, by what is kept of every asked layer and forward pass:
        ``queries=(0,)`` (the default): the softmax rows of these query positions, float32, :meth:`rows`;
        ``queries=None``: queries, keys and values, from which :meth:`record` gives rows and maps on demand;
        ``gradients=True``: the same, and :meth:`backward` adds the gradients. The model's parameters need none.

    Args:
        model: any module that attends through ``scaled_dot_product_attention``.
        layers: indices of the layers to keep, negative from the last; ``None`` is all.
        queries: query positions whose rows to keep; ``None`` keeps what makes every row.
        gradients: keep the autograd graph from the first recorded layer on. Implies ``queries=None``.
        modules: modules that count as layers 0, 1, ..., such as the cross-attentions of a decoder; calls outside of
            them are not recorded. By default every call within ``model`` is a layer.

    Raises:
        AtlasError: gradients are asked for under ``torch.inference_mode()``; no attention arrives, or it is computed in
            windows; a layer that was asked for does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[int] | None = None,
        queries: Sequence[int] | None = (0,),
        gradients: bool = False,
        modules: Sequence[nn.Module] | None = None,
    ) -> None:
        self.model = model
        self.gradients = gradients
        self.queries = None if gradients or queries is None else tuple(queries)
        self.layer_count = 0
        self._layers = None if layers is None else tuple(layers)
        self._modules = None if modules is None else list(modules)
        self._kept: dict[int, list[Any]] = {}
        self._inside = 0
        self._batch: int | None = None
        self._within: list[nn.Module] = []
        self._calls: dict[int, list[Any]] = {}

    def __enter__(self) -> Self:
        if self.gradients:
            require_autograd()
        with ExitStack() as undo:
            if self.gradients:
                for parameter in self.model.parameters():
                    undo.callback(parameter.requires_grad_, parameter.requires_grad)
                    parameter.requires_grad_(False)
            _attend_through_sdpa(self.model, undo)
            undo.callback(self.model.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
            undo.callback(self.model.register_forward_hook(self._end, always_call=True).remove)
            for module in self._modules or ():
                undo.callback(module.register_forward_pre_hook(lambda module, _: self._within.append(module)).remove)
                undo.callback(module.register_forward_hook(lambda *_: self._within.clear(), always_call=True).remove)
            undo.enter_context(_exchanged())
            undo.callback(_active.reset, _active.set((*_active.get(), self)))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()
        if exception[0] is not None:
            return
        if not self.layer_count:
            raise AtlasError(
                f"no attention of {type(self.model).__name__} reached the recorder: it was not called in the block, or "
                "does not attend through torch's scaled_dot_product_attention (Swin, MViT, convolutional networks and "
                f"models with own kernels do not): {_REMEDY}"
            )
        for layer in self._layers or ():
            self._position(layer)

    def rows(self, layer: int = -1) -> Tensor:
        """Softmax rows (B, H, len(queries), N), float32, of the newest forward pass.

        Raises:
            AtlasError: the layer does not exist, or rows of it were not kept.
        """
        return self._newest(layer, Tensor)

    def record(self, layer: int = -1) -> LayerRecord:
        """The :class:`LayerRecord` of the newest forward pass; needs ``queries=None`` or ``gradients=True``.

        Raises:
            AtlasError: the layer does not exist, or a record of it was not kept.
        """
        return self._newest(layer, LayerRecord)

    def all_rows(self, layer: int = -1) -> list[Tensor]:
        """Rows of every forward pass since :meth:`clear`, oldest first: one entry a decoding step, for example."""
        return self._kept.get(self._position(layer), [])

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self._kept.clear()

    def backward(self, target: Tensor) -> None:
        """Compute the gradients of the scalar ``target`` with respect to the recorded layers' outputs.

        Each image's maps see its own term only, so ``target`` may be a sum over the batch. The graph is kept for
        further targets; parameters get no gradients.

        Raises:
            AtlasError: the recorder was made without ``gradients=True``.
        """
        if not self.gradients:
            raise AtlasError("this recorder keeps no gradients: make it with gradients=True")
        records: list[LayerRecord] = [passes[-1] for passes in self._kept.values()]
        outputs = [record.output for record in records if record.output is not None]
        found = torch.autograd.grad(target, outputs, retain_graph=True, allow_unused=True)
        for record, output, gradient in zip(records, outputs, found, strict=True):
            record.output_gradient = torch.zeros_like(output) if gradient is None else gradient

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        del module
        self._inside += 1
        if self._inside == 1:
            self._calls = {}
            self._batch = next((len(v) for v in (*inputs, *options.values()) if isinstance(v, Tensor) and v.ndim), None)

    def _end(self, *_: Any) -> None:
        """A forward pass has ended: only now the number of its layers, and so the negative indices, are known."""
        self._inside -= 1
        if self._inside or not self._calls:
            return
        self.layer_count = len(self._modules) if self._modules is not None else max(self._calls) + 1
        wanted = range(self.layer_count) if self._layers is None else {n % self.layer_count for n in self._layers}
        for layer in wanted:
            if layer in self._calls:
                self._kept.setdefault(layer, []).extend(self._calls[layer])
        self._calls = {}

    def _layer(self) -> int | None:
        """Number of the layer that a call belongs to; None where it belongs to none."""
        if not self._inside:
            return None
        if self._modules is not None:
            return self._modules.index(self._within[-1]) if self._within else None
        return len(self._calls)

    def take(self, query: Tensor, key: Tensor, value: Tensor, output: Tensor, options: dict[str, Any]) -> None:
        """Keep what this recorder's mode asks for of one call, if it happens within the model.

        Raises:
            AtlasError: the attention is computed in windows; gradients are wanted where autograd is off.
        """
        layer = self._layer()
        if layer is None:
            return
        if query.ndim != 4 or (self._batch is not None and len(query) != self._batch):
            raise AtlasError(
                f"{type(self.model).__name__} attends within windows (queries of the shape {tuple(query.shape)} for a "
                f"batch of {self._batch}), so there is no map over the whole photo: {_REMEDY}"
            )
        kept: list[Any] = []
        if self._might_keep(layer):
            if self.gradients and not output.requires_grad:
                require_autograd()
                output.requires_grad_()
            mask, scale = options["attn_mask"], options["scale"]
            record = LayerRecord(
                query=query.detach(),
                key=key.detach(),
                value=value.detach(),
                scaling=query.shape[-1] ** -0.5 if scale is None else scale,
                mask=None if mask is None else mask.detach(),
                causal=options["is_causal"],
                output=output if self.gradients else None,
            )
            with torch.no_grad():
                kept.append(record if self.queries is None else record.rows(self.queries))
        self._calls.setdefault(layer, []).extend(kept)
        for old in self._calls:
            if not self._might_keep(old, layer + 1):
                self._calls[old] = []

    def _might_keep(self, layer: int, so_far: int = 0) -> bool:
        """Whether ``layer`` can be one of those asked for, when at least ``so_far`` layers are known to exist."""
        if self._layers is None:
            return True
        return any(layer == wanted if wanted >= 0 else layer >= so_far + wanted for wanted in self._layers)

    def _newest(self, layer: int, kind: type) -> Any:
        position = self._position(layer)
        passes = self._kept.get(position)
        if not passes or not isinstance(passes[-1], kind):
            known = sorted(self._kept) if passes is None else "none"
            raise AtlasError(f"layer {layer} was not recorded in this way: recorded are {known}")
        return passes[-1]

    def _position(self, layer: int) -> int:
        if not -self.layer_count <= layer < self.layer_count:
            raise AtlasError(
                f"layer {layer} does not exist: {type(self.model).__name__} has {self.layer_count} attention layers, "
                f"0 to {self.layer_count - 1}, or -1 for the last"
            )
        return layer % self.layer_count


def record_attention(
    model: nn.Module,
    layers: Sequence[int] | None = None,
    queries: Sequence[int] | None = (0,),
    gradients: bool = False,
) -> AttentionRecorder:
    """Record the attention of ``model`` inside a ``with`` block; see :class:`AttentionRecorder`.

    Example::

        with record_attention(model, layers=[-1]) as attention:
            model(pixel_values)
        attention.rows(-1)  # (B, H, 1, N): what the first token looks at in the last layer
    """
    return AttentionRecorder(model, layers, queries, gradients)


def require_autograd() -> None:
    """Raise an AtlasError under ``torch.inference_mode()`` or ``torch.no_grad()``, where no graph can be recorded."""
    mode = "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise AtlasError(f"gradients were asked for under {mode}: leave that block first")


def _recording(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """SDPA's own output, and a record for every recorder of this thread within whose model the call happens."""
    options: dict[str, Any] = {"attn_mask": attn_mask, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    output: Tensor = _original(query, key, value, **options, enable_gqa=enable_gqa)
    for recorder in _active.get():
        recorder.take(query, key, value, output, options)
    return output


@contextmanager
def _exchanged() -> Iterator[None]:
    """Exchange the function, once for all threads; where no recorder is active it calls the original alone."""
    global _installed, _original
    with _lock:
        if not _installed:
            _original = functional.scaled_dot_product_attention
            functional.scaled_dot_product_attention = _recording
        _installed += 1
    try:
        yield
    finally:
        with _lock:
            _installed -= 1
            if not _installed:
                functional.scaled_dot_product_attention = _original


def _attend_through_sdpa(model: nn.Module, undo: ExitStack) -> None:
    """Make the model attend through SDPA where it has a choice; ``undo`` puts each choice back."""
    undo.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
    torch.backends.mha.set_fastpath_enabled(False)
    parts: list[Any] = list(model.modules())
    for part in [part for part in parts if getattr(part, "fused_attn", None) is False]:  # timm
        undo.callback(setattr, part, "fused_attn", False)
        part.fused_attn = True
    chosen = [(part, part.config._attn_implementation) for part in parts if getattr(part, "_supports_sdpa", False)]
    for part, implementation in chosen:  # transformers; all are asked before one is changed, for parts share configs
        if implementation != "sdpa":
            undo.callback(part.set_attn_implementation, implementation)
            part.set_attn_implementation("sdpa")


def _repeat(tensor: Tensor, heads: int) -> Tensor:
    """Keys or values of grouped-query attention, one for every query head."""
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)
