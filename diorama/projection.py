"""Where solids land in a picture: exact boxes from a pinhole camera, in plain Python.

The camera looks along +z, pitched down; picture coordinates are fractions, u to the right and v down. Knows
the solids' geometry, but neither rays nor pixels: `solids` draws the same solids.
"""

from collections.abc import Iterator
from math import cos, hypot, sin, sqrt

from diorama.scene import Camera, Scene, Thing
from diorama.truth import Seen
from diorama.vocabulary import load_vocabulary

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in fractions of the picture."""

Vector = tuple[float, float, float]

_NEAR = 0.2


def extent(thing: Thing) -> Vector:
    """Width, height and depth of the thing's own (unturned) box, in world units."""
    return _EXTENTS[thing.shape, thing.size]


def _extents() -> dict[tuple[str, str], Vector]:
    vocabulary = load_vocabulary()
    return {
        (shape.name, size.name): (
            shape.extent[0] * size.scale,
            shape.extent[1] * size.scale,
            shape.extent[2] * size.scale,
        )
        for shape in vocabulary.shapes
        for size in vocabulary.sizes
    }


_EXTENTS = _extents()
_NATURAL = {shape.name: shape.natural for shape in load_vocabulary().shapes}


def view(camera: Camera, x: float, y: float, z: float) -> Vector:
    """Camera coordinates (right, up, depth along the optical axis) of a point in the world."""
    up, ahead = y - camera.height, z + camera.distance
    c, s = cos(camera.pitch), sin(camera.pitch)
    return x - camera.x, up * c + ahead * s, ahead * c - up * s


def distance(camera: Camera, thing: Thing) -> float:
    """From the camera to the thing's centre, in world units."""
    right, up, depth = view(camera, thing.x, thing.y, thing.z)
    return sqrt(right * right + up * up + depth * depth)


def corners(thing: Thing) -> list[Vector]:
    """The eight corners of the thing's turned box: x varies slowest, then y, then z."""
    half = [length / 2 for length in extent(thing)]
    c, s = cos(thing.yaw), sin(thing.yaw)
    signs = (-1.0, 1.0)
    return [
        (
            thing.x + c * i * half[0] + s * k * half[2],
            thing.y + j * half[1],
            thing.z - s * i * half[0] + c * k * half[2],
        )
        for i in signs
        for j in signs
        for k in signs
    ]


def bounds(camera: Camera, thing: Thing) -> Box:
    """The box of the whole thing in the picture, whether or not something hides it.

    Exact for all solids but the torus, whose tube is widened at its centre's depth (within half a pixel at
    128); of other things that of their own box, which they fill.

    Raises:
        ValueError: the thing reaches behind the camera.
    """
    centre = view(camera, thing.x, thing.y, thing.z)
    width, height, depth = extent(thing)
    if centre[2] - hypot(width, height, depth) / 2 < _NEAR:
        raise ValueError(
            f"the {thing.shape} at z = {thing.z:.2f} reaches behind the camera; move it further away"
        )
    parts = _PARTS.get(thing.shape, _cube)
    boxes = list(parts(camera, thing, centre, (width / 2, height / 2, depth / 2)))
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def project(scene: Scene) -> list[Seen]:
    """Every thing of the scene as seen by a perfect eye that looks through whatever hides it."""
    return [perfectly_seen(scene.camera, thing, bounds(scene.camera, thing)) for thing in scene.things]


def perfectly_seen(camera: Camera, thing: Thing, box: Box) -> Seen:
    """The thing as a perfect eye sees it in `box`; a natural look has the colour that people call it by."""
    return Seen(
        shape=thing.shape,
        colour=thing.colour or _NATURAL[thing.shape],
        pattern=thing.pattern,
        size=thing.size,
        box=box,
        distance=distance(camera, thing),
    )


def _point(camera: Camera, x: float, y: float, z: float) -> Box:
    right, up, depth = view(camera, x, y, z)
    u, v = 0.5 + camera.focal * right / depth, 0.5 - camera.focal * up / depth
    return u, v, u, v


def _conic(camera: Camera, centre: Vector, axes: tuple[Vector, ...], pad: float = 0.0) -> Box:
    """Box of an ellipsoid (three half axes) or ellipse (two) in camera coordinates, by its dual conic."""
    x, y, z = centre
    xx = x * x - sum(a[0] * a[0] for a in axes)
    yy = y * y - sum(a[1] * a[1] for a in axes)
    zz = z * z - sum(a[2] * a[2] for a in axes)
    xz = x * z - sum(a[0] * a[2] for a in axes)
    yz = y * z - sum(a[1] * a[2] for a in axes)
    f, pad = camera.focal, camera.focal * pad / z
    half_x, half_y = sqrt(max(xz * xz - xx * zz, 0.0)) / zz, sqrt(max(yz * yz - yy * zz, 0.0)) / zz
    mid_x, mid_y = 0.5 + f * xz / zz, 0.5 - f * yz / zz
    half_x, half_y = f * half_x + pad, f * half_y + pad
    return mid_x - half_x, mid_y - half_y, mid_x + half_x, mid_y + half_y


def _direction(camera: Camera, x: float, y: float, z: float) -> Vector:
    c, s = cos(camera.pitch), sin(camera.pitch)
    return x, y * c + z * s, z * c - y * s


def _disc(camera: Camera, thing: Thing, y: float, half: Vector) -> Box:
    """A horizontal ellipse of the thing at height `y`."""
    c, s = cos(thing.yaw), sin(thing.yaw)
    axes = (
        _direction(camera, c * half[0], 0.0, -s * half[0]),
        _direction(camera, s * half[2], 0.0, c * half[2]),
    )
    return _conic(camera, view(camera, thing.x, y, thing.z), axes)


def _sphere(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    c, s = cos(thing.yaw), sin(thing.yaw)
    yield _conic(
        camera,
        centre,
        (
            _direction(camera, c * half[0], 0.0, -s * half[0]),
            _direction(camera, 0.0, half[1], 0.0),
            _direction(camera, s * half[2], 0.0, c * half[2]),
        ),
    )


def _cube(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    for corner in corners(thing):
        yield _point(camera, *corner)


def _cylinder(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    yield _disc(camera, thing, thing.y - half[1], half)
    yield _disc(camera, thing, thing.y + half[1], half)


def _cone(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    yield _disc(camera, thing, thing.y - half[1], half)
    yield _point(camera, thing.x, thing.y + half[1], thing.z)


def _torus(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    """The tube's centre line is an upright circle; the sphere swept along it adds its radius all around."""
    c, s = cos(thing.yaw), sin(thing.yaw)
    ring = half[0] - half[2]
    axes = (_direction(camera, c * ring, 0.0, -s * ring), _direction(camera, 0.0, ring, 0.0))
    yield _conic(camera, centre, axes, pad=half[2])


def _pyramid(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    for x, y, z in corners(thing):
        if y < thing.y:
            yield _point(camera, x, y, z)
    yield _point(camera, thing.x, thing.y + half[1], thing.z)


_PARTS = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "pyramid": _pyramid,
}
