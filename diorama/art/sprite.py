"""A drawing as a sprite: colour, coverage, relief, and what a recolouring changes.

The relief is a pillow over the outline (Euclidean distance to it), the simplest shape that turns away at the
edge. Knows neither files nor scenes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage as _ndimage
from sklearn.cluster import KMeans as _KMeans

from diorama.atlas import LONGEST, SIDE, Channel
from diorama.oklab import Floats, to_oklab
from diorama.recolouring import MIDDLE, TONES
from diorama.vocabulary import Rgb

ndimage: Any = _ndimage
KMeans: Any = _KMeans
"""Neither SciPy nor scikit-learn ships types."""

_FLAT = 0.18
"""Share of the shorter side after which the pillow is flat."""

_SMOOTH = 2.0
"""Texels of blur: distances to a stepped outline have ridges, which the light would show."""

_CLUSTERS = 7
_LIGHTNESS = 0.55
"""Weight of lightness against hue and chroma: light and shade of one surface belong together."""

_NEUTRAL = 0.045
"""OKLab chroma below which a region is grey and has no hue."""

_HUE = 0.6
"""Radians of hue within which two coloured regions are one surface."""

_DARK = 0.33
"""Lightness below which a grey region is an outline, a tyre or a pupil, and no main surface."""

_ENOUGH = 0.5
"""Share of the drawing that the main surface should cover, if there is that much to take."""

_SOFT = 0.05
"""OKLab distance over which main surface passes into what stays."""

Planes = NDArray[np.uint8]
"""[channels, `SIDE`, `SIDE`] in the order of `Channel`."""


def make_sprite(picture: Image.Image, main: tuple[Rgb, ...] = ()) -> Planes:
    """Planes of a tight RGBA picture whose longer side is `LONGEST` pixels; `main` names its main colours."""
    if max(picture.size) != LONGEST:
        raise ValueError(f"a sprite's longer side is {LONGEST} pixels, this picture is {picture.size}")
    canvas = Image.new("RGBA", (SIDE, SIDE))
    canvas.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    pixels = np.array(canvas)
    alpha = pixels[..., 3]
    solid = alpha >= 128
    lab = to_oklab(pixels[..., :3].astype(np.float64) / 255)
    mask = _main_surface(lab, solid, main)
    planes = np.zeros((len(Channel), SIDE, SIDE), dtype=np.uint8)
    planes[Channel.RED : Channel.ALPHA] = _spread(pixels[..., :3], solid).transpose(2, 0, 1)
    planes[Channel.ALPHA] = alpha
    planes[Channel.HEIGHT] = _bytes(_relief(solid, min(picture.size)))
    planes[Channel.MAIN] = _bytes(mask)
    planes[Channel.TONE] = _tones(lab[..., 0], mask * solid)
    return planes


def _bytes(share: Floats) -> NDArray[np.uint8]:
    return np.rint(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)


def _spread(rgb: NDArray[np.uint8], solid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colours of the nearest solid pixel everywhere, so that no edge blends with an invisible black."""
    nearest: NDArray[np.int32] = ndimage.distance_transform_edt(
        ~solid, return_distances=False, return_indices=True
    )
    return rgb[nearest[0], nearest[1]]


def _relief(solid: NDArray[np.bool_], shorter: int) -> Floats:
    depth: Floats = ndimage.distance_transform_edt(solid) / max(_FLAT * shorter, 2.0)
    rise = 1.0 - np.clip(depth, 0.0, 1.0)
    smooth: Floats = ndimage.gaussian_filter(np.sqrt(1.0 - rise * rise), _SMOOTH)
    return smooth * solid


def _main_surface(lab: Floats, solid: NDArray[np.bool_], main: tuple[Rgb, ...]) -> Floats:
    """Share of main surface in every pixel, [SIDE, SIDE]: soft where two regions meet."""
    weights = np.array([_LIGHTNESS, 1.0, 1.0])
    points = lab[solid] * weights
    clusters = min(_CLUSTERS, len(np.unique(points, axis=0)))
    fitted = KMeans(clusters, n_init=4, random_state=0).fit(points)
    centres: Floats = fitted.cluster_centers_ / weights
    areas = np.bincount(fitted.labels_, minlength=clusters) / len(points)
    chosen = _named(centres, main) if main else _dominant(centres, areas)
    away = ((lab[:, :, None] * weights - centres * weights) ** 2).sum(axis=-1)
    nearness = np.exp(-(away - away.min(axis=-1, keepdims=True)) / _SOFT**2)
    return nearness[..., chosen].sum(axis=-1) / nearness.sum(axis=-1)


def _named(centres: Floats, main: tuple[Rgb, ...]) -> NDArray[np.bool_]:
    """Clusters of the hue, or the grey, of one of the colours `main`."""
    wanted = to_oklab(np.array(main))
    chosen = np.zeros(len(centres), dtype=bool)
    for target in wanted:
        chosen |= np.array([_alike(centre, target) for centre in centres])
    if not chosen.any():
        chosen[np.argmin(((centres[:, None] - wanted) ** 2).sum(axis=-1).min(axis=1))] = True
    return chosen


def _dominant(centres: Floats, areas: Floats) -> NDArray[np.bool_]:
    """Clusters of the largest surface, colours before greys; further surfaces while it covers too little."""
    greys = np.hypot(centres[:, 1], centres[:, 2]) < _NEUTRAL
    dark = centres[:, 0] < _DARK
    worth = areas * np.where(greys, 0.7, 1.0) * np.where(dark, 0.2, 1.0)
    chosen = np.zeros(len(centres), dtype=bool)
    families = [np.array([_alike(other, centre) for other in centres]) for centre in centres]
    families.sort(key=lambda family: -float(worth[family].sum()))
    for family in families:
        if not chosen.any() or (areas[chosen].sum() < _ENOUGH and _adds(family & ~chosen, areas, dark)):
            chosen |= family
    return chosen


def _adds(family: NDArray[np.bool_], areas: Floats, dark: NDArray[np.bool_]) -> bool:
    return bool(areas[family].sum() > 0.15 and not dark[family].all())


def _alike(a: Floats, b: Floats) -> bool:
    first, second = np.hypot(a[1], a[2]), np.hypot(b[1], b[2])
    if min(first, second) < _NEUTRAL:
        return bool(max(first, second) < _NEUTRAL * 1.4 and abs(a[0] - b[0]) < 0.28)
    turn = abs(np.arctan2(a[2], a[1]) - np.arctan2(b[2], b[1]))
    return bool(min(turn, 2 * np.pi - turn) < _HUE)


def _tones(lightness: Floats, weight: Floats) -> NDArray[np.uint8]:
    """Lightness against the main surface's median."""
    inside = weight > 0.5
    middle = np.median(lightness[inside]) if inside.any() else 0.5
    return np.clip(np.rint((lightness - middle) * TONES) + MIDDLE, 0, TONES - 1).astype(np.uint8)
