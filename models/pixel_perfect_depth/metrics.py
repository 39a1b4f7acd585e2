"""How good a depth is: the errors of the field's tables, and how clean its edges are as points.

Source: spec section 8. The official repository has no code for its edge-aware point cloud metric; ours is
specified in `edge_chamfer`, and its numbers are not those of the paper.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, label, sobel
from scipy.spatial import KDTree

from models.pixel_perfect_depth.geometry import Intrinsics, unproject

Floats = NDArray[np.floating]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DepthErrors:
    """Over the valid pixels of one picture."""

    abs_rel: float
    """Mean of |true - predicted| / true."""
    delta1: float
    """Share of pixels within a factor of 1.25; delta05: its root, delta2: its square, delta3: its cube."""
    delta05: float
    delta2: float
    delta3: float


def depth_errors(predicted: Floats, true: Floats, mask: Masks) -> DepthErrors:
    """Errors of metric depths.

    Raises:
        ValueError: the mask is empty.
    """
    valid = mask.astype(bool)
    if not valid.any():
        raise ValueError("no pixel is valid: there is nothing to measure")
    p, t = predicted[valid].astype(np.float64), true[valid].astype(np.float64)
    ratio = np.maximum(t / (p + 1e-5), p / (t + 1e-5))
    within = [float((ratio < 1.25**power).mean()) for power in (0.5, 1, 2, 3)]
    return DepthErrors(float((np.abs(t - p) / (t + 1e-5)).mean()), within[1], within[0], within[2], within[3])


RIM = 3
"""Pixels about a hole in the truth in which no edge is looked for."""


@dataclass(frozen=True, slots=True)
class EdgeRule:
    """Where `edge_chamfer` looks.

    Canny's edges of the logarithm of the true depth, scaled to 0..255 between its least and most valid value:
    smoothed by `sigma` pixels, strong above `high` and weak above `low` grey levels a pixel (Sobel / 8), then
    widened by `reach` pixels in the maximum norm. Within `RIM` pixels of a hole in the truth there is none.
    """

    sigma: float = 1.0
    low: float = 4.0
    high: float = 10.0
    reach: int = 2


def edge_mask(true: Floats, mask: Masks, rule: EdgeRule | None = None) -> Masks:
    """Valid pixels near an edge of the true depth (H, W)."""
    rule = rule or EdgeRule()
    valid = mask.astype(bool)
    log = np.log(np.where(valid, true, 1.0).clip(1e-6))
    low, high = log[valid].min(), log[valid].max()
    grey = np.where(valid, (log - low) / max(high - low, 1e-9) * 255, 255.0)
    # The rim of a hole is no edge of anything: a pixel that saw the hole's filling does not count.
    rims = np.asarray(binary_dilation(~valid, np.ones((3, 3), bool), iterations=RIM), bool)
    edges = canny(grey, rule.sigma, rule.low, rule.high) & ~rims
    side = 2 * rule.reach + 1
    return np.asarray(binary_dilation(edges, np.ones((side, side), bool))) & valid


def canny(grey: Floats, sigma: float, low: float, high: float) -> Masks:
    """Canny's edges (1986): smoothed gradients, thinned along their direction, linked by hysteresis."""
    smooth = gaussian_filter(grey.astype(np.float64), sigma)
    gx, gy = sobel(smooth, 1) / 8, sobel(smooth, 0) / 8
    strength = np.hypot(gx, gy)
    sector = np.round(np.arctan2(gy, gx) / (np.pi / 4)).astype(int) % 4
    ridge = np.zeros(grey.shape, bool)
    padded = np.pad(strength, 1)
    for number, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = np.roll(padded, (-down, -right), (0, 1))[1:-1, 1:-1]
        behind = np.roll(padded, (down, right), (0, 1))[1:-1, 1:-1]
        ridge |= (sector == number) & (strength > behind) & (strength >= ahead)
    weak = ridge & (strength > low)
    regions, _ = label(weak, np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    kept = np.unique(regions[weak & (strength > high)])
    return weak & np.isin(regions, kept[kept > 0])


def edge_chamfer(
    predicted: Floats, true: Floats, mask: Masks, camera: Intrinsics, rule: EdgeRule | None = None
) -> float:
    """How far points near edges lie from the true surface, and it from them: the edge-aware Chamfer distance.

    Both depths (H, W) are unprojected with the same camera at the resolution that they have here; none is
    resized. Of the pixels of `edge_mask`, the mean distance of a predicted point to the nearest true point
    and that of a true point to the nearest predicted one, not squared, are averaged. In the depth's unit. The
    prediction is to be aligned before (`alignment.align`).

    Raises:
        ValueError: the true depth has no edge here.
    """
    near = edge_mask(true, mask, rule) & np.isfinite(predicted)
    if not near.any():
        raise ValueError("the true depth has no edge: leave this picture out")
    ours, theirs = unproject(predicted, camera)[near], unproject(true, camera)[near]
    to_true, _ = KDTree(theirs).query(ours)
    to_ours, _ = KDTree(ours).query(theirs)
    return float((np.mean(to_true) + np.mean(to_ours)) / 2)
