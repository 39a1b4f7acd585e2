"""OKLab, a colour space in which equal steps look equally large (B. Ottosson, "A perceptual color space for
image processing", 2020).

NumPy only, for tables made once: cube roots round differently from one vector width to another, so no ray is
shaded through them.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_LMS, _FROM_LAB = np.linalg.inv(_TO_LMS), np.linalg.inv(_TO_LAB)


def to_oklab(rgb: Floats) -> Floats:
    """Display sRGB in 0..1, [..., 3], as lightness 0..1, green-red and blue-yellow."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def from_oklab(lab: Floats) -> Floats:
    """The inverse of `to_oklab`; what no display shows lies outside 0..1."""
    linear = (lab @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T
    bright = 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, bright)


def into_gamut(lab: Floats) -> Floats:
    """Display sRGB, [n, 3], of the nearest colour of the same lightness and hue that a display shows."""
    low, high = np.zeros(len(lab)), np.ones(len(lab))
    for _ in range(20):
        middle = (low + high) / 2
        rgb = from_oklab(lab * np.stack([np.ones_like(middle), middle, middle], axis=1))
        fits = _shown(rgb)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    inside = lab * np.stack([np.ones_like(low), low, low], axis=1)
    full = from_oklab(lab)
    return np.clip(np.where(_shown(full)[:, None], full, from_oklab(inside)), 0.0, 1.0)


def _shown(rgb: Floats) -> NDArray[np.bool_]:
    """Whether a display shows it, up to rounding."""
    return np.all(np.abs(rgb - 0.5) < 0.5 + 1e-4, axis=1)
