"""What stands behind the things: a floor and a wall with a soft join, and the things' soft shadows on the
floor.

Colours are display RGB in 0..1. Shadows are two analytic ellipses per thing, no rays.
"""

from collections.abc import Sequence
from math import cos, sin
from typing import NamedTuple

import torch
from torch import Tensor

from diorama.projection import extent
from diorama.scene import Scene, Thing
from diorama.shading import towards
from diorama.vocabulary import Setting, load_vocabulary

NEUTRAL = Setting(name="neutral", phrase="", floor=(0.62, 0.62, 0.62), wall=(0.62, 0.62, 0.62))
"""What a portrait is taken on, a floor without a wall; no word of the vocabulary."""

WALL = 4.2
"""World z of the wall."""

_SETTINGS = {entry.name: entry for entry in (*load_vocabulary().settings, NEUTRAL)}


class _Blob(NamedTuple):
    """A soft ellipse on the floor: middle, inverse covariance, and how dark it is there."""

    x: float
    z: float
    xx: float
    xz: float
    zz: float
    dark: float


_NO_BLOB = _Blob(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def backdrops(scenes: Sequence[Scene], size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Floor, wall and shadows as colours [N, 3, S, S], and their depth along the optical axis, [N, S, S]."""
    cameras = [scene.camera for scene in scenes]
    numbers = torch.tensor(
        [[c.x, c.height, c.distance, sin(c.pitch), cos(c.pitch), c.focal] for c in cameras], device=device
    )
    x0, height, away, sine, cosine, focal = (column[:, None, None] for column in numbers.T.contiguous())
    steps = (torch.arange(size, device=device) + 0.5) / size - 0.5
    a, b = steps[None, None, :] / focal, -steps[None, :, None] / focal
    rise, ahead = b * cosine - sine, cosine + b * sine
    to_wall = (WALL + away) / ahead
    to_floor = torch.where(rise < -1e-4, -height / rise.clamp(max=-1e-4), 1e4)
    neutral = torch.tensor([scene.setting == NEUTRAL.name for scene in scenes], device=device)[:, None, None]
    depth = torch.where(neutral, to_floor, torch.minimum(to_floor, to_wall))
    on_wall = torch.where(neutral, 0.0, _smooth((to_floor - to_wall) / 1.6 + 0.5))
    reach = to_floor.clamp(max=40.0)
    x, z = x0 + a * reach, (ahead * reach - away).expand(-1, -1, size)
    # The floor is brightest in the middle, the wall at its foot.
    pool = 1.05 - 0.012 * (x * x + (z + 0.3) * (z + 0.3)).clamp(max=20.0)
    fade = 1.03 - 0.045 * (height + rise * to_wall).clamp(0.0, 5.0)
    floors = torch.tensor([_SETTINGS[scene.setting].floor for scene in scenes], device=device)[
        :, :, None, None
    ]
    walls = torch.tensor([_SETTINGS[scene.setting].wall for scene in scenes], device=device)[:, :, None, None]
    ground = floors * (pool * _shadows(scenes, x, z))[:, None]
    colours = ground + (walls * fade[:, None] - ground) * on_wall[:, None]
    return colours.clamp(0.0, 1.0), depth.expand(-1, -1, size)


def _smooth(x: Tensor) -> Tensor:
    """Smooth step from 0 at 0 to 1 at 1."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _shadows(scenes: Sequence[Scene], x: Tensor, z: Tensor) -> Tensor:
    """Share of light, [N, S, S], that the things of each scene leave to its floor points."""
    blobs = [[blob for thing in scene.things for blob in _blobs(scene, thing)] for scene in scenes]
    most = max(len(row) for row in blobs)
    if not most:
        return torch.ones_like(x)
    numbers = torch.tensor([row + [_NO_BLOB] * (most - len(row)) for row in blobs], device=x.device)
    light = torch.ones_like(x)
    for columns in numbers.permute(1, 2, 0).contiguous()[:, :, :, None, None]:
        middle_x, middle_z, xx, xz, zz, dark = columns
        right, back = x - middle_x, z - middle_z
        q = right * right * xx + 2.0 * right * back * xz + back * back * zz
        fall = (1.0 - q * 0.16).clamp(min=0.0)
        light = light * (1.0 - dark * fall * fall * fall)
    return light


def _blobs(scene: Scene, thing: Thing) -> list[_Blob]:
    """The cast shadow, long away from the light, and the darker one beneath; both fade as the thing rises."""
    lift = max(thing.y - extent(thing)[1] / 2, 0.0)
    return [
        _blob(scene, thing, 1.0, 0.12 + 0.22 * lift, 0.42 / (1.0 + 0.35 * lift)),
        _blob(scene, thing, 0.0, 0.03 + 0.3 * lift, 0.34 / (1.0 + 2.0 * lift)),
    ]


def _blob(scene: Scene, thing: Thing, thrown: float, soft: float, dark: float) -> _Blob:
    """`thrown`: 1 where the light throws it, 0 for straight below; `soft`: blur in world units."""
    width, height, depth = extent(thing)
    c, s = cos(thing.yaw), sin(thing.yaw)
    light = towards(scene.light)
    slope = -min(1.0 / max(light[1], 0.2), 2.0) * thrown
    long_x, long_z = light[0] * slope * height / 2, light[2] * slope * height / 2
    w, d = width / 2, depth / 2
    spread = 0.21
    xx = spread * ((c * w) ** 2 + (s * d) ** 2 + 0.5 * long_x * long_x) + soft * soft
    zz = spread * ((s * w) ** 2 + (c * d) ** 2 + 0.5 * long_z * long_z) + soft * soft
    xz = spread * (c * s * (d * d - w * w) + 0.5 * long_x * long_z)
    det = xx * zz - xz * xz
    x, z = thing.x + light[0] * slope * thing.y, thing.z + light[2] * slope * thing.y
    return _Blob(x, z, zz / det, -xz / det, xx / det, dark)
