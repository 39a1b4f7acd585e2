from itertools import combinations, pairwise
from math import hypot

import numpy as np
import pytest

from diorama.graph import INVERSE, Group, Predicate, Relation, SceneGraph
from diorama.layout import CLEAR_DISTANCE
from diorama.place import Unplaceable, complete, project
from diorama.projection import bounds, corners, distance, extent, view
from diorama.scene import Camera, Scene, Thing
from diorama.truth import CLEAR_POSITION, Seen, mismatches, relation_margin
from diorama.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary("solids")
CAMERA = Camera(0.0, 2.2, 8.5, 0.175, 2.26)


def random_graph(rng: np.random.Generator) -> SceneGraph:
    def pick(names: tuple[str, ...], chance: float) -> str | None:
        return str(rng.choice(names)) if rng.random() < chance else None

    def group(shape: str, count: int = 1) -> Group:
        return Group(
            shape=shape,
            count=count,
            colour=pick(VOCABULARY.colour_names, 0.7),
            pattern=pick(VOCABULARY.pattern_names, 0.3),
            size=pick(VOCABULARY.size_names, 0.2),
        )

    shapes = [str(shape) for shape in rng.permutation(VOCABULARY.shape_names)]
    predicate = list(INVERSE)[int(rng.integers(6))]
    related = (Relation(subject=0, predicate=predicate, object=1),)
    kind = int(rng.integers(5))
    if kind == 0:
        return SceneGraph(groups=(group(shapes[0], int(rng.integers(1, 6))),))
    if kind == 1:
        return SceneGraph(groups=tuple(group(shape) for shape in shapes[: int(rng.integers(2, 5))]))
    if kind == 2:
        return SceneGraph(groups=(group(shapes[0]), group(shapes[1])), relations=related)
    if kind == 3:
        groups = (group(shapes[0]), group(shapes[1], int(rng.integers(1, 3))), group(shapes[2]))
        return SceneGraph(groups=groups, relations=related)
    one, other = (str(colour) for colour in rng.permutation(VOCABULARY.colour_names)[:2])
    groups = (Group(shape=shapes[0], colour=one), Group(shape=shapes[0], colour=other))
    return SceneGraph(groups=groups, relations=related)


@pytest.fixture(scope="module")
def placed() -> list[tuple[SceneGraph, Scene]]:
    rng = np.random.default_rng(3)
    pairs: list[tuple[SceneGraph, Scene]] = []
    while len(pairs) < 300:
        graph = random_graph(rng)
        try:
            pairs.append((graph, complete(graph, rng, VOCABULARY)))
        except Unplaceable:
            assert len(pairs) > 20, "the first graphs are easy"
    return pairs


def thing(shape: str, x: float = 0.0, z: float = 0.0, yaw: float = 0.3, lift: float = 0.0) -> Thing:
    flat = Thing(shape, "red", "plain", "large", x, 0.0, z, yaw)
    return Thing(shape, "red", "plain", "large", x, extent(flat)[1] / 2 + lift, z, yaw)


def test_scenes_show_what_was_asked(placed: list[tuple[SceneGraph, Scene]]) -> None:
    for graph, scene in placed:
        assert mismatches(graph, project(scene), scene.setting) == []
        assert len(scene.things) == sum(group.count for group in graph.groups)


def test_things_come_in_group_order_with_the_groups_attributes(
    placed: list[tuple[SceneGraph, Scene]],
) -> None:
    for graph, scene in placed:
        wanted = [group for group in graph.groups for _ in range(group.count)]
        for group, got in zip(wanted, scene.things, strict=True):
            assert got.shape == group.shape
            assert group.colour in (None, got.colour)
            assert group.pattern in (None, got.pattern)
            assert group.size in (None, got.size)


def test_relations_hold_clearly(placed: list[tuple[SceneGraph, Scene]]) -> None:
    tried: set[str] = set()
    for graph, scene in placed:
        seen, ends = project(scene), np.cumsum([0] + [group.count for group in graph.groups])
        members = [seen[start:end] for start, end in pairwise(ends)]
        for relation in graph.relations:
            tried.add(relation.predicate)
            clear = CLEAR_DISTANCE if relation.predicate in ("in front of", "behind") else CLEAR_POSITION
            for a in members[relation.subject]:
                for b in members[relation.object]:
                    assert relation_margin(a, relation.predicate, b) >= clear
    assert tried == set(INVERSE)


def overlap(a: Seen, b: Seen) -> bool:
    return a.box[0] < b.box[2] and b.box[0] < a.box[2] and a.box[1] < b.box[3] and b.box[1] < a.box[3]


def test_only_things_related_in_depth_overlap_and_all_lie_inside(
    placed: list[tuple[SceneGraph, Scene]],
) -> None:
    for graph, scene in placed:
        seen = project(scene)
        assert all(0.02 <= edge <= 0.98 for one in seen for edge in one.box)
        if not any(relation.predicate in ("in front of", "behind") for relation in graph.relations):
            assert not any(overlap(a, b) for a, b in combinations(seen, 2))


def test_things_stand_or_float_and_never_touch(placed: list[tuple[SceneGraph, Scene]]) -> None:
    floating = total = 0
    for _, scene in placed:
        for one in scene.things:
            lift = one.y - extent(one)[1] / 2
            assert lift == pytest.approx(0.0) or lift > 0.2
            floating += lift > 0.2
            total += 1
        for (a, seen_a), (b, seen_b) in combinations(zip(scene.things, project(scene), strict=True), 2):
            reach = hypot(*extent(a)[::2]) / 2 + hypot(*extent(b)[::2]) / 2
            # What does not overlap in the picture cannot touch in space.
            assert not overlap(seen_a, seen_b) or hypot(a.x - b.x, a.z - b.z) > 0.7 * reach
    assert 0.15 < floating / total < 0.5


def test_the_camera_comes_nearer_the_less_there_is_to_show() -> None:
    rng = np.random.default_rng(11)

    def scenes(count: int) -> list[Scene]:
        graph = SceneGraph(groups=(Group(shape="sphere", count=count, size="large"),))
        return [complete(graph, rng, VOCABULARY) for _ in range(30)]

    def mean_width(found: list[Scene]) -> float:
        boxes = [seen.box for scene in found for seen in project(scene)]
        return float(np.mean([right - left for left, _, right, _ in boxes]))

    crowds = [scenes(count) for count in (1, 2, 3, 5)]
    widths = [mean_width(found) for found in crowds]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.45 > 0.3 > widths[-1] > 0.2
    cameras = [scene.camera for found in crowds for scene in found]
    assert all(camera.height / camera.distance == pytest.approx(2.2 / 8.5, rel=0.1) for camera in cameras)
    assert {camera.focal for camera in cameras} == {2.26}


def test_same_seed_same_scene() -> None:
    graph = SceneGraph(groups=(Group(shape="cube", count=3), Group(shape="torus")))
    first, again, other = (complete(graph, np.random.default_rng(seed), VOCABULARY) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_groups_of_one_shape_stay_apart() -> None:
    """Neither cube may pass for the other, or the relation could be read backwards."""
    relation = Relation(subject=0, predicate="left of", object=1)
    groups = (Group(shape="cube", colour="red"), Group(shape="cube", size="large"))
    graph = SceneGraph(groups=groups, relations=(relation,))
    rng = np.random.default_rng(0)
    for _ in range(40):
        red, large = complete(graph, rng, VOCABULARY).things
        assert not (red.size == "large" and large.colour == "red")
        assert red.x < large.x


def test_open_attributes_come_from_the_given_vocabulary() -> None:
    small = load_vocabulary("cpu")
    rng = np.random.default_rng(1)
    scenes = [complete(SceneGraph(groups=(Group(shape="cube", count=4),)), rng, small) for _ in range(30)]
    assert {one.colour for scene in scenes for one in scene.things} == set(small.colour_names)
    assert {one.pattern for scene in scenes for one in scene.things} == {"plain"}
    assert {scene.setting for scene in scenes} == set(small.setting_names)


def test_unknown_word_is_named() -> None:
    graph = SceneGraph(groups=(Group(shape="cube", colour="orange"),))
    with pytest.raises(ValueError, match=r"unknown colour 'orange'.*red, yellow"):
        complete(graph, np.random.default_rng(0), load_vocabulary("cpu"))


def impossible(*edges: tuple[int, Predicate, int]) -> SceneGraph:
    relations = tuple(Relation(subject=a, predicate=predicate, object=b) for a, predicate, b in edges)
    shapes = ("cube", "sphere", "cone")
    return SceneGraph(groups=tuple(Group(shape=shape) for shape in shapes), relations=relations)


@pytest.mark.parametrize(
    "graph",
    [
        impossible((0, "left of", 1), (0, "right of", 1)),
        impossible((0, "above", 1), (1, "above", 2), (2, "above", 0)),
        impossible((0, "in front of", 1), (1, "in front of", 0)),
        impossible((0, "left of", 1), (0, "above", 1)),  # GenEval's rule: no diagonal is both, clearly
    ],
)
def test_impossible_graphs_are_refused(graph: SceneGraph) -> None:
    with pytest.raises(Unplaceable) as caught:
        complete(graph, np.random.default_rng(0), VOCABULARY)
    assert caught.value.graph is graph


@pytest.mark.parametrize("shape", VOCABULARY.shape_names)
def test_projected_box_lies_within_the_projected_corners(shape: str) -> None:
    one = thing(shape, x=0.7, z=0.5, lift=0.3)
    box = bounds(CAMERA, one)
    points = [view(CAMERA, *corner) for corner in corners(one)]
    us = [0.5 + CAMERA.focal * right / depth for right, _, depth in points]
    vs = [0.5 - CAMERA.focal * up / depth for _, up, depth in points]
    slack = 1e-9 if shape in ("cube", "pyramid", "cone", "cylinder", "sphere") else 0.004
    assert box[0] >= min(us) - slack and box[2] <= max(us) + slack
    assert box[1] >= min(vs) - slack and box[3] <= max(vs) + slack
    assert box[2] - box[0] > 0.4 * (max(us) - min(us))


def test_sphere_projects_to_its_tangent_cone() -> None:
    """Straight ahead, the half angle of the cone is asin(r / distance)."""
    ball = Thing("sphere", "red", "plain", "large", 0.0, 2.0, 0.0, 0.0)
    camera = Camera(0.0, 2.0, 5.0, 0.0, 1.0)
    tangent = np.tan(np.arcsin(0.5 / 5.0))
    assert bounds(camera, ball) == pytest.approx((0.5 - tangent, 0.5 - tangent, 0.5 + tangent, 0.5 + tangent))
    assert distance(camera, ball) == pytest.approx(5.0)


def test_thing_behind_the_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="behind the camera"):
        bounds(CAMERA, thing("cube", z=-8.4))
