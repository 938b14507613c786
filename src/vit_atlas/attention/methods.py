"""The map methods and the scores, each described once. Nothing here needs torch.

A method's map is made by the function of its name in :mod:`vit_atlas.attention.maps`; everything else that is to be
known of it stands here, and settings, command line, study, summaries, figures and charts ask this table.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A way to turn one pass of a classifier into a map over the patches."""

    name: str
    """Its name in params.yaml, tables and metrics, and of the function that makes it."""
    label: str
    """How figures call it."""
    gradients: bool = False
    """Whether the pass must keep the gradients of the explained class."""
    class_specific: bool = False
    """Whether it explains one class, so that maps of two classes can be compared."""
    states: bool = False
    """Whether the pass must keep the token states of every block."""
    one_layer: bool = False
    """Whether it reads the one layer that is asked for."""
    baseline: bool = False
    """Whether it knows nothing of the photo or the model."""
    ranks_patches: bool = True
    """Whether it puts patches in an order, so that taking the highest away means something."""
    chosen_head: bool = False
    """Whether it needs a head that was chosen on photos with masks."""


METHODS = {
    method.name: method
    for method in (
        Method("head_mean", "head mean", one_layer=True),
        Method("best_head", "best head", one_layer=True, chosen_head=True),
        Method("head_max", "head max", one_layer=True),
        Method("rollout", "rollout"),
        Method("rollout_discard", "rollout, discard"),
        Method("relevance", "gradient x attention", class_specific=True, gradients=True),
        Method("legrad", "LeGrad", class_specific=True, gradients=True, states=True),
        Method("gradcam", "Grad-CAM", class_specific=True, states=True),
        Method("finercam", "Finer-CAM", class_specific=True, states=True),
        Method("attnlrp", "AttnLRP", class_specific=True),
        Method("gaussian", "centre Gaussian", baseline=True),
        Method("random", "random", baseline=True),
        Method("uniform", "uniform", baseline=True, ranks_patches=False),
    )
}
"""Every method by its name."""

SCORES = {
    "miou": "mean IoU at one threshold, chosen on other photos",
    "mass": "mass inside the object",
    "pointing": "pointing game",
    "ap": "average precision",
}
"""Scores of a map against the object's mask, each from 0 to 1, and what figures call them."""

CUT = ("hit", "spilled", "missed", "rest")
"""Of a map cut at its mean: shares of the photo that are the object's and chosen, chosen beside it, the object's and
not chosen, and neither."""

LEVELS = 256
"""Thresholds at which a map, scaled to 0..1, is cut."""

SANITY = {
    "sanity_head": "random head",
    "sanity_blocks": "random last blocks and head",
    "stable_shift": "photo moved by one patch",
    "stable_noise": "photo with noise",
}
"""Changes after which a map is drawn again and compared with itself by rank correlation."""

FAITHFULNESS = "insertion minus deletion AUC"
"""What the score ``faithfulness``, which needs no mask, is."""


def sanity_of(name: str) -> list[str]:
    """Those of :data:`SANITY` that a method can fail: without a class to explain it does not ask the head at all."""
    asks_head = METHODS[name].class_specific or METHODS[name].baseline
    return [kind for kind in SANITY if kind != "sanity_head" or asks_head]


def without_baselines(names: Iterable[str] = METHODS) -> list[str]:
    """Those of ``names`` that are no baselines."""
    return [name for name in names if not METHODS[name].baseline]


def class_specific(names: Iterable[str] = METHODS) -> list[str]:
    """Those of ``names`` that explain one class."""
    return [name for name in names if METHODS[name].class_specific]


def head_free(names: Iterable[str] = METHODS) -> list[str]:
    """Those of ``names`` that ask the network but not its head, so that they mean something before fine-tuning too."""
    return [name for name in without_baselines(names) if not METHODS[name].class_specific]


def forward_only(names: Iterable[str] = METHODS) -> list[str]:
    """Those of ``names`` that a forward pass alone can make, without a chosen head: what every repeat is scored by."""
    return [name for name in names if not METHODS[name].class_specific and not METHODS[name].chosen_head]


def needing(names: Iterable[str], fact: str) -> bool:
    """Whether a method among ``names`` has the ``fact``, such as ``gradients``."""
    return any(getattr(METHODS[name], fact) for name in names)
