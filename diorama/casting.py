"""Rays of every thing through its own window of the picture, and their hits as flat lists.

Things of one shape and size go through one set of window-sized tensors. A ray's parameter is measured from
the thing's own depth in its unit box, so that float32 is exact to far less than a pixel. Knows no colours and
no truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, sin
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diorama.projection import Vector, bounds, extent, view
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


def box_lengths(thing: Thing) -> Vector:
    """World lengths of the thing's unit box; a torus' is a cube, which it does not fill in depth."""
    width, height, depth = extent(thing)
    return (width, width, width) if thing.shape == "torus" else (width, height, depth)


def cast(scenes: Sequence[Scene], owners: Sequence[Owner], fine: int, device: torch.device) -> list[Hits]:
    """All hits of all things on grids of `fine` x `fine` rays, one entry per group, hidden ones included."""
    rows = np.array([_axes(scenes[owner.scene], owner.thing) for owner in owners], dtype=np.float32)
    table = torch.tensor(rows.T.copy(), device=device)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, owner in enumerate(owners):
        groups.setdefault((owner.thing.shape, owner.thing.size), []).append(row)
    windows = [bounds(scenes[owner.scene].camera, owner.thing) for owner in owners]
    hits: list[Hits] = []
    for _, members in sorted(groups.items()):
        corner = [(floor(windows[row][0] * fine) - 1, floor(windows[row][1] * fine) - 1) for row in members]
        far = [(ceil(windows[row][2] * fine) + 1, ceil(windows[row][3] * fine) + 1) for row in members]
        width = max(end[0] - start[0] for start, end in zip(corner, far, strict=True))
        height = max(end[1] - start[1] for start, end in zip(corner, far, strict=True))
        numbers = [(row, owners[row].scene, *start) for row, start in zip(members, corner, strict=True)]
        members_table = torch.tensor(numbers, device=device).T
        hits.append(_cast_group(owners[members[0]].thing, table, members_table, (width, height), fine))
    return hits


def _axes(scene: Scene, thing: Thing) -> Axes:
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


def _cast_group(thing: Thing, table: Tensor, members: Tensor, window: tuple[int, int], fine: int) -> Hits:
    """`members`: [4, things] of row, scene, left and top of the window; `window`: its width and height in
    rays.
    """
    rows, scene, left, top = members
    axes = Axes(*table[:, rows, None])  # pyright: ignore[reportArgumentType]
    width, height = window
    column = left[:, None] + torch.arange(width, device=left.device)
    line = top[:, None] + torch.arange(height, device=left.device)
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
    extents = extent(thing)
    tube = 0.5 * extents[2] / extents[0]
    s, hit = HITS[thing.shape](_point(origin), _point(direction), tube)
    inside_x, inside_y = (column >= 0) & (column < fine), (line >= 0) & (line < fine)
    hit = hit & inside_x[:, None, :] & inside_y[:, :, None]
    m, y, x = hit.nonzero(as_tuple=True)
    flat = (m * height + y) * width + x
    s = s.flatten()[flat]
    ray = [component.flatten()[flat] for component in direction]
    point = [component.flatten()[flat] + s * along for component, along in zip(origin, ray, strict=True)]
    place = (scene[m] * fine + top[m] + y) * fine + left[m] + x
    depth = s + table[Axes._fields.index("middle")][rows[m]]
    return Hits(thing.shape, tube, depth, place, rows[m], _point(point), _point(ray))


def _point(components: Sequence[Tensor]) -> Point:
    x, y, z = components
    return x, y, z
