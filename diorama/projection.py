"""Where things land in a picture: exact boxes from a pinhole camera, in plain Python.

Knows the solids' geometry, what composites are made of and the outlines of cut-outs, but neither rays nor
pixels: `solids` draws the same solids.
"""

from collections.abc import Iterator
from math import cos, hypot, sin, sqrt

from diorama.composites import composite_bounds, composite_extent, join
from diorama.drawings import drawing_of
from diorama.pinhole import Box, Vector, conic, direction, point, view
from diorama.scene import Camera, Scene, Thing
from diorama.truth import Seen
from diorama.vocabulary import load_vocabulary

_NEAR = 0.2


def extent(thing: Thing) -> Vector:
    """Width, height and depth of the thing's own (unturned) box, in world units.

    A cut-out's holds the leaning drawing.
    """
    if thing.shape in _CUTOUTS:
        width, height = drawn_size(thing)
        c, s = abs(cos(thing.roll)), abs(sin(thing.roll))
        return width * c + height * s, width * s + height * c, _EXTENTS[thing.shape, thing.size][2]
    return _EXTENTS[thing.shape, thing.size]


def drawn_size(thing: Thing) -> tuple[float, float]:
    """Width and height of a cut-out's drawing: its own proportions, as wide or as high as the class's box."""
    width, height, _ = _EXTENTS[thing.shape, thing.size]
    aspect = drawing_of(thing.shape, thing.drawing).aspect
    return (width, width / aspect) if aspect * height > width else (height * aspect, height)


def _extents() -> dict[tuple[str, str], Vector]:
    vocabulary = load_vocabulary()
    found: dict[tuple[str, str], Vector] = {}
    for shape in vocabulary.shapes:
        width, height, depth = composite_extent(shape.name) if shape.kind == "composite" else shape.extent
        for size in vocabulary.sizes:
            found[shape.name, size.name] = (width * size.scale, height * size.scale, depth * size.scale)
    return found


_EXTENTS = _extents()
_NATURAL = {shape.name: shape.natural for shape in load_vocabulary().shapes}
_CUTOUTS = frozenset(shape.name for shape in load_vocabulary().shapes if shape.kind == "cutout")
_COMPOSITES = frozenset(shape.name for shape in load_vocabulary().shapes if shape.kind == "composite")


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
    128), and of composites made of them. A leaning cut-out's holds the rectangle around its drawing.

    Raises:
        ValueError: the thing reaches behind the camera.
    """
    centre = view(camera, thing.x, thing.y, thing.z)
    width, height, depth = extent(thing)
    if centre[2] - hypot(width, height, depth) / 2 < _NEAR:
        raise ValueError(
            f"the {thing.shape} at z = {thing.z:.2f} reaches behind the camera; move it further away"
        )
    if thing.shape in _COMPOSITES:
        return composite_bounds(camera, thing)
    parts = _sheet if thing.shape in _CUTOUTS else _PARTS[thing.shape]
    return join(list(parts(camera, thing, centre, (width / 2, height / 2, depth / 2))))


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


def _disc(camera: Camera, thing: Thing, y: float, half: Vector) -> Box:
    """A horizontal ellipse of the thing at height `y`."""
    c, s = cos(thing.yaw), sin(thing.yaw)
    axes = (
        direction(camera, c * half[0], 0.0, -s * half[0]),
        direction(camera, s * half[2], 0.0, c * half[2]),
    )
    return conic(camera, view(camera, thing.x, y, thing.z), axes)


def _sphere(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    c, s = cos(thing.yaw), sin(thing.yaw)
    yield conic(
        camera,
        centre,
        (
            direction(camera, c * half[0], 0.0, -s * half[0]),
            direction(camera, 0.0, half[1], 0.0),
            direction(camera, s * half[2], 0.0, c * half[2]),
        ),
    )


def _cube(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    for corner in corners(thing):
        yield point(camera, *corner)


def _cylinder(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    yield _disc(camera, thing, thing.y - half[1], half)
    yield _disc(camera, thing, thing.y + half[1], half)


def _cone(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    yield _disc(camera, thing, thing.y - half[1], half)
    yield point(camera, thing.x, thing.y + half[1], thing.z)


def _torus(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    """The tube's centre line is an upright circle; the sphere swept along it adds its radius all around."""
    c, s = cos(thing.yaw), sin(thing.yaw)
    ring = half[0] - half[2]
    axes = (direction(camera, c * ring, 0.0, -s * ring), direction(camera, 0.0, ring, 0.0))
    yield conic(camera, centre, axes, pad=half[2])


def _pyramid(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    for x, y, z in corners(thing):
        if y < thing.y:
            yield point(camera, x, y, z)
    yield point(camera, thing.x, thing.y + half[1], thing.z)


def _sheet(camera: Camera, thing: Thing, centre: Vector, half: Vector) -> Iterator[Box]:
    """The corners of a cut-out's upright plane: its relief rises along the rays and widens nothing."""
    c, s = cos(thing.yaw), sin(thing.yaw)
    for i in (-half[0], half[0]):
        for j in (-half[1], half[1]):
            yield point(camera, thing.x + c * i, thing.y + j, thing.z - s * i)


_PARTS = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "pyramid": _pyramid,
}
