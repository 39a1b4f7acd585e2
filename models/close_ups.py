"""Small things, brought near: a thing is taken out of a picture, set large before the picture's own backdrop
to be painted again there, and put back in its place, within its old bounds.

A model of few tokens paints a thing badly that covers few of them. Close up it has many. The thing cannot be
cut out with its surroundings: a wall with no floor in sight gets one, and the seam shows. So it is told from
the backdrop by how far it stands out from it, before and after. That takes a plain backdrop, as a studio has.
Does not know what paints, nor what is in the picture. Lengths are pixels of a picture of side SIDE.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from models.backdrops import (
    SIDE,
    Array,
    Box,
    Mask,
    bounds_of,
    cover,
    distance,
    fill_backdrop,
    find_contrast,
    find_matte,
    number_parts,
    tell_by_rows,
)

TALL = 0.58
"""The larger side of a thing close up, of the picture's smaller side."""
LEAST, MOST = 1.3, 2.6
"""What is nearer already gains nothing, and from further away there is nothing left to go by."""
FOOT, LOW_FOOT = 0.72, 0.92
"""Where a thing stands close up, of the picture's height; tall ones stand lower."""
_MARGIN, _ROUND = 4, 9
_EDGE = 2
_STUCK_OUT = 14
"""How far a thing may stick out of its box and still be found whole."""
_GROWN = 1.3
"""How much larger a thing may come out, close up, and still be found."""


class CutOff(ValueError):
    """A thing came out so large, close up, that not all of it can be told from the backdrop."""


@dataclass(frozen=True, slots=True)
class Placing:
    """How a picture and a close-up lie over each other: the pixel `far` of the one is `near` of the other."""

    far: tuple[float, float]
    near: tuple[float, float]
    zoom: float


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

    @property
    def placing(self) -> Placing:
        """Foot on foot."""
        return Placing(_foot_of(self.box), self.foot, self.zoom)

    @property
    def bounds(self) -> Box:
        """Where the thing is close up, in pixels."""
        wide, tall = (self.box[2] - self.box[0]) * self.zoom, (self.box[3] - self.box[1]) * self.zoom
        x, y = self.foot
        return x - wide / 2, y - tall, x + wide / 2, y


@dataclass(frozen=True, slots=True)
class CutOut:
    """The thing of a close-up as it was painted anew, and where it belongs in its own picture."""

    close_up: CloseUp
    pixels: Array
    matte: Array
    placing: Placing


def take_close_ups(picture: Image.Image, boxes: Sequence[Box]) -> list[CloseUp | None]:
    """A close-up of the thing in each box (in fractions), None for one that is large already. The boxes have
    to be those of all things: what is in none is backdrop.

    Raises:
        NotPlain: the rest of the picture is not plain, or there is none.
    """
    pixels = _pixels(picture)
    height, width = pixels.shape[:2]
    unit = min(height, width) / SIDE
    inside: list[Box] = [
        (left * width, top * height, right * width, bottom * height) for left, top, right, bottom in boxes
    ]
    inside = _stretch(inside, pixels, unit)
    hole = cover(inside, _MARGIN * unit, (height, width))
    backdrop = fill_backdrop(pixels, hole, unit)
    apart = distance(pixels, backdrop)
    reaches = _tell_reaches(inside, _MARGIN * unit, unit, (height, width))
    pairs = zip(inside, reaches, strict=True)
    return [_take(pixels, box, backdrop, apart * reach) for box, reach in pairs]


def _tell_reaches(boxes: Sequence[Box], reach: float, unit: float, shape: tuple[int, int]) -> list[Mask]:
    """Where each thing may be: in its box, and as far as `reach` around it where no other is."""
    found: list[Mask] = []
    for number, box in enumerate(boxes):
        others = cover([*boxes[:number], *boxes[number + 1 :]], _EDGE * unit, shape)
        found.append(cover([box], 0, shape) | (cover([box], reach, shape) & ~others))
    return found


def _stretch(boxes: Sequence[Box], pixels: Array, unit: float) -> list[Box]:
    """The boxes, each larger by what sticks out of it: else a bumper stays behind where a car was taken away.

    Only what is as far from the backdrop as the thing itself counts, which its shadow is not.
    """
    shape = pixels.shape[:2]
    hole = cover(boxes, _MARGIN * unit, shape)
    apart = distance(pixels, tell_by_rows(pixels, hole, unit))
    stretched: list[Box] = []
    for box, reach in zip(boxes, _tell_reaches(boxes, _STUCK_OUT * unit, unit, shape), strict=True):
        own = cover([box], 0, shape)
        parts = number_parts((apart > find_contrast(apart * own)[1]) & reach)
        found = bounds_of(np.isin(parts, np.setdiff1d(parts[own], [0])))
        stretched.append(_unite(box, found) if found else box)
    return stretched


def _take(pixels: Array, box: Box, backdrop: Array, apart: Array) -> CloseUp | None:
    height, width = pixels.shape[:2]
    tall, wide = box[3] - box[1], box[2] - box[0]
    zoom = min(MOST, TALL * min(height, width) / max(tall, wide, 1.0))
    if zoom < LEAST:
        return None
    contrast = find_contrast(apart)
    matte = find_matte(apart, contrast)
    foot = (width / 2, (FOOT if zoom * tall < 0.64 * height else LOW_FOOT) * height)
    placing = Placing(_foot_of(box), foot, zoom)
    share = _bring_near(matte * 255, placing) / 255
    near = backdrop + share[..., None] * (_bring_near(pixels, placing) - backdrop)
    return CloseUp(_picture(near), box, zoom, foot, backdrop, matte, contrast)


def cut_out(close_up: CloseUp, painted: Image.Image) -> CutOut:
    """The thing of the close-up as it was `painted`, told from the backdrop that it was painted before. Where
    it came out larger or elsewhere, it is made to fit into its old bounds.

    Raises:
        CutOff: it came out too large to be told from the backdrop.
        NotPlain: it was painted before one that is not plain.
    """
    new = _pixels(painted)
    height, width = new.shape[:2]
    unit = min(height, width) / SIDE
    left, top, right, bottom = close_up.bounds
    wide, tall = (_GROWN - 1) * (right - left), (_GROWN - 1) * (bottom - top)
    grown = (left - wide / 2, top - tall, right + wide / 2, bottom)
    around = cover([grown], _ROUND * unit, (height, width))
    backdrop = fill_backdrop(new, around, unit)
    matte = find_matte(distance(new, backdrop) * around, close_up.contrast)
    # A pixel on the edge shows some of the backdrop that it was painted before: that stays there.
    own = (backdrop + (new - backdrop) / np.maximum(matte, 0.3)[..., None]).clip(0, 255)
    return CutOut(close_up, own, matte, _fit(close_up, _find_bounds(matte, around)))


def put_back(picture: Image.Image, thing: CutOut) -> Image.Image:
    """`picture` with the thing in its old place. What stood out there before gives way to the backdrop.

    The picture may have been enlarged since the close-up was taken: what was painted keeps its detail so.
    """
    pixels, close_up = _pixels(picture), thing.close_up
    unit = min(close_up.picture.size) / SIDE
    share = _take_away(thing.matte * 255, thing.placing, picture.size) / 255
    coloured = _take_away(thing.pixels * thing.matte[..., None], thing.placing, picture.size)
    gone = gaussian_filter(binary_dilation(close_up.matte > 0.15).astype(float), 0.6 * unit)
    hidden = _resize(gone * 255, picture.size)[..., None] / 255
    bare = pixels + hidden * (_resize(close_up.backdrop, picture.size) - pixels)
    return _picture(bare * (1 - share[..., None]) + coloured)


def _find_bounds(matte: Array, around: Mask) -> Box | None:
    """Of what stands out, less specks; None if nothing does.

    Raises:
        CutOff: it reaches the bounds of what was looked through.
    """
    parts = number_parts(matte > 0.5)
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.05 * sizes.max(initial=0)))
    if (kept > binary_erosion(around, border_value=1)).any():
        raise CutOff("the thing came out too large, close up, to be put back")
    return bounds_of(kept)


def _fit(close_up: CloseUp, found: Box | None) -> Placing:
    """What was `found` close up, as little smaller and moved as brings it within the thing's bounds."""
    if found is None:
        return close_up.placing
    left, top, right, bottom = close_up.bounds
    wide, tall = found[2] - found[0], found[3] - found[1]
    scale = min(1.0, (right - left) / wide, (bottom - top) / tall)
    foot = _foot_of(found)
    x = min(max(foot[0], left + scale * wide / 2), right - scale * wide / 2)
    y = min(max(foot[1], top + scale * tall), bottom)
    far = _foot_of(close_up.box)
    moved = ((x - close_up.foot[0]) / close_up.zoom, (y - close_up.foot[1]) / close_up.zoom)
    return Placing((far[0] + moved[0], far[1] + moved[1]), foot, close_up.zoom / scale)


def _unite(one: Box, other: Box) -> Box:
    low, high = np.minimum(one, other), np.maximum(one, other)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def _foot_of(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, box[3]


def _bring_near(values: Array, placing: Placing) -> Array:
    x, y = (far - near / placing.zoom for far, near in zip(placing.far, placing.near, strict=True))
    affine = (1 / placing.zoom, 0, x, 0, 1 / placing.zoom, y)
    image = _picture(values)
    return _pixels(image.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def _take_away(values: Array, placing: Placing, size: tuple[int, int]) -> Array:
    """The way back, to a picture of `size`. Drawn four times as large first, so that what becomes smaller
    does not break up.
    """
    fine, image = 4, _picture(values)
    step = image.width / size[0] * placing.zoom / fine
    x, y = (near - far * placing.zoom for far, near in zip(placing.far, placing.near, strict=True))
    large = image.transform(
        (size[0] * fine, size[1] * fine),
        Image.Transform.AFFINE,
        (step, 0, x, 0, step, y),
        Image.Resampling.BILINEAR,
    )
    return _pixels(large.resize(size, Image.Resampling.BOX))


def _resize(values: Array, size: tuple[int, int]) -> Array:
    return _pixels(_picture(values).resize(size, Image.Resampling.BICUBIC))


def _pixels(picture: Image.Image) -> Array:
    return np.asarray(picture, np.float64)


def _picture(values: Array) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
