"""Things made of solids, read from `composites.toml`: their parts, each where it is in the world.

One thing has one identity, however many parts it has. Knows geometry and paint, but neither rays nor pixels.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import cos, radians, sin, sqrt
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from diorama.pinhole import Box, Vector, conic, direction, point, view
from diorama.scene import Camera, Thing
from diorama.vocabulary import Rgb, load_vocabulary

Solid = Literal["sphere", "cube", "cylinder", "cone", "torus", "pyramid"]
Length = Annotated[float, Field(gt=0.0)]
Matrix = tuple[Vector, Vector, Vector]
"""Rows of a rotation."""
_NOWHERE: Vector = (0.0, 0.0, 0.0)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Entry):
    """One solid of a composite; see the head of `composites.toml`. A torus is as high as it is wide."""

    solid: Solid
    at: Vector
    size: tuple[Length, Length, Length]
    turn: Vector = (0.0, 0.0, 0.0)
    rgb: Rgb | None = None
    """Its own colour; None: that of the thing."""
    shade: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Multiplies the thing's colour."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.solid == "cone" and (self.turn[0] or self.turn[2]):
            raise ValueError(f"a cone stands upright, this one has turn = {list(self.turn)}: use a pyramid")
        if self.solid == "torus" and self.size[0] != self.size[1]:
            raise ValueError(f"a torus is as high as it is wide, this one has size = {list(self.size)}")
        return self


class Composite(_Entry):
    """A class's parts. `natural` is its colour where none is asked for."""

    shape: str
    natural: Rgb
    lean: float = 0.0
    parts: tuple[Part, ...]


class _File(_Entry):
    composites: tuple[Composite, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part in place: `lengths` of its own box, turned by `turn`, its middle at `centre`."""

    part: Part
    centre: Vector
    lengths: Vector
    turn: Matrix

    def axis(self, index: int) -> Vector:
        """The half axis along its own x, y or z."""
        half = self.lengths[index] / 2
        return self.turn[0][index] * half, self.turn[1][index] * half, self.turn[2][index] * half


@cache
def load_composites() -> dict[str, Composite]:
    """All composites by class.

    Raises:
        ValueError: `composites.toml` is not valid, or lacks a class that the vocabulary calls a composite.
    """
    text = resources.files("diorama").joinpath("composites.toml").read_text("utf-8")
    found = {entry.shape: entry for entry in _File.model_validate(tomllib.loads(text)).composites}
    wanted = [shape.name for shape in load_vocabulary().shapes if shape.kind == "composite"]
    if lacking := [name for name in wanted if name not in found]:
        raise ValueError(f"diorama/composites.toml lacks {', '.join(lacking)}: write their parts")
    return found


@cache
def composite_extent(shape: str) -> Vector:
    """Width, height and depth of a large one: its own proportions, as wide or as high as the class's box."""
    low, high = _span(shape)
    scale = _scale(shape)
    width, height, depth = ((high[axis] - low[axis]) * scale for axis in range(3))
    return width, height, depth


def pieces(thing: Thing) -> list[Piece]:
    """The thing's parts in the world."""
    turned = _turned(thing.yaw)
    size = _SIZES[thing.size]
    found: list[Piece] = []
    for piece in _upright(thing.shape):
        x, y, z = _apply(turned, piece.centre)
        lengths = (piece.lengths[0] * size, piece.lengths[1] * size, piece.lengths[2] * size)
        centre = (thing.x + x * size, thing.y + y * size, thing.z + z * size)
        found.append(Piece(piece.part, centre, lengths, _product(turned, piece.turn)))
    return found


def composite_bounds(camera: Camera, thing: Thing) -> Box:
    """The box of all parts together, as `piece_bounds` gives it for each: one pass over arrays, for a layout
    asks for it thousands of times.
    """
    shell, size = _shell(thing.shape), _SIZES[thing.size]
    to_camera = np.array([direction(camera, *axis) for axis in zip(*_turned(thing.yaw), strict=True)]) * size
    middle = np.array(view(camera, thing.x, thing.y, thing.z))
    boxes = [
        *_point_boxes(shell.points @ to_camera + middle),
        *_round_boxes(shell.centres @ to_camera + middle, shell.axes @ to_camera, shell.pads * size),
    ]
    return join([_framed(camera, box) for box in boxes])


def _framed(camera: Camera, box: Box) -> Box:
    """A box in focal lengths from the picture's centre, upwards, in fractions of the picture."""
    left, low, right, high = (camera.focal * side for side in box)
    return 0.5 + left, 0.5 - high, 0.5 + right, 0.5 - low


def _point_boxes(points: NDArray[np.float64]) -> Iterator[Box]:
    """The box around points (P, 3) in camera coordinates, if there are any."""
    if len(points):
        flat = points[:, :2] / points[:, 2:]
        yield _around(flat, flat)


def _round_boxes(
    centres: NDArray[np.float64], axes: NDArray[np.float64], pads: NDArray[np.float64]
) -> Iterator[Box]:
    """The box around ellipsoids, as `pinhole.conic` finds one's, if there are any."""
    if len(centres):
        dual = centres[:, :, None] * centres[:, None, :] - axes.transpose(0, 2, 1) @ axes
        to_depth, depth = dual[:, :2, 2], dual[:, 2, 2, None]
        half = np.sqrt(np.maximum(to_depth**2 - dual[:, (0, 1), (0, 1)] * depth, 0.0)) / depth
        half += (pads / centres[:, 2])[:, None]
        yield _around(to_depth / depth - half, to_depth / depth + half)


def _around(low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
    """One box around many, from their lower and upper corners (N, 2)."""
    (left, bottom), (right, top) = low.min(0).tolist(), high.max(0).tolist()
    return left, bottom, right, top


@dataclass(frozen=True, slots=True)
class _Shell:
    """What bounds a large composite, from the middle of its box in its own axes: points (P, 3), and
    ellipsoids with `centres` (E, 3), half `axes` (E, 3, 3; the third of an ellipse is 0) and `pads` (E,).
    """

    points: NDArray[np.float64]
    centres: NDArray[np.float64]
    axes: NDArray[np.float64]
    pads: NDArray[np.float64]


@cache
def _shell(shape: str) -> _Shell:
    points: list[Vector] = []
    rounds: list[_Round] = []
    for piece in _upright(shape):
        own_points, own_rounds = _outline(piece)
        points += own_points
        rounds += own_rounds
    return _Shell(
        np.array(points).reshape(-1, 3),
        np.array([one.centre for one in rounds]).reshape(-1, 3),
        np.array([one.axes for one in rounds]).reshape(-1, 3, 3),
        np.array([one.pad for one in rounds]),
    )


def paint(thing: Thing, part: Part) -> Rgb:
    """The part's albedo."""
    if part.rgb is not None:
        return part.rgb
    rgb = load_composites()[thing.shape].natural if thing.colour is None else _COLOURS[thing.colour]
    return rgb[0] * part.shade, rgb[1] * part.shade, rgb[2] * part.shade


def piece_bounds(camera: Camera, piece: Piece) -> Box:
    """The box of a part in the picture, as exact as `projection.bounds`."""
    boxes = list(_boxes(camera, piece))
    return join(boxes)


def join(boxes: list[Box]) -> Box:
    """The box around boxes."""
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _boxes(camera: Camera, piece: Piece) -> Iterator[Box]:
    points, rounds = _outline(piece)
    for one in rounds:
        axes = tuple(direction(camera, *axis) for axis in one.axes)
        yield conic(camera, view(camera, *one.centre), axes, one.pad)
    for corner in points:
        yield point(camera, *corner)


class _Round(NamedTuple):
    """An ellipsoid with half `axes`, or an ellipse where the third is 0, widened by `pad`."""

    centre: Vector
    axes: tuple[Vector, Vector, Vector]
    pad: float = 0.0


def _outline(piece: Piece) -> tuple[list[Vector], list[_Round]]:
    """The points and ellipsoids that bound a part from every side."""
    x, y, z = (piece.axis(index) for index in range(3))
    match piece.part.solid:
        case "sphere":
            return [], [_Round(piece.centre, (x, y, z))]
        case "torus":
            tube = piece.lengths[2] / 2
            share = 1.0 - 2.0 * tube / piece.lengths[0]
            ring = (_moved(_NOWHERE, x, share), _moved(_NOWHERE, y, share), _NOWHERE)
            return [], [_Round(piece.centre, ring, tube)]
        case "cylinder":
            ends = (_moved(piece.centre, y, sign) for sign in (-1.0, 1.0))
            return [], [_Round(end, (x, z, _NOWHERE)) for end in ends]
        case "cone":
            base = _Round(_moved(piece.centre, y, -1.0), (x, z, _NOWHERE))
            return [_moved(piece.centre, y, 1.0)], [base]
        case "cube" | "pyramid":
            return list(_corners(piece)), []


def _corners(piece: Piece) -> Iterator[Vector]:
    pyramid = piece.part.solid == "pyramid"
    for j in (-1.0, 1.0):
        level = _moved(piece.centre, piece.axis(1), j)
        if pyramid and j > 0:
            yield level
            continue
        for i in (-1.0, 1.0):
            for k in (-1.0, 1.0):
                yield _moved(_moved(level, piece.axis(0), i), piece.axis(2), k)


def _moved(start: Vector, along: Vector, by: float) -> Vector:
    return start[0] + along[0] * by, start[1] + along[1] * by, start[2] + along[2] * by


@cache
def _upright(shape: str) -> tuple[Piece, ...]:
    """Parts of a large thing in its own axes, measured from the middle of its box."""
    low, high = _span(shape)
    scale = _scale(shape)
    found: list[Piece] = []
    for piece in _raw(shape):
        x, y, z = ((piece.centre[axis] - (low[axis] + high[axis]) / 2) * scale for axis in range(3))
        width, height, depth = (length * scale for length in piece.lengths)
        found.append(Piece(piece.part, (x, y, z), (width, height, depth), piece.turn))
    return tuple(found)


@cache
def _scale(shape: str) -> float:
    low, high = _span(shape)
    box = _EXTENTS[shape]
    return min(box[axis] / (high[axis] - low[axis]) for axis in range(2))


@cache
def _span(shape: str) -> tuple[Vector, Vector]:
    """Lowest and highest corner of all parts, in the file's unit."""
    spans = [_reach(piece) for piece in _raw(shape)]
    low = (min(s[0][0] for s in spans), min(s[0][1] for s in spans), min(s[0][2] for s in spans))
    high = (max(s[1][0] for s in spans), max(s[1][1] for s in spans), max(s[1][2] for s in spans))
    return low, high


def _raw(shape: str) -> Iterator[Piece]:
    composite = load_composites()[shape]
    lean = _rotation((0.0, 0.0, composite.lean))
    for part in composite.parts:
        yield Piece(part, _apply(lean, part.at), part.size, _product(lean, _rotation(part.turn)))


def _reach(piece: Piece) -> tuple[Vector, Vector]:
    """The part's box along the world's axes."""
    x, y, z = (piece.axis(index) for index in range(3))
    match piece.part.solid:
        case "sphere":
            half = [sqrt(x[i] ** 2 + y[i] ** 2 + z[i] ** 2) for i in range(3)]
        case "cylinder" | "cone":
            half = [sqrt(x[i] ** 2 + z[i] ** 2) + abs(y[i]) for i in range(3)]
        case "torus":
            tube = piece.lengths[2] / 2
            share = 1.0 - 2.0 * tube / piece.lengths[0]
            half = [sqrt(x[i] ** 2 + y[i] ** 2) * share + tube for i in range(3)]
        case "cube" | "pyramid":
            ends = list(_corners(piece))
            low = (min(e[0] for e in ends), min(e[1] for e in ends), min(e[2] for e in ends))
            return low, (max(e[0] for e in ends), max(e[1] for e in ends), max(e[2] for e in ends))
    c = piece.centre
    return (c[0] - half[0], c[1] - half[1], c[2] - half[2]), (c[0] + half[0], c[1] + half[1], c[2] + half[2])


def _turned(yaw: float) -> Matrix:
    """About the upright axis."""
    c, s = cos(yaw), sin(yaw)
    return (c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)


def _rotation(degrees: Vector) -> Matrix:
    """About x, then y, then z."""
    (cx, sx), (cy, sy), (cz, sz) = ((cos(radians(angle)), sin(radians(angle))) for angle in degrees)
    about_x: Matrix = ((1.0, 0.0, 0.0), (0.0, cx, -sx), (0.0, sx, cx))
    about_y: Matrix = ((cy, 0.0, sy), (0.0, 1.0, 0.0), (-sy, 0.0, cy))
    about_z: Matrix = ((cz, -sz, 0.0), (sz, cz, 0.0), (0.0, 0.0, 1.0))
    return _product(about_z, _product(about_y, about_x))


def _apply(matrix: Matrix, v: Vector) -> Vector:
    a, b, c = (row[0] * v[0] + row[1] * v[1] + row[2] * v[2] for row in matrix)
    return a, b, c


def _product(a: Matrix, b: Matrix) -> Matrix:
    x, y, z = (tuple(row[0] * b[0][i] + row[1] * b[1][i] + row[2] * b[2][i] for i in range(3)) for row in a)
    return x, y, z  # pyright: ignore[reportReturnType]


_VOCABULARY = load_vocabulary()
_COLOURS = {entry.name: entry.rgb for entry in _VOCABULARY.colours}
_EXTENTS = {entry.name: entry.extent for entry in _VOCABULARY.shapes}
_SIZES = {entry.name: entry.scale for entry in _VOCABULARY.sizes}
