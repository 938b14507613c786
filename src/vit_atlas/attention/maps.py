"""The map methods' functions: from a :class:`Pass` to maps (B, rows, columns), and all maps of a pass at once.

A map's values are not negative and its scale means nothing; methods that explain a class explain ``trace.targets``.
Every function has the name of its entry in :data:`vit_atlas.attention.methods.METHODS`, and takes the pass and the
options.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vit_atlas.attention.lrp import RelevanceRules
from vit_atlas.attention.methods import METHODS
from vit_atlas.attention.passes import Pass
from vit_atlas.attention.recorder import LayerRecord, require_autograd
from vit_atlas.errors import AtlasError
from vit_atlas.models.trunk import blocks, split

DISCARD = 0.9
"""Share of weights that ``rollout_discard`` drops in each layer (Gildenblat's default)."""

LEGRAD_LAYERS = 2
"""Layers that ``legrad`` reads, counted from the last: what the authors' own package (legrad_torch 1.1) does."""

FINER_CLASSES = 3
"""Classes that ``finercam`` compares with: as many as pytorch-grad-cam's."""

GAUSSIAN_WIDTH = 0.25
"""Standard deviation of the centre Gaussian over the photo's side."""


@dataclass(frozen=True)
class MapOptions:
    """What the methods need besides the pass."""

    layer: int = -1
    """Layer of the methods that read one layer."""
    head: int | None = None
    """Head of ``best_head``, chosen on the validation split; None leaves that map out."""
    seed: int = 0
    """Seed of the random maps."""
    image_ids: tuple[str, ...] = ()
    """The photos' names, which the random maps depend on."""


DEFAULT = MapOptions()


def make_maps(
    trace: Pass, image_ids: Sequence[str], names: Sequence[str], options: MapOptions
) -> dict[str, np.ndarray]:
    """Maps of every method in ``names``: name -> float32 (B, rows, columns).

    Args:
        trace: the pass over the photos, with gradients and token states where a method needs them.
        image_ids: the photos' names, which the random maps depend on.
        names: keys of :data:`METHODS`; one that needs a chosen head is left out while ``options.head`` is None.
        options: layer, head and seed.
    """
    options = replace(options, image_ids=tuple(image_ids))
    known = [name for name in names if options.head is not None or not METHODS[name].chosen_head]
    return {name: globals()[name](trace, options).detach().cpu().numpy().astype(np.float32) for name in known}


def head_mean(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Attention of what the head reads in one layer, mean over its heads.

    References:
        Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, https://arxiv.org/abs/2104.14294
    """
    return trace.read_rows(options.layer).mean(dim=1)


def head_max(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Attention of what the head reads in one layer, largest over its heads.

    References:
        Gildenblat 2020, Exploring Explainability for Vision Transformers (head fusion),
        https://jacobgil.github.io/deeplearning/vision-transformer-explainability
    """
    return trace.read_rows(options.layer).amax(dim=1)


def best_head(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Attention of what the head reads in one head of one layer.

    Raises:
        AtlasError: no head was chosen, or there is no such head.

    References:
        Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, https://arxiv.org/abs/2104.14294
    """
    rows = trace.read_rows(options.layer)
    if options.head is None or not 0 <= options.head < rows.shape[1]:
        raise AtlasError(
            f"head {options.head} does not exist: the layer has {rows.shape[1]} heads, 0 to {rows.shape[1] - 1}"
        )
    return rows[:, options.head]


def rollout(trace: Pass, options: MapOptions = DEFAULT, discard: float = 0.0) -> Tensor:
    """Attention rollout: what the head reads, through the product of all layers' head means mixed with the identity.

    The row is carried from the last layer to the first, so a layer costs O(N^2) and the N x N product never exists.

    Args:
        trace: the pass.
        options: not used.
        discard: share of each layer's weights, the smallest ones, that is set to zero first (Gildenblat's variant).

    References:
        Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers, https://arxiv.org/abs/2005.00928
        Gildenblat 2020, Exploring Explainability for Vision Transformers (discard ratio),
        https://jacobgil.github.io/deeplearning/vision-transformer-explainability
    """
    del options
    row = trace.start()
    for record in reversed(trace.records):
        if discard:
            mixed = _discarded(record.head_mean(), discard)
            mixed.diagonal(dim1=1, dim2=2).add_(1.0)
            mixed /= mixed.sum(dim=-1, keepdim=True)
            row = torch.einsum("bq,bqk->bk", row, mixed)
        else:
            row = (row + _through_head_mean(record, row)) / 2
    return trace.on_grid(row)


def rollout_discard(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Attention rollout without the smallest :data:`DISCARD` of each layer's weights; see :func:`rollout`."""
    return rollout(trace, options, DISCARD)


def relevance(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Gradient x attention relevance: layer by layer, add what flows through the positive part of gradient x attention.

    What the head reads, through the product of (1 + mean over heads of (gradient x attention)^+), carried from the last
    layer to the first, chunk by chunk of each layer. The attention of a head that pools is the first of them.

    References:
        Chefer, Gur and Wolf 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and
        Encoder-Decoder Transformers, https://arxiv.org/abs/2103.15679
    """
    del options
    row = trace.start()
    if trace.pooling is not None:
        row = (trace.pooling.gradient() * trace.pooling.rows()).clamp_(min=0).mean(dim=1)[:, 0]
    for record in reversed(trace.records):
        flow = torch.zeros_like(row)
        for part, attention in record.chunks():
            weights = (record.gradient(part) * attention).clamp_(min=0).mean(dim=1)
            flow += torch.einsum("bq,bqk->bk", row[:, part], weights)
        row = row + flow
    return trace.on_grid(row)


def legrad(trace: Pass, options: MapOptions = DEFAULT, layers: int | None = LEGRAD_LAYERS) -> Tensor:
    """LeGrad: for every layer, how much the class's logit read from that layer reacts to its attention, added up.

    The logit comes from the layer's own token states; its gradient with respect to the layer's attention map is cut at
    zero and averaged over heads and queries; the layers are averaged.

    Args:
        trace: the pass, with gradients and token states.
        options: not used.
        layers: how many layers, counted from the last; None is all of them.

    Raises:
        AtlasError: the pass kept no gradients or no token states, or no graph can be recorded here.

    References:
        Bousselham et al. 2024, LeGrad: An Explainability Method for Vision Transformers via Feature Formation
        Sensitivity, https://arxiv.org/abs/2404.03214
    """
    del options
    if len(trace.hidden) != len(trace.records) + 1:
        raise AtlasError("LeGrad needs the token states of every layer: run_pass(..., gradients=True, layers=True)")
    require_autograd()
    total = trace.pixels.new_zeros((len(trace.pixels), trace.layout.tokens), dtype=torch.float32)
    used = len(trace.records) if layers is None else min(layers, len(trace.records))
    for record, states in zip(trace.records[-used:], trace.hidden[-used:], strict=True):
        if record.output is None:
            raise AtlasError("LeGrad needs gradients: call run_pass(..., gradients=True, layers=True)")
        target = trace.head(states).gather(1, trace.targets[:, None]).sum()
        (upstream,) = torch.autograd.grad(target, record.output, retain_graph=True)
        for part in record.parts():
            total += record.map_gradient(upstream, part).clamp_(min=0).sum(dim=(1, 2))
    heads, tokens = trace.records[0].query.shape[1:3]
    return trace.on_grid(total / (heads * tokens * used))


def gradcam(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Grad-CAM at the first norm of the last block, the place that pytorch-grad-cam advises for a ViT.

    Only the last block and the head run again, on the token states of the pass. Each map is scaled to 0..1, as that
    library does.

    Raises:
        AtlasError: the pass kept no token states.

    References:
        Selvaraju et al. 2017, Grad-CAM, https://arxiv.org/abs/1610.02391
        Gildenblat and contributors, pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam
    """
    del options
    return _cam(trace, lambda logits: logits.gather(1, trace.targets[:, None]).sum())


def finercam(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Finer-CAM: Grad-CAM of the class's logit less those of the classes most similar to it: what tells them apart.

    The :data:`FINER_CLASSES` with the nearest logits are averaged with their probabilities as weights, at the paper's
    comparison strength 1, as pytorch-grad-cam does. A model of one class has none to compare with: that is Grad-CAM.

    Raises:
        AtlasError: the pass kept no token states.

    References:
        Zhang et al. 2025, Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation,
        https://arxiv.org/abs/2501.11309
    """
    del options

    def distinguished(logits: Tensor) -> Tensor:
        chosen = logits.gather(1, trace.targets[:, None])
        distance = (logits.detach() - chosen.detach()).abs().scatter(1, trace.targets[:, None], torch.inf)
        similar = logits.gather(1, distance.topk(min(FINER_CLASSES, logits.shape[1] - 1), largest=False).indices)
        # Probabilities divided by their sum are the softmax of these logits alone.
        return chosen.sum() - (similar.softmax(dim=1) * similar).sum()

    return _cam(trace, distinguished)


def _cam(trace: Pass, target: Callable[[Tensor], Tensor]) -> Tensor:
    """Grad-CAM of any scalar that is made of the logits (B, classes), each photo's of its own."""
    if len(trace.hidden) < 2:
        raise AtlasError("Grad-CAM needs the token states of every layer: call run_pass(..., layers=True)")
    model, normed = trace.classifier.model, []
    # By name: libraries have norms of their own.
    named = (m for m in blocks(model)[1][-1].modules() if re.search(r"(layer|rms)_?norm", type(m).__name__.lower()))
    norm = next(named, None)
    if norm is None:
        raise AtlasError(
            "Grad-CAM needs a norm in the last block, and this model has none: leave out gradcam, finercam"
        )
    hook = norm.register_forward_hook(lambda *call: normed.append(call[-1]))
    try:
        with torch.enable_grad():
            require_autograd()
            tail = split(model, 1, trace.classifier.image_size).tail
            logits = tail(trace.hidden[-2].detach().requires_grad_()).logits
            (gradient,) = torch.autograd.grad(target(logits), normed[0])
    finally:
        hook.remove()
    patches = slice(trace.layout.prefix_tokens, None)
    weights = gradient[:, patches].mean(dim=1)
    values = torch.einsum("bd,bnd->bn", weights, normed[0].detach()[:, patches]).clamp(min=0)
    values = values - values.amin(dim=1, keepdim=True)
    return (values / (values.amax(dim=1, keepdim=True) + 1e-7)).unflatten(-1, trace.layout.grid)


def attnlrp(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """AttnLRP: the class's logit, handed down layer by layer to the pixels so that its sum is kept; each patch's sum.

    It runs the model once more, forwards and backwards, and needs nothing of the pass. Linear layers follow the epsilon
    rule; the paper's gamma rule for them, which has to be tuned for each model, is left out. What speaks against the
    class (negative relevance) is cut at zero, since maps are not negative.

    References:
        Achtibat et al. 2024, AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers,
        https://arxiv.org/abs/2402.05602
    """
    del options
    return patch_relevance(trace).clamp(min=0)


def patch_relevance(trace: Pass) -> Tensor:
    """AttnLRP's relevance of every patch (B, rows, columns), negative where it speaks against the class."""
    with torch.enable_grad():
        require_autograd()
        pixels = trace.pixels.detach().clone().requires_grad_()
        with RelevanceRules():
            logits = trace.classifier.model(pixels).logits
        (gradient,) = torch.autograd.grad(logits.gather(1, trace.targets[:, None]).sum(), pixels)
    relevance = (pixels.detach() * gradient).sum(dim=1)
    (rows, columns), (height, width) = trace.layout.grid, trace.layout.patch
    return relevance.unflatten(2, (columns, width)).unflatten(1, (rows, height)).sum(dim=(2, 4))


def gaussian(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """A Gaussian at the centre of every photo; see :func:`centre_gaussian`."""
    del options
    return _repeated(trace, centre_gaussian(*trace.layout.grid))


def random(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """Noise that depends on the seed and the photo's name only; see :func:`random_map`."""
    return torch.stack([random_map(*trace.layout.grid, name, options.seed) for name in options.image_ids])


def uniform(trace: Pass, options: MapOptions = DEFAULT) -> Tensor:
    """The same value everywhere."""
    del options
    return _repeated(trace, torch.ones(trace.layout.grid))


def centre_gaussian(rows: int, columns: int) -> Tensor:
    """A Gaussian at the photo's centre (rows, columns): what a photographer's habit alone would point at."""
    y = (torch.arange(rows) + 0.5) / rows - 0.5
    x = (torch.arange(columns) + 0.5) / columns - 0.5
    return torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * GAUSSIAN_WIDTH**2))


def random_map(rows: int, columns: int, image_id: str, seed: int) -> Tensor:
    """Uniform noise (rows, columns) that depends on the seed and the photo's name only."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return torch.from_numpy(generator.random((rows, columns), dtype=np.float32))


def _through_head_mean(record: LayerRecord, row: Tensor) -> Tensor:
    """``row`` (B, N) times the mean over heads of the layer's map, without that map."""
    flow = torch.zeros_like(row)
    for part, attention in record.chunks():
        flow += torch.einsum("bq,bhqk->bk", row[:, part], attention) / attention.shape[1]
    return flow


def _discarded(attention: Tensor, share: float) -> Tensor:
    """Set the smallest ``share`` of each map (B, N, N) to zero, but never the class token's attention to itself."""
    flat = attention.flatten(1)
    kept = flat.topk(flat.shape[1] - int(flat.shape[1] * share), dim=1)
    remaining = torch.zeros_like(flat).scatter_(1, kept.indices, kept.values)
    remaining[:, 0] = flat[:, 0]
    return remaining.view_as(attention)


def _repeated(trace: Pass, values: Tensor) -> Tensor:
    return values.expand(trace.pixels.shape[0], *values.shape)
