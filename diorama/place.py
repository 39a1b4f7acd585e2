"""From what a prompt asks to a complete scene: attributes, places, camera and light at random, relations with
margin.

Rejection sampling in plain Python: each relation narrows where a thing is tried, and `truth.mismatches` has
the last word. Knows projections, not pixels.
"""

from collections.abc import Sequence

import numpy as np

from diorama.drawings import Split
from diorama.graph import Group, Relation, SceneGraph
from diorama.layout import AXES, Attributes, Layout, Rank
from diorama.projection import project
from diorama.scene import Camera, Light, Scene
from diorama.truth import mismatches
from diorama.vocabulary import Vocabulary

__all__ = ["Unplaceable", "complete", "project"]

_RESTARTS = 150
_AWAY = (0.5, 0.62, 0.7, 0.8, 0.88, 0.95)
"""How far away the camera is from one, two, ... six things, where 1 is the farthest: as near as they mostly
fit.

From one place for all, a lone thing was a fourth of the picture wide. Height goes with the distance, so the
picture is that of larger things on the same floor; the angle of view stays.
"""


class Unplaceable(ValueError):
    """No scene was found that shows what the graph asks for."""

    def __init__(self, graph: SceneGraph, reason: str) -> None:
        self.graph = graph
        super().__init__(f"cannot place {graph!r}: {reason}; ask for fewer things or fewer relations")


def complete(
    graph: SceneGraph,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    splits: Sequence[Split] = ("train",),
    artist: str | None = None,
) -> Scene:
    """Draw a scene that shows exactly what `graph` asks for; what it leaves open is drawn from `vocabulary`.

    Cut-outs show drawings of `splits`, or those for training where a class has no others; half of those that
    may be are mirrored. With an `artist`, the name of a source, a class has one look: its first drawing from
    there, or its first, never mirrored.

    Every relation holds with a margin of at least `CLEAR_POSITION` (before and behind: `CLEAR_DISTANCE`).
    Things overlap in the picture only where one is asked to be in front of or behind the other.

    Raises:
        ValueError: the graph names a word that is not in `vocabulary`, or gives a thing a colour or a pattern
            that it cannot have.
        Unplaceable: the relations contradict each other, or no arrangement was found within a bounded
            number of tries.
    """
    _check_words(graph, vocabulary)
    ranks = {axis: _ranks(graph, axis) for axis in "uyz"}
    farthest, light = _camera(rng), _light(rng)
    settings = vocabulary.setting_names
    setting = graph.setting or settings[int(rng.integers(len(settings)))]
    crowd = sum(group.count for group in graph.groups)
    for attempt in range(_RESTARTS):
        attributes = _draw_attributes(graph, rng, vocabulary)
        if attributes is None:
            continue
        # From further away there is more room: many things start there, stubborn graphs move there.
        away = min(1.0, _AWAY[min(crowd, len(_AWAY)) - 1] + attempt / 60)
        back = min(1.0, max(0.0, 0.3 * (crowd - 4)) + attempt / 40)
        layout = Layout(graph, farthest, ranks, rng, back, away, splits, artist)
        if crowd > 3 and attempt % 2:
            layout.line_up()
        things = layout.place(attributes)
        if things is None:
            continue
        scene = Scene(things, setting, layout.camera, light)
        if not mismatches(graph, project(scene), setting):
            return scene
    raise Unplaceable(graph, f"no arrangement in {_RESTARTS} tries")


def _check_words(graph: SceneGraph, vocabulary: Vocabulary) -> None:
    known = {
        "shape": vocabulary.shape_names,
        "colour": vocabulary.colour_names,
        "pattern": vocabulary.pattern_names,
        "size": vocabulary.size_names,
    }
    words = [(kind, getattr(group, kind), names) for group in graph.groups for kind, names in known.items()]
    words.append(("setting", graph.setting, vocabulary.setting_names))
    for kind, word, names in words:
        if word is not None and word not in names:
            raise ValueError(f"unknown {kind} {word!r}; this vocabulary has: {', '.join(names)}")
    for group in graph.groups:
        looks = {"colour": group.colour, "pattern": group.pattern}
        if (why := vocabulary.objection(group.shape, looks)) is not None:
            raise ValueError(why)


def _camera(rng: np.random.Generator) -> Camera:
    x, height, distance, pitch = rng.uniform((-0.1, 2.1, 8.35, 0.165), (0.1, 2.3, 8.65, 0.185)).tolist()
    return Camera(x, height, distance, pitch, 2.26)


def _light(rng: np.random.Generator) -> Light:
    azimuth, elevation, ambient = rng.uniform((-0.95, 0.8, 0.6), (-0.35, 1.0, 0.66)).tolist()
    return Light(azimuth, elevation, ambient)


def _ranks(graph: SceneGraph, axis: str) -> list[Rank]:
    """Longest-path order of the groups on one axis.

    Raises:
        Unplaceable: the relations run in a circle.
    """
    edges = [_edge(relation) for relation in graph.relations if AXES[relation.predicate][0] == axis]
    position = [0] * len(graph.groups)
    for _ in range(len(graph.groups) + 1):
        moved = False
        for first, second in edges:
            if position[second] <= position[first]:
                position[second] = position[first] + 1
                moved = True
        if not moved:
            break
    else:
        raise Unplaceable(graph, "its relations contradict each other")
    ordered = {group for edge in edges for group in edge}
    last = max(position)
    return [Rank(position[group], last, group not in ordered) for group in range(len(graph.groups))]


def _edge(relation: Relation) -> tuple[int, int]:
    forwards = AXES[relation.predicate][1]
    return (relation.subject, relation.object) if forwards else (relation.object, relation.subject)


def _draw_attributes(
    graph: SceneGraph, rng: np.random.Generator, vocabulary: Vocabulary
) -> list[Attributes] | None:
    """Attributes of every thing in group order; None if two groups of one shape could be taken for each
    other.
    """
    coloured = {group.shape for group in graph.groups if group.colour is not None}
    drawn: list[Attributes] = []
    for index, group in enumerate(graph.groups):
        solid = group.shape in vocabulary.solids
        # Beside a red apple "an apple" is not left natural: that is red too, and either could be meant.
        natural = not solid and group.shape not in coloured
        for _ in range(group.count):
            colour = group.colour
            if colour is None and not natural:
                colour = _pick(vocabulary.allowed_colours[group.shape], rng)
            pattern = group.pattern or (_pick_pattern(vocabulary.pattern_names, rng) if solid else "plain")
            size = group.size or _pick(vocabulary.size_names, rng)
            drawn.append(Attributes(index, group.shape, colour, pattern, size))
    for i, first in enumerate(graph.groups):
        for j in range(i + 1, len(graph.groups)):
            second = graph.groups[j]
            if first.shape != second.shape or _wording(first) == _wording(second):
                continue
            confused = any(_fits(second, thing) for thing in drawn if thing.group == i)
            if confused and any(_fits(first, thing) for thing in drawn if thing.group == j):
                return None
    return drawn


def _pick(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.random() * len(names))]


def _pick_pattern(names: Sequence[str], rng: np.random.Generator) -> str:
    """Half of all surfaces that nobody speaks of are plain."""
    return names[0] if rng.random() < 0.5 else _pick(names, rng)


def _wording(group: Group) -> tuple[str | None, ...]:
    return group.colour, group.pattern, group.size


def _fits(group: Group, thing: Attributes) -> bool:
    mine = (thing.colour, thing.pattern, thing.size)
    return all(wanted is None or wanted == got for wanted, got in zip(_wording(group), mine, strict=True))
