"""Rays against solids, in each solid's own unit box [-1/2, 1/2]^3: where they enter, which way the surface
faces, and its pattern coordinates.

A ray is origin + s * direction with components of any (broadcast) shape. Only + - * / and square roots decide
hits, which round alike in every batch. Knows neither cameras nor colours.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Point = tuple[Tensor, Tensor, Tensor]

_TINY = 1e-6


class Surface(NamedTuple):
    """A hit's outward normal (in unit-box space, any length) and its pattern coordinates.

    One unit is one pattern cell, and cells are centred on whole numbers: `band` runs up the solid, `across`
    around it or over a face; `stripe` has cells of its own, an odd number of them, so that the first and last
    have the same parity.
    """

    normal: Point
    band: Tensor
    across: Tensor
    stripe: Tensor


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < _TINY, torch.full_like(x, _TINY), x)


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / _nonzero(d)
    first, second = (-0.5 - o) * inverse, (0.5 - o) * inverse
    return torch.minimum(first, second), torch.maximum(first, second)


def _roots(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both roots of a s^2 + 2 b s + c, and whether they are real."""
    square = b * b - a * c
    root = square.clamp(min=0.0).sqrt()
    return (-b - root) / a, (root - b) / a, square > 0


def _hit_sphere(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 0.25
    enter, _, real = _roots(a, b, c)
    return enter, real


def _hit_cube(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    (x0, x1), (y0, y1), (z0, z1) = _slab(o[0], d[0]), _slab(o[1], d[1]), _slab(o[2], d[2])
    enter = torch.maximum(torch.maximum(x0, y0), z0)
    leave = torch.minimum(torch.minimum(x1, y1), z1)
    return enter, enter < leave


def _hit_cylinder(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    a = d[0] * d[0] + d[2] * d[2]
    b = o[0] * d[0] + o[2] * d[2]
    c = o[0] * o[0] + o[2] * o[2] - 0.25
    enter, leave, real = _roots(a, b, c)
    low, high = _slab(o[1], d[1])
    enter = torch.maximum(enter, low)
    return enter, real & (enter < torch.minimum(leave, high))


def _hit_cone(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    """x^2 + z^2 <= (1/2 - y)^2 / 4 in the slab; valid for rays flatter than the cone's side."""
    k = 0.5 - o[1]
    a = d[0] * d[0] + d[2] * d[2] - 0.25 * d[1] * d[1]
    b = o[0] * d[0] + o[2] * d[2] + 0.25 * k * d[1]
    c = o[0] * o[0] + o[2] * o[2] - 0.25 * k * k
    enter, leave, real = _roots(a, b, c)
    low, high = _slab(o[1], d[1])
    enter = torch.maximum(enter, low)
    return enter, real & (enter < torch.minimum(leave, high))


def _hit_pyramid(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    enter = torch.full_like(d[0], -1e9)
    leave = torch.full_like(d[0], 1e9)
    half_o, half_d = 0.5 * o[1], 0.5 * d[1]
    sides = [(o[0], d[0]), (-o[0], -d[0]), (o[2], d[2]), (-o[2], -d[2])]
    planes = [(oo + half_o, dd + half_d, 0.25) for oo, dd in sides] + [(-o[1], -d[1], 0.5)]
    for origin, slope, offset in planes:
        slope = _nonzero(slope)
        s = (offset - origin) / slope
        enters = slope < 0
        enter = torch.where(enters, torch.maximum(enter, s), enter)
        leave = torch.where(enters, leave, torch.minimum(leave, s))
    return enter, enter < leave


def _hit_torus(o: Point, d: Point, tube: float) -> tuple[Tensor, Tensor]:
    """Sphere tracing (the axis is z, outer radius 1/2, tube radius `tube`): 20 steps settle all but grazing
    rays.
    """
    ring = 0.5 - tube
    inverse = 1.0 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt()
    s = (-o[0] * d[0] - o[1] * d[1] - o[2] * d[2]) * inverse * inverse - 0.6 * inverse
    gap = torch.full_like(s, 1.0)
    for _ in range(20):
        x, y, z = o[0] + s * d[0], o[1] + s * d[1], o[2] + s * d[2]
        radial = (x * x + y * y).sqrt() - ring
        gap = (radial * radial + z * z).sqrt() - tube
        s = s + gap * inverse
    return s, gap < 2e-3


def _around(x: Tensor, z: Tensor, cells: int) -> Tensor:
    """The angle about the upright axis in cells, zero towards the front."""
    return torch.atan2(x, -z) * (cells / (2 * torch.pi))


def _surface_sphere(p: Point, tube: float) -> Surface:
    height = torch.asin((2.0 * p[1]).clamp(-1.0, 1.0)) / torch.pi
    return Surface(p, height * 5, _around(p[0], p[2], 8), height * 5)


def _surface_cube(p: Point, tube: float) -> Surface:
    size = [c.abs() for c in p]
    on_x = (size[0] >= size[1]) & (size[0] >= size[2])
    on_y = ~on_x & (size[1] >= size[2])
    zero = torch.zeros_like(p[0])
    normal = (
        torch.where(on_x, p[0], zero),
        torch.where(on_y, p[1], zero),
        torch.where(on_x | on_y, zero, p[2]),
    )
    band = torch.where(on_y, p[2], p[1])
    across = torch.where(on_x, p[2], p[0])
    return Surface(normal, band * 3, across * 3, band * 5)


def _surface_cylinder(p: Point, tube: float) -> Surface:
    radius = (p[0] * p[0] + p[2] * p[2]).sqrt()
    cap = p[1].abs() >= radius
    zero = torch.zeros_like(radius)
    normal = (torch.where(cap, zero, p[0]), torch.where(cap, p[1], zero), torch.where(cap, zero, p[2]))
    # On a cap the bands go on towards the middle, so that the pattern closes over the rim.
    band = torch.where(cap, p[1].sign() * (1.0 - radius), p[1])
    return Surface(normal, band * 4, _around(p[0], p[2], 8), band * 5)


def _surface_cone(p: Point, tube: float) -> Surface:
    radius = (p[0] * p[0] + p[2] * p[2]).sqrt()
    base = (p[1] + 0.5) < (0.25 - 0.5 * p[1] - radius).abs()
    zero = torch.zeros_like(radius)
    normal = (
        torch.where(base, zero, p[0]),
        torch.where(base, zero - 1.0, 0.5 * radius),
        torch.where(base, zero, p[2]),
    )
    return Surface(normal, p[1] * 4, _around(p[0], p[2], 8), p[1] * 5)


def _surface_pyramid(p: Point, tube: float) -> Surface:
    x, z = p[0].abs(), p[2].abs()
    on_x = x >= z
    base = (p[1] + 0.5) < (0.25 - 0.5 * p[1] - torch.maximum(x, z)).abs()
    zero = torch.zeros_like(x)
    normal = (
        torch.where(on_x & ~base, p[0].sign(), zero),
        torch.where(base, zero - 1.0, zero + 0.5),
        torch.where(on_x | base, zero, p[2].sign()),
    )
    across = torch.where(on_x, p[2], p[0])
    return Surface(normal, p[1] * 4, across * 4, p[1] * 5)


def _surface_torus(p: Point, tube: float) -> Surface:
    ring = 0.5 - tube
    radius = (p[0] * p[0] + p[1] * p[1]).sqrt()
    out = 1.0 - ring / radius
    around = torch.atan2(p[0], p[1]) * (12 / (2 * torch.pi))
    return Surface((p[0] * out, p[1] * out, p[2]), (radius - ring) / tube, around, around)


HITS: dict[str, Callable[[Point, Point, float], tuple[Tensor, Tensor]]] = {
    "sphere": _hit_sphere,
    "cube": _hit_cube,
    "cylinder": _hit_cylinder,
    "cone": _hit_cone,
    "torus": _hit_torus,
    "pyramid": _hit_pyramid,
}
"""(origin, direction, tube) -> (parameter s of the first entry, whether there is one)."""

SURFACES: dict[str, Callable[[Point, float], Surface]] = {
    "sphere": _surface_sphere,
    "cube": _surface_cube,
    "cylinder": _surface_cylinder,
    "cone": _surface_cone,
    "torus": _surface_torus,
    "pyramid": _surface_pyramid,
}
"""(point on the surface, tube) -> normal and pattern coordinates."""
