"""Point clouds as still pictures, seen a little from the side, for documentation."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.pixel_perfect_depth.geometry import Intrinsics, unproject
from models.pixel_perfect_depth.metrics import edge_mask

Floats = NDArray[np.floating]
Window = tuple[slice, slice]
SIDE = 320
"""Of each still in pixels."""
TURN, TILT = np.radians(38.0), np.radians(18.0)
LINE = 18


def zoomed_edge(true: Floats, side: int = 56) -> Window:
    """The window of `side` pixels in which edges of the true depth are the steepest in all."""
    near = edge_mask(true, np.ones(true.shape, bool))
    jump = np.hypot(*np.gradient(np.log(true))) * near
    sums = np.pad(jump.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    return slice(int(row), int(row) + side), slice(int(column), int(column) + side)


def draw_points(
    depths: Mapping[str, Floats], rgb: NDArray[np.uint8], camera: Intrinsics, window: Window
) -> Image.Image:
    """The points of a window under each depth (H, W), side by side, all turned about the same centre.

    Args:
        depths: metric ones by name; the first is the true one, and gives centre and scale.
        rgb: the picture (H, W, 3).
        camera: of this size.
        window: which pixels.
    """
    colours = rgb[window].reshape(-1, 3)
    clouds = {name: unproject(depth, camera)[window].reshape(-1, 3) for name, depth in depths.items()}
    first = next(iter(clouds.values()))
    centre = (first.min(0) + first.max(0)) / 2
    reach = float(np.quantile(np.linalg.norm(first - centre, axis=1), 0.95))
    sheet = Image.new("RGB", (SIDE * len(clouds), SIDE + LINE), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (name, cloud) in enumerate(clouds.items()):
        sheet.paste(_still(cloud - centre, colours, reach), (number * SIDE, 0))
        pen.text((number * SIDE + SIDE / 2, SIDE), name, fill="black", font=font, anchor="ma")
    return sheet


def _still(points: Floats, colours: NDArray[np.uint8], reach: float) -> Image.Image:
    """Points about the origin, turned, as small squares; nearer ones hide farther ones."""
    x, y, z = points.T
    x, z = np.cos(TURN) * x + np.sin(TURN) * z, np.cos(TURN) * z - np.sin(TURN) * x
    y, z = np.cos(TILT) * y + np.sin(TILT) * z, np.cos(TILT) * z - np.sin(TILT) * y
    canvas = np.full((SIDE, SIDE, 3), 245, np.uint8)
    places = np.stack([y, x], 1) / reach * SIDE * 0.62 + SIDE / 2
    for index in np.argsort(-z):
        row, column = (round(float(place)) for place in places[index])
        if 2 <= row < SIDE - 2 and 2 <= column < SIDE - 2:
            canvas[row - 1 : row + 2, column - 1 : column + 2] = colours[index]
    return Image.fromarray(canvas)
