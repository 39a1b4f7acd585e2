"""Rays against composites: every part casts its own, and each ray keeps a thing's nearest part.

Parts go through the solids' rays and shading. A ray that meets several parts of one thing is one hit of that
thing, so that masks and counts see the whole and not its parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, sin
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diorama.casting import Axes, Hits, Layer, Owner, Window, cast_group, window_of
from diorama.composites import Piece, paint, piece_bounds, pieces
from diorama.pinhole import Vector, view
from diorama.scene import Camera, Scene, Thing
from diorama.shading import GLOSS, shade, towards
from diorama.solids import SURFACES, Point


@dataclass(frozen=True, slots=True)
class _Placed:
    """A part of the composite number `thing`, which is `owner` among all owners."""

    thing: int
    owner: int
    scene: int
    piece: Piece
    window: Window


class _Looks(NamedTuple):
    """Columns of a table with what shading needs of a part; `turn` is row by row, for the world's axes."""

    length_x: float
    length_y: float
    length_z: float
    turn_xx: float
    turn_xy: float
    turn_xz: float
    turn_yx: float
    turn_yy: float
    turn_yz: float
    turn_zx: float
    turn_zy: float
    turn_zz: float
    y: float
    red: float
    green: float
    blue: float
    light_x: float
    light_y: float
    light_z: float
    ambient: float


def cast_composites(
    scenes: Sequence[Scene], owners: Sequence[tuple[int, Owner]], fine: int, device: torch.device
) -> list[Layer]:
    """Hits of composites, each with its position among all owners, on grids of `fine` x `fine` rays."""
    if not owners:
        return []
    placed = [
        _Placed(
            number, row, owner.scene, piece, window_of(piece_bounds(scenes[owner.scene].camera, piece), fine)
        )
        for number, (row, owner) in enumerate(owners)
        for piece in pieces(owner.thing)
    ]
    axes = [_axes(scenes[entry.scene].camera, entry.piece) for entry in placed]
    table = torch.tensor(np.array(axes, dtype=np.float32).T.copy(), device=device)
    groups: dict[tuple[str, float, tuple[int, int]], list[int]] = {}
    for row, entry in enumerate(placed):
        lengths = entry.piece.lengths
        # Rounded, because one part of several things differs in its last digits.
        tube = round(0.5 * lengths[2] / lengths[0], 6) if entry.piece.part.solid == "torus" else 0.0
        groups.setdefault((entry.piece.part.solid, tube, entry.window.bucket), []).append(row)
    hits: list[Hits] = []
    for (solid, tube, _), rows in sorted(groups.items()):
        width = max(placed[row].window.width for row in rows)
        height = max(placed[row].window.height for row in rows)
        numbers = [(row, placed[row].scene, placed[row].window.left, placed[row].window.top) for row in rows]
        members = torch.tensor(numbers, device=device).T
        hits.append(cast_group(solid, tube, table, members, (width, height), fine))
    looks = _looks(scenes, [owner.thing for _, owner in owners], placed, device)
    owner_of = torch.tensor([entry.owner for entry in placed], device=device)
    return [
        Layer(kept.depth, kept.place, owner_of[kept.row], partial(_shade, kept, looks))
        for kept in _joined(_nearest(hits, placed, fine, device))
    ]


def _axes(camera: Camera, piece: Piece) -> Axes:
    """`casting.axes_of` for a part turned any way."""
    middle = view(camera, *piece.centre)[2]
    level, fall = cos(camera.pitch), sin(camera.pitch)
    turn = piece.turn

    def local(x: float, y: float, z: float) -> Vector:
        a, b, c = ((turn[0][i] * x + turn[1][i] * y + turn[2][i] * z) / piece.lengths[i] for i in range(3))
        return a, b, c

    ahead = local(0.0, -fall, level)
    eye = local(
        camera.x - piece.centre[0], camera.height - piece.centre[1], -camera.distance - piece.centre[2]
    )
    start = (eye[0] + middle * ahead[0], eye[1] + middle * ahead[1], eye[2] + middle * ahead[2])
    return Axes(*start, *ahead, *local(1.0, 0.0, 0.0), *local(0.0, level, fall), middle, camera.focal)


def _looks(
    scenes: Sequence[Scene], things: Sequence[Thing], placed: Sequence[_Placed], device: torch.device
) -> Tensor:
    rows = [
        _Looks(
            *entry.piece.lengths,
            *entry.piece.turn[0],
            *entry.piece.turn[1],
            *entry.piece.turn[2],
            entry.piece.centre[1],
            *paint(things[entry.thing], entry.piece.part),
            *towards(scenes[entry.scene].light),
            scenes[entry.scene].light.ambient,
        )
        for entry in placed
    ]
    return torch.tensor(np.array(rows, dtype=np.float32).T.copy(), device=device)


def _nearest(hits: Sequence[Hits], placed: Sequence[_Placed], fine: int, device: torch.device) -> list[Hits]:
    """Of every thing and ray the nearest part's hit; of equally near ones the first part's."""
    start, total = _windows(placed, device)
    slots = [_slot(found, start, fine) for found in hits]
    depth = torch.full((total,), torch.inf, device=device)
    for found, slot in zip(hits, slots, strict=True):
        depth.scatter_reduce_(0, slot, found.depth, "amin")
    first = torch.full((total,), len(placed), dtype=torch.int64, device=device)
    nearest = [found.depth == depth[slot] for found, slot in zip(hits, slots, strict=True)]
    for found, slot, near in zip(hits, slots, nearest, strict=True):
        first.scatter_reduce_(0, slot[near], found.row[near], "amin")
    return [
        _take(found, (near & (found.row == first[slot])).nonzero()[:, 0])
        for found, slot, near in zip(hits, slots, nearest, strict=True)
    ]


def _joined(hits: Sequence[Hits]) -> list[Hits]:
    """One list of hits per solid: what comes after the rays does not care for windows."""
    groups: dict[tuple[str, float], list[Hits]] = {}
    for found in hits:
        groups.setdefault((found.shape, found.tube), []).append(found)
    return [
        Hits(
            shape,
            tube,
            torch.cat([found.depth for found in group]),
            torch.cat([found.place for found in group]),
            torch.cat([found.row for found in group]),
            _cat([found.point for found in group]),
            _cat([found.ray for found in group]),
        )
        for (shape, tube), group in groups.items()
    ]


def _cat(points: Sequence[Point]) -> Point:
    x, y, z = (torch.cat([point[axis] for point in points]) for axis in range(3))
    return x, y, z


def _windows(placed: Sequence[_Placed], device: torch.device) -> tuple[Tensor, int]:
    """For each part of its thing's own window: where it starts in a flat buffer, left, top and width, [4,
    parts]; and the buffer's length.
    """
    spans: dict[int, list[int]] = {}
    for entry in placed:
        left, top, width, height = entry.window
        # A ring's box is exact to a ray or two only.
        span = spans.setdefault(entry.thing, [left, top, left, top])
        span[0], span[1] = min(span[0], left - 2), min(span[1], top - 2)
        span[2], span[3] = max(span[2], left + width + 2), max(span[3], top + height + 2)
    offsets: dict[int, int] = {}
    total = 0
    for thing, (left, top, right, bottom) in spans.items():
        offsets[thing] = total
        total += (right - left) * (bottom - top)
    rows = [
        (offsets[entry.thing], *spans[entry.thing][:2], spans[entry.thing][2] - spans[entry.thing][0])
        for entry in placed
    ]
    return torch.tensor(rows, device=device).T.contiguous(), total


def _slot(hits: Hits, start: Tensor, fine: int) -> Tensor:
    offset, left, top, width = (column[hits.row] for column in start)
    inside = hits.place % (fine * fine)
    return offset + (inside // fine - top) * width + inside % fine - left


def _take(hits: Hits, keep: Tensor) -> Hits:
    point = (hits.point[0][keep], hits.point[1][keep], hits.point[2][keep])
    ray = (hits.ray[0][keep], hits.ray[1][keep], hits.ray[2][keep])
    return Hits(hits.shape, hits.tube, hits.depth[keep], hits.place[keep], hits.row[keep], point, ray)


def _shade(hits: Hits, table: Tensor, keep: Tensor) -> Tensor:
    row = hits.row[keep]
    look = _Looks(*(column[row] for column in table))  # pyright: ignore[reportArgumentType]
    point = (hits.point[0][keep], hits.point[1][keep], hits.point[2][keep])
    ray = (hits.ray[0][keep], hits.ray[1][keep], hits.ray[2][keep])
    n = SURFACES[hits.shape](point, hits.tube).normal
    normal = _unit(look, n[0] / look.length_x, n[1] / look.length_y, n[2] / look.length_z)
    eye = _unit(look, -ray[0] * look.length_x, -ray[1] * look.length_y, -ray[2] * look.length_z)
    x, y, z = point[0] * look.length_x, point[1] * look.length_y, point[2] * look.length_z
    height = look.y + look.turn_yx * x + look.turn_yy * y + look.turn_yz * z
    albedo: Point = (look.red, look.green, look.blue)  # pyright: ignore[reportAssignmentType]
    light: Point = (look.light_x, look.light_y, look.light_z)  # pyright: ignore[reportAssignmentType]
    return shade(albedo, normal, eye, light, look.ambient, height, GLOSS[hits.shape])  # pyright: ignore[reportArgumentType]


def _unit(look: _Looks, x: Tensor, y: Tensor, z: Tensor) -> Point:
    """A vector of the part's own axes as a unit vector of the world."""
    right = look.turn_xx * x + look.turn_xy * y + look.turn_xz * z
    up = look.turn_yx * x + look.turn_yy * y + look.turn_yz * z
    away = look.turn_zx * x + look.turn_zy * y + look.turn_zz * z
    length = (right * right + up * up + away * away).sqrt()
    return right / length, up / length, away / length
