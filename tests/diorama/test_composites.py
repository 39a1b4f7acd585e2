from dataclasses import replace

import pytest
import torch

from diorama.composites import (
    composite_bounds,
    composite_extent,
    join,
    load_composites,
    paint,
    piece_bounds,
    pieces,
)
from diorama.projection import bounds, corners, extent
from diorama.render import View, mask_boxes, portraits, render
from diorama.scene import Camera, Light, Scene, Thing
from diorama.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
COMPOSITES = tuple(shape.name for shape in VOCABULARY.shapes if shape.kind == "composite")
CAMERA = Camera(0.0, 2.2, 8.5, 0.175, 2.26)
LIGHT = Light(-0.6, 0.9, 0.63)


def composite(shape: str, colour: str | None = None, size: str = "large", yaw: float = 0.5) -> Thing:
    thing = Thing(shape, colour, "plain", size, 0.0, 0.0, 0.0, yaw)
    return replace(thing, y=extent(thing)[1] / 2)


def scene_of(*things: Thing) -> Scene:
    return Scene(things, "studio", CAMERA, LIGHT)


def test_every_composite_of_the_vocabulary_has_parts() -> None:
    assert set(COMPOSITES) == set(load_composites())


@pytest.mark.parametrize("shape", COMPOSITES)
def test_all_parts_lie_in_the_box_and_the_box_in_the_class(shape: str) -> None:
    """Upright: the box is as wide or as high as the class's, and touches its parts on every side."""
    thing = composite(shape, yaw=0.0)
    width, height, _ = extent(thing)
    wanted = next(entry.extent for entry in VOCABULARY.shapes if entry.name == shape)
    assert max(width / wanted[0], height / wanted[1]) == pytest.approx(1.0)
    assert extent(thing) == pytest.approx(composite_extent(shape))
    for piece in pieces(thing):
        for axis in range(3):
            middle = (thing.x, thing.y, thing.z)[axis]
            assert abs(piece.centre[axis] - middle) < extent(thing)[axis] / 2


@pytest.mark.parametrize("shape", COMPOSITES)
def test_one_thing_has_one_id_and_an_exact_box_and_depth(shape: str) -> None:
    thing = composite(shape)
    rendering = render([scene_of(thing)])
    ids, amodal, depth = rendering.ids, rendering.amodal, rendering.depth
    assert ids is not None and amodal is not None and depth is not None
    assert set(ids.unique().tolist()) == {-1, 0}
    # Rays that meet several parts count once: else the amodal mask would be wider than the visible one.
    assert torch.equal(amodal[0, 0], ids[0] == 0)
    box = torch.tensor(bounds(CAMERA, thing)) * 128
    assert (mask_boxes(amodal[0, :1])[0] - box).abs().max() <= 1.6
    ahead = torch.tensor([_deep(corner) for corner in corners(thing)])
    inside = depth[0][ids[0] == 0]
    assert inside.min() >= ahead.min() - 5e-3 and inside.max() <= ahead.max() + 5e-3


def _deep(corner: tuple[float, float, float]) -> float:
    _, y, z = corner
    pitch = torch.tensor(CAMERA.pitch)
    return float((z + CAMERA.distance) * pitch.cos() - (y - CAMERA.height) * pitch.sin())


def test_a_part_in_front_hides_a_part_behind_and_all_parts_show() -> None:
    """A refrigerator's dark display lies on its door, seen from the front and not from behind."""
    things = [composite("refrigerator", "red", yaw=0.0)] * 2
    rgb, mask = portraits(things, [View(), View(turn=3.14159)], [LIGHT] * 2)
    dark = (rgb.float().mean(dim=1) < 90) & (rgb.float().std(dim=1) < 25) & mask
    assert dark[0].sum() > 150
    assert dark[1].sum() < 60


@pytest.mark.parametrize("shape", COMPOSITES)
def test_main_parts_take_the_colour_and_others_keep_theirs(shape: str) -> None:
    colours = VOCABULARY.allowed_colours[shape]
    rgb, mask = portraits(
        [composite(shape, colour) for colour in colours], [View()] * len(colours), [LIGHT] * len(colours)
    )
    assert all(torch.equal(mask[0], other) for other in mask)
    pixels = rgb.float()[:, :, mask[0]]
    spread = pixels.std(dim=0).mean(dim=0)
    changed = spread > 12
    assert 0.3 < changed.float().mean() <= 1.0, "the thing's own colour must be most of what is seen"
    wanted = torch.tensor([entry.rgb for entry in VOCABULARY.colours])
    for colour, mine in zip(colours, pixels, strict=True):
        mean = mine[:, changed].mean(dim=1) / 255
        nearest = (wanted * 0.85 - mean).norm(dim=1).argmin()
        assert VOCABULARY.colour_names[int(nearest)] == colour


def test_paint_is_natural_darkened_or_the_parts_own() -> None:
    toaster = load_composites()["toaster"]
    natural, red = composite("toaster"), composite("toaster", "red")
    own = next(part for part in toaster.parts if part.rgb is not None)
    darker = next(part for part in toaster.parts if part.shade < 1.0)
    assert paint(red, own) == own.rgb
    assert paint(natural, toaster.parts[0]) == toaster.natural
    full = next(entry.rgb for entry in VOCABULARY.colours if entry.name == "red")
    assert paint(red, darker) == pytest.approx([value * darker.shade for value in full])


def test_small_ones_are_the_same_but_smaller() -> None:
    large, small = composite("oven"), composite("oven", size="small")
    scale = next(size.scale for size in VOCABULARY.sizes if size.name == "small")
    assert extent(small) == pytest.approx([length * scale for length in extent(large)])
    assert len(pieces(small)) == len(pieces(large))


@pytest.mark.parametrize("shape", COMPOSITES)
def test_the_box_in_the_picture_is_that_of_the_parts(shape: str) -> None:
    camera = Camera(0.3, 2.0, 6.0, 0.2, 1.1)
    for size, yaw, z in (("small", -0.7, -1.0), ("large", 0.4, 1.5)):
        thing = Thing(shape, None, "plain", size, x=-0.8, y=0.9, z=z, yaw=yaw)
        one_by_one = join([piece_bounds(camera, piece) for piece in pieces(thing)])
        assert composite_bounds(camera, thing) == pytest.approx(one_by_one, abs=1e-12)
