"""The colour of a surface: its pattern, soft light, a small highlight. Colours are display RGB in 0..1.

Light is kept gentle on purpose: a colour must stay the same word in light and in shade. Knows neither rays
nor grids.
"""

from collections.abc import Sequence
from math import cos, sin
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diorama.casting import Hits, Owner, box_lengths
from diorama.pinhole import Vector
from diorama.scene import Light, Scene, Thing
from diorama.solids import SURFACES, Point, Surface
from diorama.vocabulary import Rgb, load_vocabulary

GLOSS = {"sphere": 0.28, "torus": 0.28, "cylinder": 0.22, "cone": 0.12, "cube": 0.0, "pyramid": 0.0}
"""Highlights by shape: on a flat face one would wash out the whole face's colour."""

_LUMA = (0.299, 0.587, 0.114)
_VOCABULARY = load_vocabulary()
_COLOURS = {entry.name: entry.rgb for entry in _VOCABULARY.colours}
_PATTERNS = {name: index for index, name in enumerate(_VOCABULARY.pattern_names)}


class Looks(NamedTuple):
    """Columns of a table with what shading needs of a thing."""

    length_x: float
    length_y: float
    length_z: float
    cos: float
    sin: float
    y: float
    red: float
    green: float
    blue: float
    tint_red: float
    tint_green: float
    tint_blue: float
    pattern: float
    light_x: float
    light_y: float
    light_z: float
    ambient: float


def towards(light: Light) -> Vector:
    """Unit vector towards the light; azimuth 0 comes from behind the camera, positive from the right."""
    flat = cos(light.elevation)
    return flat * sin(light.azimuth), sin(light.elevation), -flat * cos(light.azimuth)


def tint(rgb: Rgb) -> Rgb:
    """The second shade of a patterned surface: lighter for dark colours, darker for light ones, of the same
    hue.
    """
    luma = sum(weight * value for weight, value in zip(_LUMA, rgb, strict=True))
    if luma < 0.6:
        r, g, b = (value + (1.0 - value) * 0.52 for value in rgb)
    else:
        r, g, b = (value * 0.64 for value in rgb)
    return r, g, b


def looks(scenes: Sequence[Scene], owners: Sequence[Owner], device: torch.device) -> Tensor:
    """The table of `Looks`, [columns, owners]."""
    rows = [_looks(scenes[owner.scene].light, owner.thing) for owner in owners]
    return torch.tensor(np.array(rows, dtype=np.float32).T.copy(), device=device)


def _looks(light: Light, thing: Thing) -> Looks:
    assert thing.colour is not None  # only a thing that is no solid can look natural
    colour = _COLOURS[thing.colour]
    turn = (cos(thing.yaw), sin(thing.yaw))
    pattern = float(_PATTERNS[thing.pattern])
    return Looks(
        *box_lengths(thing), *turn, thing.y, *colour, *tint(colour), pattern, *towards(light), light.ambient
    )


def shade_hits(hits: Hits, keep: Tensor, table: Tensor) -> Tensor:
    """Display colour of the hits at the positions `keep`, [kept, 3]; `table` comes from `looks`."""
    row = hits.row[keep]
    # Column by column: a gather of whole rows would leave strided columns, which the CPU rounds and runs
    # differently.
    look = Looks(*(column[row] for column in table))  # pyright: ignore[reportArgumentType]
    point = (hits.point[0][keep], hits.point[1][keep], hits.point[2][keep])
    ray = (hits.ray[0][keep], hits.ray[1][keep], hits.ray[2][keep])
    surface = SURFACES[hits.shape](point, hits.tube)
    n = surface.normal
    normal = _unit(look, n[0] / look.length_x, n[1] / look.length_y, n[2] / look.length_z)
    eye = _unit(look, -ray[0] * look.length_x, -ray[1] * look.length_y, -ray[2] * look.length_z)
    share = pattern_share(surface, look.pattern)  # pyright: ignore[reportArgumentType]
    albedo = (
        look.red + (look.tint_red - look.red) * share,
        look.green + (look.tint_green - look.green) * share,
        look.blue + (look.tint_blue - look.blue) * share,
    )
    light = (look.light_x, look.light_y, look.light_z)
    height = look.y + point[1] * look.length_y
    return shade(albedo, normal, eye, light, look.ambient, height, GLOSS[hits.shape])  # pyright: ignore[reportArgumentType]


def _unit(look: Looks, x: Tensor, y: Tensor, z: Tensor) -> Point:
    """A vector of the thing's own (unturned) axes as a unit vector of the world."""
    x, z = look.cos * x + look.sin * z, look.cos * z - look.sin * x
    length = (x * x + y * y + z * z).sqrt()
    return x / length, y / length, z / length


def pattern_share(surface: Surface, pattern: Tensor) -> Tensor:
    """1 where the tint shows, 0 where the colour does; `pattern` holds positions in the vocabulary."""
    band = torch.floor(surface.band + 0.5)
    across = torch.floor(surface.across + 0.5)
    odd_stripe = torch.remainder(torch.floor(surface.stripe + 0.5), 2.0)
    odd_cell = torch.remainder(band + across, 2.0)
    left, up = surface.across - across, surface.band - band
    dot = ((left * left + up * up) < 0.1).to(left.dtype)
    share = torch.where(pattern == _PATTERNS["striped"], odd_stripe, torch.zeros_like(left))
    share = torch.where(pattern == _PATTERNS["checkered"], odd_cell, share)
    return torch.where(pattern == _PATTERNS["dotted"], dot, share)


def shade(
    albedo: Point, normal: Point, eye: Point, light: Point, ambient: Tensor, height: Tensor, gloss: float
) -> Tensor:
    """Display colour, [hits, 3], of a lit surface.

    `normal`, `eye` (towards it) and `light` (towards it) are unit vectors; `height` is above the floor in
    world units and darkens what nearly touches it; `gloss` is the strength of the highlight.
    """
    lit = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    wrapped = ((lit + 0.45) / 1.45).clamp(min=0.0)
    sky = 0.5 + 0.5 * normal[1]
    diffuse = ambient * (0.72 + 0.28 * sky) + (1.06 - ambient) * wrapped
    grounded = (1.0 - height / 0.22).clamp(0.0, 1.0)
    diffuse = diffuse * (1.0 - 0.22 * grounded * grounded)
    h = [eye[axis] + light[axis] for axis in range(3)]
    norm = (h[0] * h[0] + h[1] * h[1] + h[2] * h[2]).sqrt()
    mirror = ((normal[0] * h[0] + normal[1] * h[1] + normal[2] * h[2]) / norm).clamp(min=0.0)
    for _ in range(4):
        mirror = mirror * mirror
    shine = mirror * mirror * gloss
    return torch.stack([value * diffuse + shine for value in albedo], dim=1).clamp(0.0, 1.0)
