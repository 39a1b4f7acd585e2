"""Rays of every thing through its own window of the picture, and their hits as flat lists.

Things of one shape and size go through one set of window-sized tensors. A ray's parameter is measured from
the thing's own depth in its unit box, so that float32 is exact to far less than a pixel. Knows no colours and
no truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, log2, sin
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diorama.pinhole import Box, Vector, view
from diorama.projection import bounds, extent
from diorama.scene import Scene, Thing
from diorama.solids import HITS, Point


class Owner(NamedTuple):
    """A thing of a batch: which scene, which place in it."""

    scene: int
    slot: int
    thing: Thing


class Axes(NamedTuple):
    """Columns of a table with what rays need of a thing; lengths of vectors are in units of its own box."""

    start_x: float
    start_y: float
    start_z: float
    """Where the optical axis' ray is when it is as deep as the thing's centre."""
    ahead_x: float
    ahead_y: float
    ahead_z: float
    right_x: float
    right_y: float
    right_z: float
    up_x: float
    up_y: float
    up_z: float
    middle: float
    """Depth of the centre, in world units."""
    focal: float


@dataclass(frozen=True, slots=True)
class Layer:
    """Hits of any kind of thing, at most one per thing and ray.

    `depth` and `place` are those of `Hits`, `owner` is the thing's position among all owners. `shade` gives
    the display colours, [kept, 3], of the hits at the positions that it is handed.
    """

    depth: Tensor
    place: Tensor
    owner: Tensor
    shade: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Hits:
    """Where the rays of one group enter their things.

    `depth` is in world units along the optical axis, `place` the flat index on the supersampled grid of all
    pictures, `row` the thing's position among all owners; `point` and `ray` are in the thing's unit box.
    """

    shape: str
    tube: float
    depth: Tensor
    place: Tensor
    row: Tensor
    point: Point
    ray: Point


class Window(NamedTuple):
    """The part of a picture, in rays, that holds a thing; it may reach past the border."""

    left: int
    top: int
    width: int
    height: int

    @property
    def bucket(self) -> tuple[int, int]:
        """Windows of one bucket differ by less than twice in width and height: few groups, little waste."""
        return round(log2(max(self.width, 8))), round(log2(max(self.height, 8)))


def window_of(box: Box, fine: int) -> Window:
    """The rays of a grid of `fine` x `fine` that may meet what lies within `box`, and one more all around."""
    left, top = floor(box[0] * fine) - 1, floor(box[1] * fine) - 1
    return Window(left, top, ceil(box[2] * fine) + 1 - left, ceil(box[3] * fine) + 1 - top)


def box_lengths(thing: Thing) -> Vector:
    """World lengths of the thing's unit box; a torus' is a cube, which it does not fill in depth."""
    width, height, depth = extent(thing)
    return (width, width, width) if thing.shape == "torus" else (width, height, depth)


def cast(scenes: Sequence[Scene], owners: Sequence[Owner], fine: int, device: torch.device) -> list[Hits]:
    """All hits of all things on grids of `fine` x `fine` rays, one entry per group, hidden ones included."""
    rows = np.array([axes_of(scenes[owner.scene], owner.thing) for owner in owners], dtype=np.float32)
    table = torch.tensor(rows.T.copy(), device=device)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, owner in enumerate(owners):
        groups.setdefault((owner.thing.shape, owner.thing.size), []).append(row)
    windows = [window_of(bounds(scenes[owner.scene].camera, owner.thing), fine) for owner in owners]
    hits: list[Hits] = []
    for _, members in sorted(groups.items()):
        width = max(windows[row].width for row in members)
        height = max(windows[row].height for row in members)
        numbers = [(row, owners[row].scene, windows[row].left, windows[row].top) for row in members]
        members_table = torch.tensor(numbers, device=device).T
        thing = owners[members[0]].thing
        extents = extent(thing)
        tube = 0.5 * extents[2] / extents[0]
        hits.append(cast_group(thing.shape, tube, table, members_table, (width, height), fine))
    return hits


def axes_of(scene: Scene, thing: Thing) -> Axes:
    """What rays need of a thing that is turned about the vertical alone."""
    lengths = box_lengths(thing)
    c, s = cos(thing.yaw), sin(thing.yaw)
    level, fall = cos(scene.camera.pitch), sin(scene.camera.pitch)
    middle = view(scene.camera, thing.x, thing.y, thing.z)[2]

    def local(x: float, y: float, z: float) -> Vector:
        return (c * x - s * z) / lengths[0], y / lengths[1], (s * x + c * z) / lengths[2]

    ahead = local(0.0, -fall, level)
    eye = local(scene.camera.x - thing.x, scene.camera.height - thing.y, -scene.camera.distance - thing.z)
    start = (eye[0] + middle * ahead[0], eye[1] + middle * ahead[1], eye[2] + middle * ahead[2])
    right, up = local(1.0, 0.0, 0.0), local(0.0, level, fall)
    return Axes(*start, *ahead, *right, *up, middle, scene.camera.focal)


def window_rays(
    axes: Axes, left: Tensor, top: Tensor, window: tuple[int, int], fine: int
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The rays through windows of one size, in their things' unit boxes; `axes` has a row per thing.

    Returns their columns [things, width] and lines [things, height] on the fine grid, and x, y, z of their
    origins and directions, each [things, height, width].
    """
    column = left[:, None] + torch.arange(window[0], device=left.device)
    line = top[:, None] + torch.arange(window[1], device=left.device)
    a = ((column + 0.5) / fine - 0.5) / axes.focal
    b = (0.5 - (line + 0.5) / fine) / axes.focal
    direction: list[Tensor] = []
    origin: list[Tensor] = []
    for axis in "xyz":
        start, ahead, right, up = (
            getattr(axes, f"{name}_{axis}") for name in ("start", "ahead", "right", "up")
        )
        across, along = a * right, b * up
        direction.append((ahead + across)[:, None, :] + along[:, :, None])
        origin.append((start + axes.middle * across)[:, None, :] + (axes.middle * along)[:, :, None])
    return column, line, origin, direction


def cast_group(
    shape: str, tube: float, table: Tensor, members: Tensor, window: tuple[int, int], fine: int
) -> Hits:
    """Hits of solids of one shape, `tube` half as thick as a torus is in its unit box.

    `table` has a column of `Axes` per row; `members`: [4, things] of row, scene, left and top of the window;
    `window`: its width and height in rays.
    """
    rows, scene, left, top = members
    axes = Axes(*table[:, rows, None])  # pyright: ignore[reportArgumentType]
    width, height = window
    column, line, origin, direction = window_rays(axes, left, top, window, fine)
    s, hit = HITS[shape](_point(origin), _point(direction), tube)
    inside_x, inside_y = (column >= 0) & (column < fine), (line >= 0) & (line < fine)
    hit = hit & inside_x[:, None, :] & inside_y[:, :, None]
    m, y, x = hit.nonzero(as_tuple=True)
    flat = (m * height + y) * width + x
    s = s.flatten()[flat]
    ray = [component.flatten()[flat] for component in direction]
    point = [component.flatten()[flat] + s * along for component, along in zip(origin, ray, strict=True)]
    place = (scene[m] * fine + top[m] + y) * fine + left[m] + x
    depth = s + table[Axes._fields.index("middle")][rows[m]]
    return Hits(shape, tube, depth, place, rows[m], _point(point), _point(ray))


def _point(components: Sequence[Tensor]) -> Point:
    x, y, z = components
    return x, y, z
