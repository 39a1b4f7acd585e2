"""Depth maps as pictures: 16 bits of grey that lose next to nothing, and colours to look at."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVELS = 65535
_STOPS = np.array(
    [[158, 1, 66], [244, 109, 67], [254, 224, 139], [230, 245, 152], [102, 194, 165], [94, 79, 162]], float
)
"""Near to far, evenly spaced: the ends and between of ColorBrewer's Spectral."""


def to_levels(depth: NDArray[np.floating], low: float, high: float) -> Image.Image:
    """A depth (H, W) as grey with 16 bits: `low` is 0 and `high` is 65535. A flat one is 0."""
    share = (depth - low) / (high - low) if high > low else np.zeros_like(depth)
    levels = (share.clip(0, 1) * LEVELS).round().astype("<u2")
    return Image.frombytes("I;16", (depth.shape[1], depth.shape[0]), levels.tobytes())


def from_levels(levels: Image.Image, low: float, high: float) -> NDArray[np.float32]:
    """The depth (H, W) that `to_levels` stored.

    Raises:
        ValueError: the picture has another mode.
    """
    if levels.mode != "I;16":
        raise ValueError(f"a depth is stored as grey with 16 bits, not in mode {levels.mode!r}")
    values = np.frombuffer(levels.tobytes(), "<u2").reshape(levels.height, levels.width)
    return (low + values.astype(np.float32) / LEVELS * (high - low)).astype(np.float32)


def colour(depth: NDArray[np.floating]) -> Image.Image:
    """A depth (H, W) in colours from its 2 % to its 98 % quantile; a flat one is in the nearest's."""
    low, high = np.quantile(depth, [0.02, 0.98])
    share = ((depth - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(depth)
    at = share * (len(_STOPS) - 1)
    below = np.floor(at).astype(int).clip(0, len(_STOPS) - 2)
    part = (at - below)[..., None]
    mixed = _STOPS[below] * (1 - part) + _STOPS[below + 1] * part
    return Image.fromarray(mixed.round().astype(np.uint8))
