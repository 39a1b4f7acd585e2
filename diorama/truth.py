"""Whether a picture's things satisfy a scene graph: the one rule by which truth, critic and judge all
measure.

Works on what is seen (attributes, boxes, distances), wherever that comes from. It knows neither the renderer
nor any model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportUnknownVariableType]

from diorama.graph import Group, Predicate, SceneGraph

MismatchKind = Literal["count", "missing", "extra", "colour", "pattern", "size", "position", "background"]

CLEAR_POSITION = 0.2
"""A relation whose `relation_margin` is between 0 and this is true but ambiguous: the placer rejects such
scenes.
"""

APART = 0.4
"""World units by which distances have to differ for one thing to be in front of another."""

_ATTRIBUTES: tuple[tuple[Literal["colour", "pattern", "size"], float], ...] = (
    ("colour", 2.0),
    ("pattern", 1.0),
    ("size", 0.75),
)


class Sighting(Protocol):
    """Whatever a perception model reports about one thing, as far as truth is concerned."""

    @property
    def shape(self) -> str:
        """See `Seen`."""
        ...

    @property
    def colour(self) -> str | None:
        """See `Seen`."""
        ...

    @property
    def pattern(self) -> str:
        """See `Seen`."""
        ...

    @property
    def size(self) -> str:
        """See `Seen`."""
        ...

    @property
    def box(self) -> tuple[float, float, float, float]:
        """See `Seen`."""
        ...

    @property
    def distance(self) -> float:
        """See `Seen`."""
        ...

    @property
    def confidence(self) -> float:
        """See `Seen`."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing as seen in a picture.

    `box` is (left, top, right, bottom) in fractions of the picture's width and height, y down. `distance` is
    from the camera in world units. `colour` None is a natural look that no single colour names: it is none of
    those that may be asked for.
    """

    shape: str
    colour: str | None
    pattern: str
    size: str
    box: tuple[float, float, float, float]
    distance: float
    confidence: float = 1.0

    @classmethod
    def of(cls, thing: Sighting) -> Self:
        """A perception model's report in these terms."""
        return cls(
            thing.shape, thing.colour, thing.pattern, thing.size, thing.box, thing.distance, thing.confidence
        )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One way in which a picture is not what was asked.

    `group` and `relation` index the scene graph; an extra thing belongs to no group. `seen` lists the
    positions of the things concerned. `wanted` and `found` are words for people.
    """

    kind: MismatchKind
    group: int | None
    relation: int | None
    wanted: str
    found: str
    seen: tuple[int, ...] = ()


def relation_margin(a: Seen, predicate: Predicate, b: Seen) -> float:
    """How clearly `a` stands in `predicate` to `b`: positive when it does, larger is clearer.

    Left, right, above and below follow GenEval's rule (centre offset, less a tenth of both extents, divided
    by the unrevised offset's length, against one half). Before and behind compare distances against `APART`.
    """
    if predicate == "in front of":
        return b.distance - a.distance - APART
    if predicate == "behind":
        return a.distance - b.distance - APART
    ox = (a.box[0] + a.box[2] - b.box[0] - b.box[2]) / 2
    oy = (a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2
    slack_x = 0.1 * (a.box[2] - a.box[0] + b.box[2] - b.box[0])
    slack_y = 0.1 * (a.box[3] - a.box[1] + b.box[3] - b.box[1])
    length = hypot(ox, oy) or 1.0
    towards = {
        "left of": (-ox, slack_x),
        "right of": (ox, slack_x),
        "above": (-oy, slack_y),
        "below": (oy, slack_y),
    }
    offset, slack = towards[predicate]
    return max(offset - slack, 0.0) / length - 0.5


def mismatches(graph: SceneGraph, seen: Sequence[Seen], setting: str | None = None) -> list[Mismatch]:
    """All ways in which `seen` (and the `setting` seen, None: not looked at) differ from `graph`.

    Things are assigned to groups of their shape so that attributes disagree least; what is left over is
    "count" when it would fit a group of its shape, else "extra". A relation must hold between every pair of
    the two groups, as in GenEval. An empty list means: the picture shows what was asked, and nothing else.
    """
    members, extra = assign(graph, seen)
    found: list[Mismatch] = []
    for index, group in enumerate(graph.groups):
        found += _group_mismatches(index, group, seen, members[index])
    for position in extra:
        thing = seen[position]
        name = " ".join(filter(None, (thing.colour, thing.shape)))
        found.append(Mismatch("extra", None, None, "nothing else", name, (position,)))
    for index, relation in enumerate(graph.relations):
        pairs = [(a, b) for a in members[relation.subject] for b in members[relation.object]]
        wrong = [(a, b) for a, b in pairs if relation_margin(seen[a], relation.predicate, seen[b]) <= 0]
        if wrong:
            positions = tuple(sorted({position for pair in wrong for position in pair}))
            text = f"not {relation.predicate}"
            found.append(Mismatch("position", relation.subject, index, relation.predicate, text, positions))
    if setting is not None and graph.setting is not None and setting != graph.setting:
        found.append(Mismatch("background", None, None, graph.setting, setting))
    return found


def geneval_correct(found: Sequence[Mismatch], tag: str) -> bool:
    """GenEval's own leniency: surplus things never matter, except in the `counting` family."""

    def forgiven(mismatch: Mismatch) -> bool:
        surplus = mismatch.kind == "count" and int(mismatch.found) > int(mismatch.wanted)
        return mismatch.kind == "extra" or (surplus and tag != "counting")

    return all(forgiven(mismatch) for mismatch in found)


def _disagreement(group: Group, thing: Seen) -> float:
    return sum(
        cost
        for name, cost in _ATTRIBUTES
        if getattr(group, name) is not None and getattr(group, name) != getattr(thing, name)
    )


def assign(graph: SceneGraph, seen: Sequence[Seen]) -> tuple[list[list[int]], list[int]]:
    """Positions in `seen` per group (its count, or more where a surplus thing fits it), and the rest."""
    members: list[list[int]] = [[] for _ in graph.groups]
    slots = [index for index, group in enumerate(graph.groups) for _ in range(group.count)]
    cost = np.full((len(slots), len(seen)), 100.0)
    for row, index in enumerate(slots):
        for column, thing in enumerate(seen):
            if thing.shape == graph.groups[index].shape:
                cost[row, column] = _disagreement(graph.groups[index], thing) - 0.1 * thing.confidence
    rest = set(range(len(seen)))
    if cost.size:
        for row, column in zip(*_pair_up(cost), strict=True):
            if cost[row, column] < 100.0:
                members[slots[row]].append(column)
                rest.discard(column)
    for column in sorted(rest):
        fits = [i for i, group in enumerate(graph.groups) if group.shape == seen[column].shape]
        fits = [i for i in fits if _disagreement(graph.groups[i], seen[column]) == 0]
        if fits:
            members[fits[0]].append(column)
            rest.discard(column)
    return members, sorted(rest)


def _pair_up(cost: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Rows and columns of the cheapest assignment. SciPy ships no types for it."""
    rows, columns = cast(tuple[NDArray[np.int64], NDArray[np.int64]], linear_sum_assignment(cost))
    return rows.tolist(), columns.tolist()


def _group_mismatches(
    index: int, group: Group, seen: Sequence[Seen], members: Sequence[int]
) -> list[Mismatch]:
    if not members:
        return [Mismatch("missing", index, None, group.shape, "none")]
    found: list[Mismatch] = []
    if len(members) != group.count:
        found.append(Mismatch("count", index, None, str(group.count), str(len(members)), tuple(members)))
    for name, _ in _ATTRIBUTES:
        wanted: str | None = getattr(group, name)
        wrong = [
            position for position in members if wanted is not None and getattr(seen[position], name) != wanted
        ]
        if wanted is not None and wrong:
            values = " and ".join(sorted({getattr(seen[position], name) or "natural" for position in wrong}))
            found.append(Mismatch(name, index, None, wanted, values, tuple(wrong)))
    return found
