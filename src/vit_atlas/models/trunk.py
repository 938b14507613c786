"""A model in two parts: the frozen trunk, whose activations are computed once, and the tail that is trained.

Both parts are shallow copies of the model with some blocks exchanged, so that the model's own code of embeddings,
positions, norm, pooling and head runs in them, for every family alike, and their weights are the model's.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from vit_atlas.errors import AtlasError
from vit_atlas.models.geometry import Size, native_size


@dataclass(frozen=True)
class Parts:
    """A model cut before one of its blocks."""

    trunk: Any
    """Pixels (photos, 3, height, width) -> ``last_hidden_state`` (photos, tokens, dim), not normalised: what enters the
    first block of the tail."""
    tail: Any
    """Classifier that takes the trunk's output in the place of ``pixel_values``."""


def blocks(model: Any) -> tuple[str, Any]:
    """Where a model keeps its transformer blocks: the dotted name below ``model``, and the list (or sequence) itself.

    They are the largest list of modules of one class, by parameters.

    Raises:
        AtlasError: the model has no such list.
    """
    found = [
        (sum(parameter.numel() for parameter in module.parameters()), -name.count("."), name, module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len({type(child) for child in module}) == 1
    ]
    if not found:
        raise AtlasError(f"a {kind_of(model)} model has no list of transformer blocks: {PLAIN}")
    _, _, name, module = max(found, key=lambda entry: entry[:2])
    return name, module


PLAIN = "choose a plain vision transformer, such as ViT, DeiT, DINOv2, DINOv3, BEiT, CLIP, SigLIP or EVA-02"
"""What to do where a model is none that maps can be drawn of."""


def kind_of(model: Any) -> str:
    """What a model is called: timm's name of its architecture, or transformers' type."""
    return str(getattr(model.config, "architecture", None) or model.config.model_type)


def head_of(model: nn.Module) -> nn.Linear:
    """Find the classification head: the last linear layer with one output a class.

    Raises:
        AtlasError: the model has no such layer, or two of them side by side (a distilled DeiT's).
    """
    classes = int(getattr(model.config, "num_labels", 0))
    layers = [item for item in model.modules() if isinstance(item, nn.Linear) and item.out_features == classes]
    if not layers:
        name = type(model).__name__
        raise AtlasError(
            f"`model.name`: {name} has no head that is one linear layer with an output for each class: {PLAIN}"
        )
    beside = next(module for module in model.modules() if any(part is layers[-1] for part in module.children()))
    heads = [name for name, part in beside.named_children() if any(part is layer for layer in layers)]
    if len(heads) > 1:
        raise AtlasError(
            f"a {kind_of(model)} model answers with {len(heads)} heads ({' and '.join(heads)}), each of which reads "
            f"another token, so there is no one thing that maps could start from: {PLAIN}"
        )
    return layers[-1]


def head_names(model: Any) -> list[str]:
    """Names of the parameters that belong to the classification head."""
    head = head_of(model)
    prefix = _name_of(model, head)
    return [f"{prefix}.{name}" for name, _ in head.named_parameters()]


def _name_of(model: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is part)


def shared_blocks(first: Any, second: Any) -> int:
    """Count the leading blocks with the same weights in both models; 0 where what is before them already differs."""
    if kind_of(first) != kind_of(second) or not _equal(_before_blocks(first), _before_blocks(second)):
        return 0
    pairs = list(zip(blocks(first)[1], blocks(second)[1], strict=False))
    return next(
        (n for n, (one, other) in enumerate(pairs) if not _equal(one.state_dict(), other.state_dict())), len(pairs)
    )


def after_blocks(model: Any) -> dict[str, nn.Parameter]:
    """Parameters that work on the token states after the last block, by name: final norm, pooling and head.

    Found by asking the model: they are those that the logits of the tail without blocks depend on.
    """
    outside = _outside_blocks(model)
    wanted = {name: parameter.requires_grad for name, parameter in outside.items()}
    training = model.training
    states = token_states(model)
    try:
        model.eval()
        for parameter in outside.values():
            parameter.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            logits = split(model, 0).tail(torch.randn_like(states.clone())).logits
            found = torch.autograd.grad(logits.sum(), list(outside.values()), allow_unused=True)
    finally:
        for name, parameter in outside.items():
            parameter.requires_grad_(wanted[name])
        model.train(training)
    return {name: outside[name] for name, gradient in zip(outside, found, strict=True) if gradient is not None}


def token_states(model: Any, size: Size | None = None) -> Tensor:
    """Token states (1, tokens, dim) that enter the first block for an empty photo.

    Args:
        model: a classifier.
        size: height and width of the photo; None is the size that the model was made for.
    """
    with torch.no_grad():
        trunk = split(model, len(blocks(model)[1])).trunk
        states: Tensor = trunk(_empty(model, size or native_size(model))).last_hidden_state
    return states


@contextmanager
def states_of_blocks(model: Any) -> Iterator[list[Tensor]]:
    """Collect the token states (B, tokens, dim) of one forward pass: what enters the first block, then what every
    block hands on, not normalised."""
    _, layers = blocks(model)
    found: list[Tensor] = []
    hooks = [layers[0].register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))]
    hooks += [layer.register_forward_hook(lambda *call: found.append(_states(call[-1]))) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def split(model: Any, trainable_blocks: int, size: Size | None = None) -> Parts:
    """Cut a classifier before its last ``trainable_blocks`` blocks.

    Args:
        model: the classifier.
        trainable_blocks: blocks of the tail.
        size: height and width of the photos; None is the size that the model was made for.

    Raises:
        AtlasError: the model has fewer blocks.
    """
    name, layers = blocks(model)
    if trainable_blocks > len(layers):
        raise AtlasError(
            f"finetune.trainable_blocks is {trainable_blocks}, but the model has {len(layers)} blocks: "
            f"use a number up to {len(layers)}, or `all` to train its embeddings too"
        )
    cut = len(layers) - trainable_blocks
    tuples = _hands_on_tuples(model, layers, size or native_size(model))
    members, caught, given = list(layers), _Catch(tuples), _Give(tuples)
    if trainable_blocks:
        before = [*members[:cut], caught, *[_Skip(tuples)] * (trainable_blocks - 1)]
    else:
        before = [*members[:-1], _Then(members[-1], caught)]
    after = [*[given] * cut, *members[cut:]] if cut else [_Then(given, members[0]), *members[1:]]
    tail = _exchanged(model, name, _container(layers, after))
    _take_states(tail, given, lambda: _empty(model, size or native_size(model)))
    headless = _exchanged(model, _name_of(model, head_of(model)), nn.Identity())  # No part of what a trunk gives.
    return Parts(_Trunk(_exchanged(headless, name, _container(layers, before)), caught), tail)


_TUPLES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether the blocks of a list hand on their states in a tuple, for lists that were asked."""


def _hands_on_tuples(model: Any, layers: nn.Module, size: Size) -> bool:
    if layers not in _TUPLES:
        found: list[Any] = []
        hook = next(layers.children()).register_forward_hook(lambda *call: found.append(call[-1]))
        try:
            with torch.no_grad():
                model(_empty(model, size))
        finally:
            hook.remove()
        _TUPLES[layers] = isinstance(found[0], tuple)
    return _TUPLES[layers]


def _container(layers: nn.Module, members: list[nn.Module]) -> nn.Module:
    clone = copy.copy(layers)
    clone._modules = {str(index): member for index, member in enumerate(members)}
    return clone


class _Skip(nn.Module):
    """A block that does nothing.

    Args:
        tuples: hand the states on in a tuple, as the model's own blocks do.
    """

    def __init__(self, tuples: bool) -> None:
        super().__init__()
        self.tuples = tuples
        self.states: Tensor | None = None

    def forward(self, states: Tensor, *_: Any, **options: Any) -> Any:
        del options
        found = self.take(states)
        return (found,) if self.tuples else found

    def take(self, states: Tensor) -> Tensor:
        return states


class _Catch(_Skip):
    """A block that does nothing but remember what reached it."""

    def take(self, states: Tensor) -> Tensor:
        self.states = states
        return states


class _Give(_Skip):
    """A block that hands on given token states in place of those that reach it."""

    def take(self, states: Tensor) -> Tensor:
        del states
        assert self.states is not None
        return self.states


class _Then(nn.Module):
    """Two blocks in the place of one; the parameters keep the names that they have in the real block."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.parts = [first, second]
        for part in self.parts:
            self._modules.update(part._modules)
            self._parameters.update(part._parameters)

    def forward(self, states: Tensor, *inputs: Any, **options: Any) -> Any:
        first, second = self.parts
        return second(_states(first(states, *inputs, **options)), *inputs, **options)


class _Trunk(nn.Module):
    """The model up to a block, with what follows left undone."""

    def __init__(self, model: Any, caught: _Catch) -> None:
        super().__init__()
        self.model = model
        self._caught = [caught]

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        self.model(pixel_values)
        states, self._caught[0].states = self._caught[0].states, None
        return BaseModelOutput(last_hidden_state=states)


def _take_states(tail: Any, given: _Give, empty: Callable[[], Tensor]) -> None:
    """Let ``tail`` be called with token states, of any precision, in the place of ``pixel_values``.

    What comes before the blocks (embeddings, rotary angles, relative positions) is computed for one ``empty`` photo, as
    some families tell all blocks of it; that costs next to nothing.
    """

    def swap(_: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states = inputs[0] if inputs else options["pixel_values"]
        pixels = empty()
        given.states = states.to(pixels.dtype)
        return (), {**options, "pixel_values": pixels}

    tail._forward_pre_hooks = OrderedDict()
    tail._forward_pre_hooks_with_kwargs = OrderedDict()
    tail.register_forward_pre_hook(swap, with_kwargs=True)


def _empty(model: Any, size: Size) -> Tensor:
    weight = next(model.parameters())
    return weight.new_zeros((1, 3, *size))


def _outside_blocks(model: Any) -> dict[str, nn.Parameter]:
    path = blocks(model)[0] + "."
    return {name: parameter for name, parameter in model.named_parameters() if not name.startswith(path)}


def _before_blocks(model: Any) -> dict[str, Tensor]:
    after = after_blocks(model)
    return {name: parameter for name, parameter in _outside_blocks(model).items() if name not in after}


def _exchanged(module: Any, path: str, new: nn.Module) -> Any:
    """A copy of ``module`` with ``new`` at the dotted ``path``; everything else is shared with the original."""
    first, _, rest = path.partition(".")
    clone = copy.copy(module)
    clone._modules = dict(module._modules)
    clone._modules[first] = _exchanged(module._modules[first], rest, new) if rest else new
    return clone


def _states(output: Any) -> Tensor:
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
