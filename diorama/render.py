"""Scenes to pictures with exact truth, batched on any torch device.

Every thing casts rays in its own window only; hits are tested for depth by a scattered minimum and shaded
where they win. A scene's pixels do not depend on its batch mates: nothing is summed across things in floating
point. Knows nothing of prompts.

Depth is metric z-depth: world units along the optical axis, not along the ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import cos, isnan, sin

import numpy as np
import torch
from torch import Tensor

from diorama.atlas import Atlas
from diorama.backdrop import NEUTRAL, backdrops
from diorama.casting import Layer, Owner
from diorama.graph import MAX_THINGS
from diorama.layers import layers_of
from diorama.projection import bounds, corners, extent, perfectly_seen
from diorama.scene import Camera, Light, Scene, Thing
from diorama.truth import Seen

_CHUNK = {"cpu": 12, "cuda": 256}
"""Scenes drawn at a time: few enough for a CPU's cache, enough to fill a GPU."""

_COLOUR_UNIT = 1 << 14
_DEPTH_UNIT = 1 << 20
"""Fixed-point units of sums over samples, so that no order of addition shows."""


@dataclass(slots=True)
class Rendering:
    """N pictures of S x S pixels and what is true of them; K is `MAX_THINGS`. The truth is None when not
    asked for.

    A pixel belongs to the thing that covers most of it, if that is half of it or more.
    """

    rgb: Tensor
    """uint8 [N, 3, S, S]"""
    depth: Tensor | None = None
    """float32 [N, S, S], world units along the optical axis: of the pixel's owner alone, never mixed at an
    edge
    """
    ids: Tensor | None = None
    """int16 [N, S, S], a thing's position in its scene, -1 for the background"""
    amodal: Tensor | None = None
    """bool [N, K, S, S], what each thing would cover if it were alone"""
    boxes: Tensor | None = None
    """float32 [N, K, 4], pixels (left, top, right, bottom) of the visible mask; NaN where nothing is visible
    """
    visible: Tensor | None = None
    """float32 [N, K], visible share of the amodal mask; 0 where there is no such thing"""
    boxes3d: Tensor | None = None
    """float32 [N, K, 8, 3], corners in the world in the order of `projection.corners`; NaN where absent"""


_TRUTH = [field.name for field in fields(Rendering) if field.name != "rgb"]


@dataclass(frozen=True, slots=True)
class View:
    """A portrait's viewpoint: the thing turned by `turn`, seen from `pitch` above (radians), `fill` of the
    picture wide.
    """

    turn: float = 0.0
    pitch: float = 0.25
    fill: float = 0.7


@torch.no_grad()
def render(
    scenes: Sequence[Scene],
    size: int = 128,
    device: str | torch.device = "cpu",
    supersample: int = 2,
    truth: bool = True,
    atlas: Atlas | None = None,
) -> Rendering:
    """Draw scenes as `size` x `size` pictures, `supersample`^2 rays to a pixel.

    `atlas` holds the drawings of cut-outs; None: the one that `make sprites` wrote, read when a scene needs
    it.

    Raises:
        ArtError: a scene has a cut-out, and there is no atlas with its drawing.
        ValueError: no scenes, a scene with more than `MAX_THINGS` things, or a thing that reaches behind
            the camera.
    """
    if not scenes:
        raise ValueError("render needs at least one scene")
    if (most := max(len(scene.things) for scene in scenes)) > MAX_THINGS:
        raise ValueError(f"a scene shows at most {MAX_THINGS} things, one here has {most}")
    device = torch.device(device)
    step = _CHUNK.get(device.type, 64)
    chunks = [scenes[start : start + step] for start in range(0, len(scenes), step)]
    parts = [_render_chunk(chunk, size, device, supersample, truth, atlas) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]
    rgb = torch.cat([part.rgb for part in parts])
    if not truth:
        return Rendering(rgb)
    return Rendering(
        rgb,
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in _TRUTH},
    )


def seen(scenes: Sequence[Scene], rendering: Rendering) -> list[list[Seen]]:
    """What a perfect eye sees in rendered scenes: exact boxes of the visible parts, true distances.

    Things of which no pixel is visible are not listed.

    Raises:
        ValueError: the rendering was made without truth.
    """
    if rendering.boxes is None:
        raise ValueError("this rendering has no truth; call render(..., truth=True)")
    fractions = rendering.boxes.cpu().numpy() / rendering.rgb.shape[-1]
    return [
        [
            perfectly_seen(scene.camera, thing, box)
            for thing, row in zip(scene.things, rows, strict=False)
            if not isnan((box := (float(row[0]), float(row[1]), float(row[2]), float(row[3])))[0])
        ]
        for scene, rows in zip(scenes, fractions, strict=True)
    ]


def portraits(
    things: Sequence[Thing],
    views: Sequence[View],
    lights: Sequence[Light],
    size: int = 128,
    device: str | torch.device = "cpu",
    supersample: int = 2,
    atlas: Atlas | None = None,
) -> tuple[Tensor, Tensor]:
    """One thing alone per picture on neutral grey: rgb uint8 [N, 3, S, S] and its mask, bool [N, S, S].

    Raises:
        ArtError: see `render`.
        ValueError: the sequences differ in length, or a view's pitch is not within 0 and 0.8 radians.
    """
    scenes = [_alone(thing, view, light) for thing, view, light in zip(things, views, lights, strict=True)]
    rendering = render(scenes, size, device, supersample, atlas=atlas)
    assert rendering.amodal is not None
    return rendering.rgb, rendering.amodal[:, 0]


def portrait(thing: Thing, view: View, light: Light, size: int = 128) -> tuple[Tensor, Tensor]:
    """`portraits` of one: rgb uint8 [3, S, S] and mask bool [S, S]."""
    rgb, mask = portraits([thing], [view], [light], size)
    return rgb[0], mask[0]


def _alone(thing: Thing, view: View, light: Light) -> Scene:
    if not 0.0 <= view.pitch <= 0.8:
        raise ValueError(f"a portrait's pitch must be within 0 and 0.8 radians, this one is {view.pitch}")
    away, middle = 7.0, extent(thing)[1] / 2
    alone = replace(thing, x=0.0, y=middle, z=0.0, yaw=thing.yaw + view.turn)
    camera = Camera(0.0, middle + away * sin(view.pitch), away * cos(view.pitch), view.pitch, 1.0)
    left, top, right, bottom = bounds(camera, alone)
    camera = replace(camera, focal=view.fill / max(right - left, bottom - top))
    return Scene((alone,), NEUTRAL.name, camera, light)


def mask_boxes(masks: Tensor) -> Tensor:
    """Pixels (left, top, right, bottom) around bool masks [..., S, S], float32 [..., 4]; NaN if empty."""
    size = masks.shape[-1]
    steps = torch.arange(size, device=masks.device)
    columns, lines = masks.any(-2), masks.any(-1)
    box = torch.stack(
        [
            torch.where(columns, steps, size).amin(-1),
            torch.where(lines, steps, size).amin(-1),
            torch.where(columns, steps + 1, 0).amax(-1),
            torch.where(lines, steps + 1, 0).amax(-1),
        ],
        dim=-1,
    ).float()
    return torch.where(columns.any(-1, keepdim=True), box, torch.nan)


@dataclass(frozen=True, slots=True)
class _Samples:
    """Samples of a group on the pixel grid: pixel (of all pictures), layer (pixel of all things), depth."""

    pixel: Tensor
    layer: Tensor
    depth: Tensor


def _render_chunk(
    scenes: Sequence[Scene],
    size: int,
    device: torch.device,
    supersample: int,
    truth: bool,
    atlas: Atlas | None,
) -> Rendering:
    count, samples = len(scenes), supersample * supersample
    owners = [Owner(n, k, thing) for n, scene in enumerate(scenes) for k, thing in enumerate(scene.things)]
    layers = layers_of(scenes, owners, size, supersample, device, atlas)
    nearest = torch.full((count * samples * size * size,), torch.inf, device=device)
    for layer in layers:
        nearest.scatter_reduce_(0, layer.place, layer.depth, "amin")
    colour = torch.zeros(count * size * size, 3, dtype=torch.int32, device=device)
    covered = torch.zeros(count * size * size, dtype=torch.int32, device=device)
    everything: list[_Samples] = []
    winners: list[_Samples] = []
    slots = torch.tensor([owner.scene * MAX_THINGS + owner.slot for owner in owners], device=device)
    for layer in layers:
        found = _coarse(layer, slots, size, supersample)
        keep = (layer.depth == nearest[layer.place]).nonzero()[:, 0]
        won = _Samples(found.pixel[keep], found.layer[keep], found.depth[keep])
        colour.index_add_(0, won.pixel, (layer.shade(keep) * _COLOUR_UNIT).round().int())
        covered.index_add_(0, won.pixel, torch.ones_like(won.pixel, dtype=torch.int32))
        everything.append(found)
        winners.append(won)
    backs, floor_depth = backdrops(scenes, size, device)
    free = 1.0 - covered.view(count, 1, size, size).float() / samples
    painted = colour.view(count, size, size, 3).permute(0, 3, 1, 2).float() / (_COLOUR_UNIT * samples)
    rgb = ((backs * free + painted) * 255.0).round().clamp(0, 255).to(torch.uint8)
    if not truth:
        return Rendering(rgb)
    shown = _count(winners, count, size, device)
    amodal = _count(everything, count, size, device) * 2 >= samples
    most, ids = shown.max(dim=1)
    ids = torch.where(most * 2 >= samples, ids, -1)
    masks = ids[:, None] == torch.arange(MAX_THINGS, device=device)[None, :, None, None]
    return Rendering(
        rgb=rgb,
        depth=_depth(floor_depth, ids, most, winners),
        ids=ids.to(torch.int16),
        amodal=amodal,
        boxes=mask_boxes(masks),
        visible=masks.sum((2, 3)).float() / amodal.sum((2, 3)).clamp(min=1),
        boxes3d=_boxes3d(scenes).to(device),
    )


def _coarse(hits: Layer, slots: Tensor, size: int, supersample: int) -> _Samples:
    fine = size * supersample
    scene, rest = hits.place // (fine * fine), hits.place % (fine * fine)
    inside = rest // fine // supersample * size + rest % fine // supersample
    pixels = size * size
    return _Samples(scene * pixels + inside, slots[hits.owner] * pixels + inside, hits.depth)


def _count(samples: Sequence[_Samples], count: int, size: int, device: torch.device) -> Tensor:
    """Samples per thing and pixel, int32 [N, K, S, S]."""
    total = torch.zeros(count * MAX_THINGS * size * size, dtype=torch.int32, device=device)
    for part in samples:
        total.index_add_(0, part.layer, torch.ones_like(part.layer, dtype=torch.int32))
    return total.view(count, MAX_THINGS, size, size)


def _depth(background: Tensor, ids: Tensor, number: Tensor, winners: Sequence[_Samples]) -> Tensor:
    """Mean depth of each pixel's owner over its `number` samples there."""
    pixels = ids.shape[1] * ids.shape[2]
    flat = ids.flatten()
    total = torch.zeros(flat.shape, dtype=torch.int64, device=ids.device)
    for part in winners:
        slot = part.layer // pixels - part.pixel // pixels * MAX_THINGS
        fixed = (part.depth * _DEPTH_UNIT).round().long()
        total.index_add_(0, part.pixel, torch.where(flat[part.pixel] == slot, fixed, 0))
    mean = total.view(ids.shape).double() / _DEPTH_UNIT / number.clamp(min=1)
    return torch.where(ids >= 0, mean.float(), background)


def _boxes3d(scenes: Sequence[Scene]) -> Tensor:
    boxes = np.full((len(scenes), MAX_THINGS, 8, 3), np.nan, dtype=np.float32)
    for n, scene in enumerate(scenes):
        for k, thing in enumerate(scene.things):
            boxes[n, k] = corners(thing)
    return torch.tensor(boxes)
