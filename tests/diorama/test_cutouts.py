from collections.abc import Sequence
from dataclasses import replace
from math import cos

import numpy as np
import pytest
import torch
from torch import Tensor

from diorama.atlas import Atlas, Channel, Manifest
from diorama.cutouts import RELIEF
from diorama.drawings import drawing_of, drawings_of
from diorama.graph import Group, Relation, SceneGraph
from diorama.place import Unplaceable, complete, project
from diorama.projection import corners, drawn_size, extent
from diorama.render import Rendering, mask_boxes, render, seen
from diorama.scene import Camera, Light, Scene, Thing
from diorama.truth import mismatches
from diorama.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
CAMERA = Camera(0.0, 2.2, 8.5, 0.175, 2.26)
LIGHT = Light(-0.6, 0.9, 0.63)
TRUTH = ("depth", "ids", "amodal", "boxes", "visible", "boxes3d")


def cutout(shape: str = "elephant", colour: str | None = None, z: float = 0.0, **pose: float) -> Thing:
    thing = Thing(
        shape,
        colour,
        "plain",
        "large",
        pose.get("x", 0.0),
        0.0,
        z,
        pose.get("yaw", 0.0),
        roll=pose.get("roll", 0.0),
    )
    return replace(thing, y=extent(thing)[1] / 2)


def scene_of(*things: Thing) -> Scene:
    return Scene(things, "studio", CAMERA, LIGHT)


def truth_of(rendering: Rendering) -> tuple[Tensor, ...]:
    parts = [getattr(rendering, name) for name in TRUTH]
    assert all(part is not None for part in parts)
    return tuple(parts)


def graphs_and_scenes(count: int, seed: int) -> tuple[list[SceneGraph], list[Scene]]:
    """Names of every kind, related or not."""
    rng = np.random.default_rng(seed)
    names = [shape.name for shape in VOCABULARY.shapes if shape.kind != "solid"]
    graphs: list[SceneGraph] = []
    scenes: list[Scene] = []
    while len(scenes) < count:
        one, other = (str(name) for name in rng.permutation(names)[:2])
        groups = (Group(shape=one), Group(shape=other), Group(shape="cube", colour="red"))
        predicate = ("left of", "above", "behind", "in front of")[len(scenes) % 4]
        relation = Relation(subject=0, predicate=predicate, object=1)
        graph = SceneGraph(groups=groups[: 2 + len(scenes) % 2], relations=(relation,))
        try:
            scenes.append(complete(graph, rng, VOCABULARY))
            graphs.append(graph)
        except Unplaceable:
            continue
    return graphs, scenes


@pytest.fixture(scope="module")
def batch(atlas: Atlas) -> tuple[list[SceneGraph], list[Scene], Rendering]:
    graphs, scenes = graphs_and_scenes(40, seed=5)
    return graphs, scenes, render(scenes, atlas=atlas)


def test_scenes_show_what_was_asked(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    graphs, scenes, rendering = batch
    for graph, scene, things in zip(graphs, scenes, seen(scenes, rendering), strict=True):
        assert mismatches(graph, things, scene.setting) == []


def test_pixels_do_not_depend_on_batch_mates(
    batch: tuple[list[SceneGraph], list[Scene], Rendering], atlas: Atlas
) -> None:
    _, scenes, rendering = batch
    for index in (3, 17, 38):
        alone = render([scenes[index]], atlas=atlas)
        for name in ("rgb", *TRUTH):
            mine, theirs = getattr(alone, name)[0], getattr(rendering, name)[index]
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    shuffled = render([scenes[index] for index in reversed(range(40))], truth=False, atlas=atlas)
    assert torch.equal(shuffled.rgb.flip(0), rendering.rgb)


def test_projection_predicts_the_rendered_boxes(
    batch: tuple[list[SceneGraph], list[Scene], Rendering],
) -> None:
    """Every synthetic drawing fills its rectangle; a leaning one's corners are too sharp to own a pixel."""
    _, scenes, rendering = batch
    whole = mask_boxes(truth_of(rendering)[2])
    for n, scene in enumerate(scenes):
        for k, thing in enumerate(project(scene)):
            off = (torch.tensor(thing.box) * 128 - whole[n, k]).abs().max()
            assert off <= (2.5 if scene.things[k].roll else 1.5), thing


def test_amodal_masks_are_those_of_the_thing_alone(
    batch: tuple[list[SceneGraph], list[Scene], Rendering], atlas: Atlas
) -> None:
    _, scenes, rendering = batch
    _, ids, amodal, _, visible, _ = truth_of(rendering)
    alone = render([replace(scene, things=scene.things[:1]) for scene in scenes], atlas=atlas)
    assert torch.equal(amodal[:, 0], truth_of(alone)[1] == 0)
    for n, scene in enumerate(scenes):
        for k in range(len(scene.things)):
            mask = ids[n] == k
            assert not (mask & ~amodal[n, k]).any()
            assert visible[n, k] == pytest.approx(float(mask.sum() / amodal[n, k].sum()))


def test_depth_stays_within_the_things_box(batch: tuple[list[SceneGraph], list[Scene], Rendering]) -> None:
    _, scenes, rendering = batch
    depth, ids, *_ = truth_of(rendering)
    for n, scene in enumerate(scenes):
        for k, thing in enumerate(scene.things):
            inside = depth[n][ids[n] == k]
            camera = scene.camera
            ahead = [
                (z + camera.distance) * np.cos(camera.pitch) - (y - camera.height) * np.sin(camera.pitch)
                for _, y, z in corners(thing)
            ]
            assert inside.min() >= min(ahead) - 1e-3 and inside.max() <= max(ahead) + 1e-3, thing


def test_depth_is_that_of_the_relief(atlas: Atlas) -> None:
    """A level camera looks at the middle of a sheet: the relief's top is nearer than its plane."""
    thing = replace(cutout(), y=2.0)
    camera = Camera(0.0, 2.0, 6.0, 0.0, 1.5)
    depth, ids, *_ = truth_of(render([Scene((thing,), "studio", camera, LIGHT)], size=129, atlas=atlas))
    top = 6.0 - RELIEF * extent(thing)[2] / 2
    assert depth[0, 64, 64] == pytest.approx(top, abs=1e-3)
    assert depth[0][ids[0] == 0].max() <= 6.0


def test_what_is_nearer_hides_what_is_behind(atlas: Atlas) -> None:
    ball = Thing("sphere", "blue", "plain", "small", 0.0, 0.5, 0.0, 0.0)
    front, back = cutout("car", z=-1.0), cutout("car", z=1.2)
    _, ids, _, _, visible, _ = truth_of(render([scene_of(ball, front), scene_of(ball, back)], atlas=atlas))
    assert visible[0, 1] == 1.0 and visible[0, 0] < 0.6
    assert visible[1, 0] == 1.0 and visible[1, 1] < 1.0
    assert (ids[0] == 1).sum() > (ids[1] == 1).sum()


def test_mirrored_and_leaning_drawings(atlas: Atlas) -> None:
    """The blue quarter is upper left; mirrored it is upper right; the outline is the same."""
    plain = cutout("bus")
    leaning = cutout("bus", roll=0.3)
    rendering = render([scene_of(plain), scene_of(replace(plain, flip=True)), scene_of(leaning)], atlas=atlas)
    masks = truth_of(rendering)[1] == 0
    rgb = rendering.rgb.int()
    blue = (rgb[:, 2] > rgb[:, 1] + 60) & masks
    across = torch.arange(128.0)
    places = [float((mask.sum(0) * across).sum() / mask.sum()) for mask in blue]
    middle = float((masks[0].sum(0) * across).sum() / masks[0].sum())
    assert places[0] < middle - 3 and places[1] > middle + 3
    assert torch.equal(masks[0], masks[1])
    # Leaning to the left, the left side of the drawing comes down.
    heights = [
        float((mask.sum(1) * across).sum() / mask.sum() - (whole.sum(1) * across).sum() / whole.sum())
        for mask, whole in zip(blue, masks, strict=True)
    ]
    assert heights[2] > heights[0] + 3
    width, height = drawn_size(leaning)
    assert extent(leaning)[0] == pytest.approx(width * cos(0.3) + height * np.sin(0.3))


def test_half_transparent_texels_cover_half_of_the_rays(atlas: Atlas) -> None:
    """Alpha to coverage: the pixels are half of what is behind, and still the thing's."""
    planes = atlas.planes.copy()
    row = atlas.row(drawing_of("kite", None))
    planes[row, Channel.ALPHA] //= 2
    glass = Atlas(Manifest(sprites=atlas.manifest.sprites, credits=()), planes)
    empty, clear, full = (
        render([scene_of()], atlas=atlas),
        render([scene_of(cutout("kite"))], atlas=glass),
        render([scene_of(cutout("kite"))], atlas=atlas),
    )
    inside = truth_of(full)[1][0] == 0
    inner = -torch.nn.functional.max_pool2d(-inside[None].float(), 7, 1, 3)[0] > 0
    assert (truth_of(clear)[1][0][inner] == 0).all()
    # Shadows fall behind it, too: compare with the backdrop that the full one would hide.
    mixed = (empty.rgb.float() + full.rgb.float())[0][:, inner] / 2
    assert (clear.rgb.float()[0][:, inner] - mixed).abs().mean() < 12


@pytest.mark.parametrize("colour", VOCABULARY.colour_names)
def test_recoloured_main_surface_takes_the_colour_and_the_rest_stays(colour: str, atlas: Atlas) -> None:
    natural, painted = cutout("couch"), cutout("couch", colour)
    rendering = render([scene_of(natural), scene_of(painted)], atlas=atlas)
    mask = truth_of(rendering)[1][0] == 0
    rgb = rendering.rgb.float() / 255
    blue = (rgb[0, 2] > rgb[0, 1] + 0.25) & mask
    inner = -torch.nn.functional.max_pool2d(-blue[None].float(), 3, 1, 1)[0] > 0
    assert (rgb[0] - rgb[1])[:, inner].abs().max() < 1e-6
    main = mask & ~(torch.nn.functional.max_pool2d(blue[None].float(), 3, 1, 1)[0] > 0)
    mean = rgb[1][:, main].mean(dim=1)
    wanted = torch.tensor([entry.rgb for entry in VOCABULARY.colours])
    # The nearest of the ten, by the direction of its hue and by its lightness.
    assert VOCABULARY.colour_names[int((wanted - mean).norm(dim=1).argmin())] == colour


def test_small_things_take_coarser_texels_and_keep_their_colour(atlas: Atlas) -> None:
    near, far = cutout("clock", "red", z=-1.5), cutout("clock", "red", z=3.5)
    rendering = render([scene_of(near), scene_of(far)], size=48, atlas=atlas)
    ids = truth_of(rendering)[1]
    means = [(rendering.rgb[n].float()[:, ids[n] == 0]).mean(dim=1) for n in range(2)]
    assert (means[0] - means[1]).abs().max() < 25


def test_drawings_of_the_split_that_was_asked_for() -> None:
    graph = SceneGraph(groups=(Group(shape="cat", count=3),))

    def shown(splits: Sequence[str]) -> set[str | None]:
        rng = np.random.default_rng(0)
        return {
            thing.drawing
            for _ in range(30)
            for thing in complete(graph, rng, VOCABULARY, splits).things  # pyright: ignore[reportArgumentType]
        }

    train = {drawing.name for drawing in drawings_of("cat")}
    held_out = {drawing.name for drawing in drawings_of("cat", ("held_out",))}
    assert shown(("train",)) == train and shown(("held_out",)) == held_out
    assert not train & held_out


def test_an_artist_gives_each_class_one_look() -> None:
    graph = SceneGraph(groups=(Group(shape="cat", count=2), Group(shape="clock"), Group(shape="cube")))
    looks: dict[str, set[tuple[str | None, bool]]] = {}
    for seed in range(20):
        for thing in complete(graph, np.random.default_rng(seed), VOCABULARY, artist="noto").things:
            looks.setdefault(thing.shape, set()).add((thing.drawing, thing.flip))
    assert looks == {
        "cat": {("cat/noto/cat", False)},
        "clock": {("clock/noto/alarm-clock", False)},
        "cube": {(None, False)},
    }


def test_a_class_that_an_artist_did_not_draw_shows_its_first_drawing() -> None:
    assert drawings_of("cat", artist="nobody") == drawings_of("cat")[:1]
    assert drawings_of("cat", ("held_out",), "nobody") == drawings_of("cat", ("held_out",))[:1]


@pytest.mark.gpu
def test_gpu_draws_the_same_pictures(atlas: Atlas) -> None:
    _, scenes = graphs_and_scenes(12, seed=2)
    here, there = render(scenes, atlas=atlas), render(scenes, device="cuda", atlas=atlas)
    assert ((here.rgb.int() - there.rgb.cpu().int()).abs() > 2).float().mean() < 2e-3
    assert (truth_of(here)[1] != truth_of(there)[1].cpu()).float().mean() < 2e-3
