"""Rays against cut-outs: upright textured planes whose relief rises towards the eye.

A ray takes its texel where it meets the plane, and its depth is that of the relief there, along the ray
itself: outline, mask and box are those of the flat drawing, while depth and shading are round. Coverage is
alpha to coverage: each of a pixel's rays has its own threshold, so that thin lines and soft edges come out
smooth from rays that hit or miss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, log2, sin
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diorama.atlas import LEVELS, SIDE, Atlas, Channel, Texels
from diorama.casting import Axes, Layer, Owner, Window, axes_of, window_of, window_rays
from diorama.drawings import drawing_of
from diorama.projection import bounds, drawn_size, extent
from diorama.recolouring import TONES, ramps
from diorama.scene import Light, Scene, Thing
from diorama.shading import shade, towards
from diorama.solids import Point
from diorama.vocabulary import load_vocabulary

RELIEF = 0.9
"""Share of the box's half depth by which the relief rises: a box turned away still holds it."""

_EXPOSURE = 1.12
"""Drawings have their own shading: lit like a bare surface, they would come out dull."""

_ROUNDING = 0.6
"""How much of the relief's slope shows in the light, for the same reason."""

_COLOURS = {name: index for index, name in enumerate(load_vocabulary().colour_names)}


class _Sheet(NamedTuple):
    """Columns of a table with what a cut-out's rays and shading need.

    A point (x, y) of the unit box, y up, shows texel (texel_0 + texel_x * x + texel_y * y, line_0 + ...) of
    the chosen level of detail.
    """

    texel_0: float
    texel_x: float
    texel_y: float
    line_0: float
    line_x: float
    line_y: float
    rise: float
    """World units from the plane to the relief's top."""
    width: float
    height: float
    cos: float
    sin: float
    y: float
    painted: float
    """1 where the main surface takes a colour, 0 for the natural look."""
    light_x: float
    light_y: float
    light_z: float
    ambient: float


class _Place(NamedTuple):
    """Whole numbers of a cut-out: where its texels start, their side, and its colour's ramp."""

    start: int
    side: int
    ramp: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What the rays that hit have met: texels as float [hits, 8], slopes of the relief in texels."""

    row: Tensor
    texel: Tensor
    slope_across: Tensor
    slope_down: Tensor
    y: Tensor
    """Height above the box's middle, in world units."""


def cast_cutouts(
    scenes: Sequence[Scene],
    owners: Sequence[tuple[int, Owner]],
    atlas: Atlas,
    size: int,
    supersample: int,
    device: torch.device,
) -> list[Layer]:
    """Hits of cut-outs, each with its position among all owners, on grids of `size * supersample` rays.

    Raises:
        ArtError: the atlas lacks a drawing.
    """
    if not owners:
        return []
    fine = size * supersample
    texels = atlas.texels(device)
    axes = [axes_of(scenes[owner.scene], owner.thing) for _, owner in owners]
    sheets: list[_Sheet] = []
    places: list[_Place] = []
    for entry, (_, owner) in zip(axes, owners, strict=True):
        sheet, place = _sheet(owner.thing, scenes[owner.scene].light, entry, atlas, texels, fine)
        sheets.append(sheet)
        places.append(place)
    rays = torch.tensor(np.array(axes, dtype=np.float32).T.copy(), device=device)
    table = torch.tensor(np.array(sheets, dtype=np.float32).T.copy(), device=device)
    whole = torch.tensor(places, device=device).T.contiguous()
    colours = torch.tensor(ramps().reshape(-1, 3), dtype=torch.float32, device=device)
    owner_of = torch.tensor([row for row, _ in owners], device=device)
    windows = [window_of(bounds(scenes[owner.scene].camera, owner.thing), fine) for _, owner in owners]
    layers: list[Layer] = []
    for rows in _buckets(windows):
        numbers = [(row, owners[row][1].scene, windows[row].left, windows[row].top) for row in rows]
        members = torch.tensor(numbers, device=device).T
        extents = max(windows[row].width for row in rows), max(windows[row].height for row in rows)
        depth, place, found = _cast_group(rays, table, whole, texels, members, extents, fine, supersample)
        layers.append(Layer(depth, place, owner_of[found.row], partial(_shade, found, table, whole, colours)))
    return layers


def _buckets(windows: Sequence[Window]) -> list[list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for row, window in enumerate(windows):
        groups.setdefault(window.bucket, []).append(row)
    return [rows for _, rows in sorted(groups.items())]


def _sheet(
    thing: Thing, light: Light, axes: Axes, atlas: Atlas, texels: Texels, fine: int
) -> tuple[_Sheet, _Place]:
    sprite = atlas.row(drawing_of(thing.shape, thing.drawing))
    entry = atlas.manifest.sprites[sprite]
    width, height = drawn_size(thing)
    dense = (entry.width / width + entry.height / height) / 2
    # The level whose texels are nearest to the rays' distance.
    level = round(log2(max(dense * axes.middle / (axes.focal * fine), 1e-6)))
    level = min(max(level, 0), LEVELS - 1)
    scale = 0.5**level
    across, down = entry.width / width * scale, entry.height / height * scale
    mirror = -1.0 if thing.flip else 1.0
    c, s = cos(thing.roll), sin(thing.roll)
    box = extent(thing)
    colour = thing.colour
    side = texels.side[level]
    sheet = _Sheet(
        texel_0=((SIDE - entry.width) // 2 + entry.width / 2) * scale - 0.5,
        texel_x=mirror * across * c * box[0],
        texel_y=mirror * across * s * box[1],
        line_0=((SIDE - entry.height) // 2 + entry.height / 2) * scale - 0.5,
        line_x=down * s * box[0],
        line_y=-down * c * box[1],
        rise=RELIEF * box[2] / 2,
        width=box[0],
        height=box[1],
        cos=cos(thing.yaw),
        sin=sin(thing.yaw),
        y=thing.y,
        painted=0.0 if colour is None else 1.0,
        light_x=towards(light)[0],
        light_y=towards(light)[1],
        light_z=towards(light)[2],
        ambient=light.ambient,
    )
    ramp = 0 if colour is None else _COLOURS[colour] * TONES
    return sheet, _Place(texels.start[level] + sprite * side * side, side, ramp)


def _cast_group(
    rays: Tensor,
    table: Tensor,
    whole: Tensor,
    texels: Texels,
    members: Tensor,
    window: tuple[int, int],
    fine: int,
    supersample: int,
) -> tuple[Tensor, Tensor, _Found]:
    """Depth, place (as in `Hits`) and what was met; `members` and `window` as in `casting.cast_group`."""
    rows, scene, left, top = members
    axes = Axes(*rays[:, rows, None])  # pyright: ignore[reportArgumentType]
    sheet = _Sheet(*table[:, rows, None, None])  # pyright: ignore[reportArgumentType]
    column, line, origin, direction = window_rays(axes, left, top, window, fine)
    s = -origin[2] / direction[2]
    x, y = origin[0] + s * direction[0], origin[1] + s * direction[1]
    texel = sheet.texel_0 + sheet.texel_x * x + sheet.texel_y * y
    text = sheet.line_0 + sheet.line_x * x + sheet.line_y * y
    inside_x, inside_y = (column >= 0) & (column < fine), (line >= 0) & (line < fine)
    start, side = whole[0, rows][:, None, None], whole[1, rows][:, None, None]
    # Beyond the last texel there is nothing: a sprite's border is clear.
    near = (texel > 0) & (text > 0) & (texel < side - 1) & (text < side - 1)
    near = near & inside_x[:, None, :] & inside_y[:, :, None]
    m, v, u = near.nonzero(as_tuple=True)
    texel, text, flat = texel[m, v, u], text[m, v, u], start[m, 0, 0]
    side = side[m, 0, 0]
    taps, weights = _taps(flat, side, texel, text)
    alpha = torch.zeros_like(texel)
    for tap, weight in zip(taps, weights, strict=True):
        alpha = alpha + texels.alpha[tap] * weight
    keep = (alpha > _threshold(line[m, v], column[m, u], supersample)).nonzero()[:, 0]
    m, v, u = m[keep], v[keep], u[keep]
    taps, weights = [tap[keep] for tap in taps], [weight[keep] for weight in weights]
    corners = [texels.table[tap].float() for tap in taps]
    mixed = corners[0] * weights[0][:, None]
    for corner, weight in zip(corners[1:], weights[1:], strict=True):
        mixed = mixed + corner * weight[:, None]
    high = [corner[:, Channel.HEIGHT] for corner in corners]
    found = _Found(
        row=rows[m],
        texel=mixed,
        slope_across=(high[1] - high[0] + high[3] - high[2]) / 510.0,
        slope_down=(high[2] - high[0] + high[3] - high[1]) / 510.0,
        y=(y * sheet.height)[m, v, u],
    )
    rise = table[_Sheet._fields.index("rise")][found.row]
    middle = rays[Axes._fields.index("middle")][found.row]
    depth = s[m, v, u] + middle - mixed[:, Channel.HEIGHT] / 255.0 * rise
    return depth, (scene[m] * fine + line[m, v]) * fine + column[m, u], found


def _taps(start: Tensor, side: Tensor, texel: Tensor, line: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The four texels around a point, and their bilinear weights."""
    left, top = torch.floor(texel), torch.floor(line)
    right, below = texel - left, line - top
    first = start + top.long() * side + left.long()
    taps = [first, first + 1, first + side, first + side + 1]
    weights = [(1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below]
    return taps, weights


def _threshold(line: Tensor, column: Tensor, supersample: int) -> Tensor:
    """Alpha, 0..255, that a ray needs: a pixel's rays share the range evenly, neighbours far apart."""
    within = line % supersample * supersample + column % supersample
    rank = within * (supersample + 1) % (supersample * supersample) if supersample > 1 else within
    return (rank + 0.5) * (255.0 / (supersample * supersample))


def _shade(found: _Found, table: Tensor, whole: Tensor, colours: Tensor, keep: Tensor) -> Tensor:
    """Display colour of the hits at the positions `keep`, [kept, 3]."""
    row = found.row[keep]
    sheet = _Sheet(*(column[row] for column in table))  # pyright: ignore[reportArgumentType]
    texel = [column[keep] for column in found.texel.unbind(1)]
    alpha = texel[Channel.ALPHA]
    main = sheet.painted * texel[Channel.MAIN] / alpha
    tone = (texel[Channel.TONE] * 255.0 / alpha).round().clamp(0, TONES - 1).long()
    shade_of = colours[whole[2, row] + tone]
    albedo = [
        (texel[channel] / alpha * (1.0 - main) + shade_of[:, channel] * main) * _EXPOSURE
        for channel in (Channel.RED, Channel.GREEN, Channel.BLUE)
    ]
    light: Point = (sheet.light_x, sheet.light_y, sheet.light_z)  # pyright: ignore[reportAssignmentType]
    normal = _normal(sheet, found.slope_across[keep], found.slope_down[keep])
    height = sheet.y + found.y[keep]
    return shade((albedo[0], albedo[1], albedo[2]), normal, normal, light, sheet.ambient, height, gloss=0.0)  # pyright: ignore[reportArgumentType]


def _normal(sheet: _Sheet, across: Tensor, down: Tensor) -> Point:
    """Unit normal of the relief in the world, from its slopes per texel."""
    lift = sheet.rise * _ROUNDING
    x = -lift * (across * sheet.texel_x + down * sheet.line_x) / sheet.width
    y = -lift * (across * sheet.texel_y + down * sheet.line_y) / sheet.height
    length = (x * x + y * y + 1.0).sqrt()
    x, y, z = x / length, y / length, -1.0 / length
    return sheet.cos * x + sheet.sin * z, y, sheet.cos * z - sheet.sin * x
