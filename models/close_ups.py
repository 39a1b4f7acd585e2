"""Small things, brought near: a thing is taken out of a picture, set large before the picture's own backdrop
to be painted again there, and put back in its place.

A model of few tokens paints a thing badly that covers few of them. Close up it has many. The thing cannot be
cut out with its surroundings: a wall with no floor in sight gets one, and the seam shows. So it is told from
the backdrop by how far it stands out from it, before and after. That takes a plain backdrop, as a studio has.
Does not know what paints, nor what is in the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, gaussian_filter

Array = NDArray[np.float64]
"""Pixels (H, W, 3) from 0 to 255, or shares (H, W) from 0 to 1."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom: in fractions of a picture, or in its pixels where that is said."""

TALL = 0.58
"""The larger side of a thing close up, of the picture's smaller side."""
LEAST, MOST = 1.5, 2.6
"""What is nearer already gains nothing, and from further away there is nothing left to go by."""
FOOT, LOW_FOOT = 0.72, 0.92
"""Where a thing stands close up, of the picture's height; tall ones stand lower."""
PLAIN = 12.0
"""How far pixels of a plain backdrop are off what their rows tell, on average, of 255."""
_SIDE = 128
"""All lengths below are pixels of a picture of this side."""
_MARGIN, _ROUND = 4, 9
_ALONG, _ACROSS, _NEAR = 30.0, 0.6, 4.0


class NotPlain(ValueError):
    """The picture has no plain backdrop that things could be told from."""


@dataclass(frozen=True, slots=True)
class CloseUp:
    """One thing, large. `picture` is to be painted anew; the rest says how it comes back."""

    picture: Image.Image
    box: Box
    """Where the thing is in its own picture, in pixels."""
    zoom: float
    foot: tuple[float, float]
    """Where its foot stands close up, in pixels."""
    backdrop: Array
    """Of its own picture, without any thing."""
    matte: Array
    """Where the thing is in its own picture."""
    contrast: tuple[float, float]
    """How far a pixel is from the backdrop that is none of the thing's, and one that is wholly."""


def take_close_ups(picture: Image.Image, boxes: Sequence[Box]) -> list[CloseUp | None]:
    """A close-up of the thing in each box (in fractions), None for one that is large already. The boxes have
    to be those of all things: what is in none is backdrop.

    Raises:
        NotPlain: the rest of the picture is not plain, or there is none.
    """
    pixels = _pixels(picture)
    height, width = pixels.shape[:2]
    unit = min(height, width) / _SIDE
    inside: list[Box] = [
        (left * width, top * height, right * width, bottom * height) for left, top, right, bottom in boxes
    ]
    hole = _cover(inside, _MARGIN * unit, (height, width))
    backdrop = fill_backdrop(pixels, hole, unit)
    return [_take(pixels, box, backdrop, unit) for box in inside]


def _take(pixels: Array, box: Box, backdrop: Array, unit: float) -> CloseUp | None:
    height, width = pixels.shape[:2]
    tall, wide = box[3] - box[1], box[2] - box[0]
    zoom = min(MOST, TALL * min(height, width) / max(tall, wide, 1.0))
    if zoom < LEAST:
        return None
    apart = _distance(pixels, backdrop) * _cover([box], _MARGIN * unit, (height, width))
    contrast = _find_contrast(apart)
    matte = find_matte(apart, contrast)
    foot = (width / 2, (FOOT if zoom * tall < 0.64 * height else LOW_FOOT) * height)
    share = _bring_near(matte * 255, box, zoom, foot) / 255
    near = backdrop + share[..., None] * (_bring_near(pixels, box, zoom, foot) - backdrop)
    return CloseUp(_picture(near), box, zoom, foot, backdrop, matte, contrast)


def put_back(picture: Image.Image, close_up: CloseUp, painted: Image.Image) -> Image.Image:
    """`picture` with the thing of the close-up as it was `painted`, in its old place and size. What stood out
    there before gives way to the backdrop.
    """
    pixels, new = _pixels(picture), _pixels(painted)
    height, width = pixels.shape[:2]
    unit = min(height, width) / _SIDE
    left, top, right, bottom = close_up.box
    wide, tall = (right - left) * close_up.zoom, (bottom - top) * close_up.zoom
    x, y = close_up.foot
    around = _cover([(x - wide / 2, y - tall, x + wide / 2, y)], _ROUND * unit, (height, width))
    backdrop = fill_backdrop(new, around, unit)
    matte = find_matte(_distance(new, backdrop) * around, close_up.contrast)
    # A pixel on the edge shows some of the backdrop that it was painted before: that stays there.
    own = (backdrop + (new - backdrop) / np.maximum(matte, 0.3)[..., None]).clip(0, 255)
    back = (close_up.box, close_up.zoom, close_up.foot)
    share = _take_away(matte * 255, *back) / 255
    coloured = _take_away(own * matte[..., None], *back)
    gone = gaussian_filter(binary_dilation(close_up.matte > 0.15).astype(float), 0.6 * unit)[..., None]
    bare = pixels + gone * (close_up.backdrop - pixels)
    return _picture(bare * (1 - share[..., None]) + coloured)


def fill_backdrop(pixels: Array, hole: NDArray[np.bool_], unit: float) -> Array:
    """The picture with its hole filled by what the rest of each row tells, and what is near.

    Walls and floors change from row to row and little along one (normalised convolution, Knutsson and Westin
    1993, with a kernel as flat as that).

    Raises:
        NotPlain: the rest is not so, or there is none.
    """
    free = (~hole).astype(float)
    if not free.any():
        raise NotPlain("things cover the whole picture, and there is no backdrop to tell them from")
    along, weight = _smooth(pixels, free, (_ACROSS * unit, _ALONG * unit))
    along = np.where((weight > 1e-4)[..., None], along, pixels[~hole].mean(0))
    rest = (pixels - along) * free[..., None]
    if (rough := float(np.abs(rest[~hole]).mean())) > PLAIN:
        raise NotPlain(
            f"the backdrop is not plain: its pixels are {rough:.0f} of 255 off what their rows tell"
        )
    near, weight = _smooth(rest, free, (_NEAR * unit, _NEAR * unit))
    filled = along + near * np.minimum(weight / 0.15, 1)[..., None]
    return np.where(hole[..., None], filled, pixels)


def find_matte(apart: Array, contrast: tuple[float, float]) -> Array:
    """The share of the thing in each pixel, from how far that is from the backdrop. What is enclosed belongs
    to it.
    """
    low, high = contrast
    share = ((apart - low) / (high - low)).clip(0, 1)
    solid = binary_erosion(binary_fill_holes(share > 0.6)).astype(float)
    return np.maximum(share, gaussian_filter(solid, 0.5))


def _find_contrast(apart: Array) -> tuple[float, float]:
    """From how far the thing itself is from the backdrop: its shadow is nearer."""
    standing = apart[apart > 12]
    strong = float(np.percentile(standing, 75)) if standing.size > 20 else 60.0
    return max(12.0, 0.2 * strong), max(30.0, 0.45 * strong)


def _smooth(values: Array, weights: Array, sigma: tuple[float, float]) -> tuple[Array, Array]:
    total = gaussian_filter(weights, sigma, mode="nearest", truncate=5)
    blurred = gaussian_filter(values * weights[..., None], (*sigma, 0), mode="nearest", truncate=5)
    return blurred / np.maximum(total, 1e-6)[..., None], total


def _distance(pixels: Array, backdrop: Array) -> Array:
    return np.abs(pixels - backdrop).max(-1)


def _cover(boxes: Sequence[Box], margin: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the boxes (in pixels) are, each larger by a margin."""
    covered = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        rows = slice(max(0, round(top - margin)), max(0, round(bottom + margin) + 1))
        covered[rows, max(0, round(left - margin)) : max(0, round(right + margin) + 1)] = True
    return covered


def _bring_near(values: Array, box: Box, zoom: float, foot: tuple[float, float]) -> Array:
    corner = ((box[0] + box[2]) / 2 - foot[0] / zoom, box[3] - foot[1] / zoom)
    affine = (1 / zoom, 0, corner[0], 0, 1 / zoom, corner[1])
    image = _picture(values)
    return _pixels(image.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def _take_away(values: Array, box: Box, zoom: float, foot: tuple[float, float]) -> Array:
    """The way back. Drawn four times as large first, so that what becomes smaller does not break up."""
    fine, image = 4, _picture(values)
    corner = (foot[0] - (box[0] + box[2]) / 2 * zoom, foot[1] - box[3] * zoom)
    affine = (zoom / fine, 0, corner[0], 0, zoom / fine, corner[1])
    size = (image.width * fine, image.height * fine)
    large = image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return _pixels(large.resize(image.size, Image.Resampling.BOX))


def _pixels(picture: Image.Image) -> Array:
    return np.asarray(picture, np.float64)


def _picture(values: Array) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
