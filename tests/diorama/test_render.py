from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diorama.backdrop import WALL
from diorama.graph import INVERSE, MAX_THINGS, Group, Relation, SceneGraph
from diorama.place import Unplaceable, complete, project
from diorama.projection import corners, extent
from diorama.render import Rendering, View, mask_boxes, portrait, portraits, render, seen
from diorama.scene import Camera, Light, Scene, Thing
from diorama.sheet import contact_sheet
from diorama.truth import mismatches
from diorama.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary("solids")
CAMERA = Camera(0.0, 2.2, 8.5, 0.175, 2.26)
LIGHT = Light(-0.6, 0.9, 0.63)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def standing(shape: str = "cube", x: float = 0.0, z: float = 0.0, **looks: str) -> Thing:
    one = Thing(
        shape=shape,
        colour=looks.get("colour", "red"),
        pattern=looks.get("pattern", "plain"),
        size=looks.get("size", "large"),
        x=x,
        y=0.0,
        z=z,
        yaw=0.4,
    )
    return replace(one, y=extent(one)[1] / 2)


def scene_of(*things: Thing, setting: str = "studio") -> Scene:
    return Scene(things, setting, CAMERA, LIGHT)


def graphs_and_scenes(count: int, seed: int) -> tuple[list[SceneGraph], list[Scene]]:
    rng = np.random.default_rng(seed)
    graphs: list[SceneGraph] = []
    scenes: list[Scene] = []
    while len(scenes) < count:
        shapes = [str(shape) for shape in rng.permutation(VOCABULARY.shape_names)]
        groups = [Group(shape=shape, colour=str(rng.choice(VOCABULARY.colour_names))) for shape in shapes[:3]]
        if len(scenes) % 2:
            groups[1] = groups[1].model_copy(update={"count": 2})
        predicate = list(INVERSE)[len(scenes) % 6]
        related = (Relation(subject=0, predicate=predicate, object=1),)
        graph = SceneGraph(groups=tuple(groups), relations=related if len(scenes) % 3 else ())
        try:
            scenes.append(complete(graph, rng, VOCABULARY))
            graphs.append(graph)
        except Unplaceable:
            continue
    return graphs, scenes


@pytest.fixture(scope="module")
def batch() -> tuple[list[SceneGraph], list[Scene], Rendering]:
    graphs, scenes = graphs_and_scenes(90, seed=7)
    return graphs, scenes, render(scenes)


def truth_of(rendering: Rendering) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    parts = (
        rendering.depth,
        rendering.ids,
        rendering.amodal,
        rendering.boxes,
        rendering.visible,
        rendering.boxes3d,
    )
    depth, ids, amodal, boxes, visible, boxes3d = parts
    assert depth is not None and ids is not None and amodal is not None
    assert boxes is not None and visible is not None and boxes3d is not None
    return depth, ids, amodal, boxes, visible, boxes3d


def test_shapes_and_types(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    _, scenes, rendering = batch
    depth, ids, amodal, boxes, visible, boxes3d = truth_of(rendering)
    n = len(scenes)
    assert (rendering.rgb.shape, rendering.rgb.dtype) == ((n, 3, 128, 128), torch.uint8)
    assert (depth.shape, depth.dtype) == ((n, 128, 128), torch.float32)
    assert (ids.shape, ids.dtype) == ((n, 128, 128), torch.int16)
    assert (amodal.shape, amodal.dtype) == ((n, MAX_THINGS, 128, 128), torch.bool)
    assert (boxes.shape, visible.shape) == ((n, MAX_THINGS, 4), (n, MAX_THINGS))
    assert boxes3d.shape == (n, MAX_THINGS, 8, 3)


def test_rendering_is_deterministic_and_blind_to_batch_mates(
    batch: tuple[list[SceneGraph], list[Scene], Rendering],
) -> None:
    _, scenes, rendering = batch
    picked = [80, 3, 57]
    for index in picked:
        alone = render([scenes[index]])
        for name in ("rgb", "depth", "ids", "amodal", "boxes", "visible", "boxes3d"):
            torch.testing.assert_close(
                getattr(alone, name)[0], getattr(rendering, name)[index], rtol=0, atol=0, equal_nan=True
            )
    shuffled = render([scenes[index] for index in reversed(range(40))], truth=False)
    assert torch.equal(shuffled.rgb.flip(0), rendering.rgb[:40])
    assert shuffled.depth is None


def test_rendered_truth_shows_what_was_asked(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    graphs, scenes, rendering = batch
    for graph, scene, things in zip(graphs, scenes, seen(scenes, rendering), strict=True):
        assert mismatches(graph, things, scene.setting) == []


def test_projection_predicts_the_rendered_boxes(
    batch: tuple[list[SceneGraph], list[Scene], Rendering],
) -> None:
    _, scenes, rendering = batch
    _, _, amodal, _, _, _ = truth_of(rendering)
    whole = mask_boxes(amodal)
    for n, scene in enumerate(scenes):
        for k, thing in enumerate(project(scene)):
            assert (torch.tensor(thing.box) * 128 - whole[n, k]).abs().max() <= 1.5, thing


def test_boxes_are_the_extents_of_the_ids(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    _, scenes, rendering = batch
    _, ids, _, boxes, _, _ = truth_of(rendering)
    for n, scene in enumerate(scenes[:40]):
        for k in range(MAX_THINGS):
            lines, columns = (ids[n] == k).nonzero(as_tuple=True)
            if k >= len(scene.things):
                assert boxes[n, k].isnan().all() and not len(lines)
                continue
            extents = [columns.min(), lines.min(), columns.max() + 1, lines.max() + 1]
            assert boxes[n, k].tolist() == [float(edge) for edge in extents]


def test_amodal_masks_hold_the_visible_ones(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    _, scenes, rendering = batch
    _, ids, amodal, _, visible, _ = truth_of(rendering)
    hidden = 0
    for n, scene in enumerate(scenes):
        for k in range(len(scene.things)):
            mask = ids[n] == k
            assert not (mask & ~amodal[n, k]).any()
            assert visible[n, k] == pytest.approx(float(mask.sum() / amodal[n, k].sum()))
            assert visible[n, k] >= 0.25
            hidden += bool(visible[n, k] < 0.95)
        assert (visible[n, len(scene.things) :] == 0).all()
    assert hidden > 3, "some scenes must show occlusion"


def test_amodal_mask_is_the_mask_of_the_thing_alone() -> None:
    front, back = standing("sphere", z=-1.0), standing("cube", x=0.3, z=1.0, colour="blue")
    both, alone = render([scene_of(front, back)]), render([scene_of(back)])
    amodal, ids = truth_of(both)[2], truth_of(alone)[1]
    assert torch.equal(amodal[0, 1], ids[0] == 0)
    assert 0.2 < float(truth_of(both)[4][0, 1]) < 0.9


def test_depth_of_floor_wall_and_sphere() -> None:
    """A level camera looks at a sphere's centre: the nearest point is a radius nearer."""
    ball = Thing("sphere", "red", "plain", "large", 0.0, 2.0, 0.0, 0.0)
    camera = Camera(0.0, 2.0, 6.0, 0.0, 1.5)
    depth, ids, *_ = truth_of(render([Scene((ball,), "studio", camera, LIGHT)], size=129))
    assert depth[0, 64, 64] == pytest.approx(6.0 - 0.5, abs=2e-3)
    assert depth[0][ids[0] == 0].min() == pytest.approx(5.5, abs=2e-3)
    assert depth[0, 0, 0] == pytest.approx(6.0 + WALL)
    lowest = (129 - 0.5) / 129 - 0.5
    assert depth[0, -1, 5] == pytest.approx(2.0 * 1.5 / lowest, rel=1e-5)


def test_depth_never_mixes_an_edge_with_what_is_behind(
    batch: tuple[list[SceneGraph], list[Scene], Rendering],
) -> None:
    _, scenes, rendering = batch
    depth, ids, *_ = truth_of(rendering)
    for n, scene in enumerate(scenes[:40]):
        for k, thing in enumerate(scene.things):
            ahead = torch.tensor([corner_depth(scene.camera, corner) for corner in corners(thing)])
            inside = depth[n][ids[n] == k]
            assert inside.min() >= ahead.min() - 1e-3 and inside.max() <= ahead.max() + 1e-3


def corner_depth(camera: Camera, corner: tuple[float, float, float]) -> float:
    _, y, z = corner
    return (z + camera.distance) * np.cos(camera.pitch) - (y - camera.height) * np.sin(camera.pitch)


def mean_colours(setting: str, colour: str) -> tuple[Tensor, Tensor]:
    """Mean RGB in 0..1 of plain solids and of the pixels around them, one row per shape."""
    scenes = [
        scene_of(standing(shape, colour=colour), setting=setting)
        for shape in ("sphere", "cylinder", "pyramid")
    ]
    rendering = render(scenes)
    mask = truth_of(rendering)[2][:, :1].float()
    ring = F.max_pool2d(mask, 9, 1, 4) - mask
    rgb = rendering.rgb.float() / 255
    return (rgb * mask).sum((2, 3)) / mask.sum((2, 3)), (rgb * ring).sum((2, 3)) / ring.sum((2, 3))


def test_every_colour_stands_clear_of_every_setting_and_of_the_others() -> None:
    inside: dict[str, list[Tensor]] = {}
    for setting in VOCABULARY.setting_names:
        for colour in VOCABULARY.colour_names:
            things, around = mean_colours(setting, colour)
            assert (things - around).norm(dim=1).min() > 0.18, (setting, colour)
            inside.setdefault(colour, []).append(things)
    for name, mine in inside.items():
        for other, theirs in inside.items():
            if name != other:
                assert torch.cdist(torch.cat(mine), torch.cat(theirs)).min() > 0.2, (name, other)


def test_every_shape_size_and_pattern_looks_different() -> None:
    scenes = [
        scene_of(standing(shape, size=size, pattern=pattern))
        for shape in VOCABULARY.shape_names
        for size in VOCABULARY.size_names
        for pattern in VOCABULARY.pattern_names
    ]
    flat = render(scenes, truth=False).rgb.float().flatten(1)
    apart = torch.cdist(flat, flat) + torch.eye(len(scenes)) * 1e9
    assert apart.min() > 400, "some pair differs in less than a handful of pixels"


def test_boxes3d_hold_the_corners() -> None:
    thing = standing("pyramid", x=0.5)
    boxes3d = truth_of(render([scene_of(thing)]))[5]
    torch.testing.assert_close(boxes3d[0, 0], torch.tensor(corners(thing), dtype=torch.float32))
    assert boxes3d[0, 1:].isnan().all()


def test_shadow_darkens_the_floor_under_a_thing() -> None:
    empty, full = render([scene_of()]), render([scene_of(standing())])
    ids = truth_of(full)[1][0]
    darker = (empty.rgb.int() - full.rgb.int())[0].sum(0)
    assert darker[ids < 0].max() > 60
    assert darker[ids < 0].min() >= 0


def test_things_cut_by_the_border_and_hidden_things() -> None:
    cut, wall, hidden = standing(x=-1.9), standing("cube", z=-1.0), standing("sphere", z=0.2, size="small")
    rendering = render([scene_of(cut), scene_of(wall, hidden)])
    boxes = truth_of(rendering)[3]
    assert boxes[0, 0, 0] == 0.0
    assert boxes[1, 1].isnan().all()
    assert [len(things) for things in seen([scene_of(cut), scene_of(wall, hidden)], rendering)] == [1, 1]


def test_portraits_show_one_identity_from_other_sides() -> None:
    cube = standing("cube", pattern="checkered")
    views = [View(), View(turn=0.7, pitch=0.5), View(fill=0.4)]
    rgb, mask = portraits([cube] * 3, views, [LIGHT, LIGHT, Light(0.8, 0.5, 0.5)], size=64)
    assert (rgb.shape, mask.shape) == ((3, 3, 64, 64), (3, 64, 64))
    boxes = mask_boxes(mask)
    spans = torch.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 64
    torch.testing.assert_close(spans, torch.tensor([0.7, 0.7, 0.4]), atol=0.04, rtol=0)
    one, its_mask = portrait(cube, views[1], LIGHT, size=64)
    assert torch.equal(one, rgb[1]) and torch.equal(its_mask, mask[1])
    with pytest.raises(ValueError, match="pitch"):
        portrait(cube, View(pitch=1.2), LIGHT)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one scene"):
        render([])
    with pytest.raises(ValueError, match="at most 6 things, one here has 7"):
        render([scene_of(*[standing(x=0.1 * k) for k in range(7)])])
    with pytest.raises(ValueError, match="no truth"):
        seen([scene_of()], render([scene_of()], truth=False))


def test_contact_sheet_lays_pictures_out_in_rows() -> None:
    pictures = render([scene_of(standing())] * 3, size=32, truth=False).rgb
    sheet = contact_sheet(pictures, columns=2, zoom=2, gap=4)
    assert sheet.size == (2 * 68 + 4, 2 * 68 + 4)
    assert sheet.getpixel((4 + 31, 4 + 63)) == tuple(pictures[0, :, 31, 15].tolist())


@pytest.mark.gpu
def test_gpu_draws_the_same_pictures() -> None:
    _, scenes = graphs_and_scenes(12, seed=1)
    here, there = render(scenes), render(scenes, device="cuda")
    assert ((here.rgb.int() - there.rgb.cpu().int()).abs() > 2).float().mean() < 1e-3
    assert (truth_of(here)[1] != truth_of(there)[1].cpu()).float().mean() < 1e-3
