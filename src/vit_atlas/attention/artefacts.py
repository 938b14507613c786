"""Patch tokens of unusually high norm: where they are, and whether they have to do with the object.

Large Vision Transformers turn a few patches of little content into scratch space; their tokens get a high norm and draw
attention, which looks like an interest in the background.

References:
    Darcet et al. 2024, Vision Transformers Need Registers, https://arxiv.org/abs/2309.16588
"""

from dataclasses import dataclass

import numpy as np

from vit_atlas.attention.passes import Pass

Array = np.ndarray

BINS = 80
"""Bins of the histogram of log10 norms."""

LARGEST_SHARE = 0.1
"""A second mode with more of the tokens than this is a kind of content, not an outlier."""

SMALLEST_SHARE = 0.001
"""A second mode with less of the tokens than this is a straggler of the first."""

DEPTH = 0.5
"""The valley before the second mode must fall below this share of that mode's height."""


@dataclass(frozen=True)
class NormHistogram:
    """Norms of patch tokens, one histogram a layer."""

    edges: Array
    """(BINS + 1,) log10 of the norm."""
    counts: Array
    """(layers, BINS) tokens."""
    thresholds: list[float | None]
    """Norm above which a layer's tokens are outliers; None where its histogram has no second mode."""


def patch_norms(trace: Pass) -> Array:
    """Norms (B, layers, rows, columns) of the patch tokens after every block."""
    return np.stack([trace.on_grid(states.detach().norm(dim=-1)).cpu().numpy() for states in trace.hidden[1:]], axis=1)


def norm_histogram(norms: Array) -> NormHistogram:
    """Histogram by layer of ``norms`` (photos, layers, rows, columns) and each layer's threshold."""
    logs = np.log10(np.maximum(norms, 1e-6))
    low, high = float(logs.min()), float(logs.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = np.stack([np.histogram(logs[:, layer], bins=edges)[0] for layer in range(logs.shape[1])])
    return NormHistogram(edges, counts, [outlier_threshold(logs[:, layer].ravel()) for layer in range(logs.shape[1])])


def outlier_threshold(logs: Array) -> float | None:
    """Norm at the valley between the bulk of a layer's tokens and a small second mode of higher ones.

    Args:
        logs: log10 of the norms (tokens,).

    Returns:
        The norm, or None where the histogram has one mode only, where the valley is shallow, or where the second mode
        holds less than :data:`SMALLEST_SHARE` or more than :data:`LARGEST_SHARE` of the tokens.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    if np.ptp(logs) == 0:
        return None
    counts, edges = np.histogram(logs, bins=BINS)
    smooth = gaussian_filter1d(counts.astype(float), sigma=1.5, mode="constant")
    peaks = find_peaks(np.concatenate([[0.0], smooth, [0.0]]))[0] - 1
    main = int(peaks[np.argmax(smooth[peaks])])
    for peak in peaks[peaks > main]:
        between = smooth[main : peak + 1]
        # The valley may be wide and empty: its middle is as far from either mode as can be.
        valley = main + int(np.median(np.flatnonzero(between <= between.min() + 1e-9)))
        share = counts[valley:].sum() / counts.sum()
        if smooth[valley] < DEPTH * smooth[peak] and SMALLEST_SHARE <= share <= LARGEST_SHARE:
            return float(10 ** ((edges[valley] + edges[valley + 1]) / 2))
    return None


@dataclass(frozen=True)
class Diagnosis:
    """Outliers of one photo in one layer."""

    outliers: Array
    """(rows, columns) bool."""
    share: float
    """Share of the photo's patches."""
    outside: float | None
    """Share of them whose patch is mostly background; None without outliers or without a mask."""
    left: float | None
    """Share of them in the left half; None without outliers."""
    attention: float
    """Share of the attention to patches that goes to them."""


def diagnose(norms: Array, threshold: float | None, attention: Array, object_share: Array | None) -> Diagnosis:
    """Say where the outliers of one photo lie.

    Args:
        norms: (rows, columns) of one layer.
        threshold: of that layer.
        attention: (rows, columns) map of the attention of what the head reads.
        object_share: (rows, columns) share of the object in each patch, 0..1; None without a mask.
    """
    outliers = norms > threshold if threshold is not None else np.zeros(norms.shape, bool)
    columns = np.broadcast_to((np.arange(norms.shape[1]) + 0.5) / norms.shape[1], norms.shape)
    some = bool(outliers.any())
    return Diagnosis(
        outliers=outliers,
        share=float(outliers.mean()),
        outside=float((object_share[outliers] < 0.5).mean()) if some and object_share is not None else None,
        left=float((columns[outliers] < 0.5).mean()) if some else None,
        attention=float(attention[outliers].sum() / attention.sum()),
    )
