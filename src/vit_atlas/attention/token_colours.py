"""Patch tokens as colours: patches that are alike to the network are alike in colour, also across photos.

References:
    Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision, https://arxiv.org/abs/2304.07193
"""

import numpy as np
from torch.nn import functional

from vit_atlas.attention.passes import Pass

Array = np.ndarray

SPREAD = (0.01, 0.99)
"""Quantiles of a component that become the darkest and the brightest: a few odd patches must not grey all others."""


def patch_tokens(trace: Pass) -> Array:
    """Patch tokens (B, rows, columns, width) after the last block, each centred and scaled, as the last norm does."""
    states = trace.hidden[-1].detach()[:, trace.layout.prefix_tokens :].float()
    return functional.layer_norm(states, states.shape[-1:]).unflatten(1, trace.layout.grid).cpu().numpy()


def token_colours(tokens: Array) -> Array:
    """Three principal components of the patch tokens of all photos together, as red, green and blue.

    Args:
        tokens: (photos, rows, columns, width), as :func:`patch_tokens` gives them.

    Returns:
        uint8 (photos, rows, columns, 3), each component stretched between its quantiles :data:`SPREAD`; grey where
        tokens do not differ.
    """
    from sklearn.decomposition import PCA

    flat = tokens.reshape(-1, tokens.shape[-1])
    found = np.zeros((len(flat), 3))
    if np.ptp(flat, axis=0).any():
        most = min(3, *flat.shape)
        found[:, :most] = PCA(most, svd_solver="covariance_eigh").fit_transform(flat)
    low, high = np.quantile(found, SPREAD, axis=0)
    shares = np.where(high > low, (found - low) / np.where(high > low, high - low, 1), 0.5)
    return np.rint(shares.clip(0, 1) * 255).astype(np.uint8).reshape(*tokens.shape[:-1], 3)
