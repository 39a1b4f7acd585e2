"""Plain backdrops, such as a studio has, and what stands out from them.

A picture of any size is read alike: lengths are pixels of one whose smaller side is SIDE.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter

Array = NDArray[np.float64]
"""Pixels (H, W, 3) from 0 to 255, or shares (H, W) from 0 to 1."""
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom: in fractions of a picture, or in its pixels where that is said."""

PLAIN = 12.0
"""How far pixels of a plain backdrop are off what their rows tell, on average, of 255."""
SIDE = 128
"""What is called `unit` is the smaller side of a picture divided by this."""
_ALONG, _ACROSS, _NEAR = 30.0, 0.6, 4.0


class NotPlain(ValueError):
    """The picture has no plain backdrop that things could be told from."""


def fill_backdrop(pixels: Array, hole: Mask, unit: float) -> Array:
    """The picture with its hole filled by what the rest of each row tells, and what is near.

    Walls and floors change from row to row and little along one (normalised convolution, Knutsson and Westin
    1993, with a kernel as flat as that).

    Raises:
        NotPlain: the rest is not so, or there is none.
    """
    along = tell_by_rows(pixels, hole, unit)
    free = (~hole).astype(float)
    rest = (pixels - along) * free[..., None]
    if (rough := float(np.abs(rest[~hole]).mean())) > PLAIN:
        raise NotPlain(
            f"the backdrop is not plain: its pixels are {rough:.0f} of 255 off what their rows tell"
        )
    near, weight = _smooth(rest, free, (_NEAR * unit, _NEAR * unit))
    filled = along + near * np.minimum(weight / 0.15, 1)[..., None]
    return np.where(hole[..., None], filled, pixels)


def tell_by_rows(pixels: Array, hole: Mask, unit: float) -> Array:
    """Each pixel from those of its row that are not in the hole, the nearer the more.

    Raises:
        NotPlain: the hole is all there is.
    """
    free = (~hole).astype(float)
    if not free.any():
        raise NotPlain("things cover the whole picture, and there is no backdrop to tell them from")
    along, weight = _smooth(pixels, free, (_ACROSS * unit, _ALONG * unit))
    return np.where((weight > 1e-4)[..., None], along, pixels[~hole].mean(0))


def find_matte(apart: Array, contrast: tuple[float, float]) -> Array:
    """The share of the thing in each pixel, from how far that is from the backdrop. What is enclosed belongs
    to it.
    """
    low, high = contrast
    share = ((apart - low) / (high - low)).clip(0, 1)
    solid = binary_erosion(binary_fill_holes(share > 0.6)).astype(float)
    return np.maximum(share, gaussian_filter(solid, 0.5))


def find_contrast(apart: Array) -> tuple[float, float]:
    """Up to what distance from the backdrop a pixel is none of a thing, and from what on wholly: told by how
    far the thing itself is, since its shadow is nearer.
    """
    standing = apart[apart > 12]
    strong = float(np.percentile(standing, 75)) if standing.size > 20 else 60.0
    return max(12.0, 0.2 * strong), max(30.0, 0.45 * strong)


def _smooth(values: Array, weights: Array, sigma: tuple[float, float]) -> tuple[Array, Array]:
    total = gaussian_filter(weights, sigma, mode="nearest", truncate=5)
    blurred = gaussian_filter(values * weights[..., None], (*sigma, 0), mode="nearest", truncate=5)
    return blurred / np.maximum(total, 1e-6)[..., None], total


def distance(pixels: Array, backdrop: Array) -> Array:
    """How far each pixel is from the backdrop, by the channel that is furthest."""
    return np.abs(pixels - backdrop).max(-1)


def cover(boxes: Sequence[Box], margin: float, shape: tuple[int, int]) -> Mask:
    """Where the boxes (in pixels) are, each larger by a margin."""
    covered = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        rows = slice(max(0, round(top - margin)), max(0, round(bottom + margin) + 1))
        covered[rows, max(0, round(left - margin)) : max(0, round(right + margin) + 1)] = True
    return covered


def number_parts(solid: Mask) -> NDArray[np.intp]:
    """Which connected part each pixel (H, W) belongs to, from 1 on; 0: to none."""
    parts, _ = cast(tuple[Any, int], ndimage.label(solid))
    return np.asarray(parts, np.intp)


def bounds_of(mask: Mask) -> Box | None:
    """Of what it covers, in pixels; None if that is nothing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
