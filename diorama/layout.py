"""One attempt at places for the things of a scene: each is put where its relations to those before it hold.

Relations narrow where a thing is tried; exact projections decide. Knows no pixels and draws no attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import atan, hypot, tan

import numpy as np

from diorama.drawings import Split, drawings_of
from diorama.graph import Predicate, SceneGraph
from diorama.projection import Box, bounds, extent, perfectly_seen
from diorama.scene import Camera, Thing
from diorama.truth import CLEAR_POSITION, Seen, relation_margin
from diorama.vocabulary import load_vocabulary

CLEAR_DISTANCE = 0.4
"""In front and behind need this margin (world units) rather than `CLEAR_POSITION`."""

_CANDIDATES = 14
_BORDER = 0.02
_GAP = 0.012

AXES: dict[Predicate, tuple[str, bool]] = {
    "left of": ("u", True),
    "right of": ("u", False),
    "below": ("y", True),
    "above": ("y", False),
    "in front of": ("z", True),
    "behind": ("z", False),
}
"""Which axis a predicate orders, and whether its subject comes first on it."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a thing of the graph's group number `group` looks like, before it has a place."""

    group: int
    shape: str
    colour: str | None
    pattern: str
    size: str


@dataclass(frozen=True, slots=True)
class Rank:
    """A group's place in the order of one axis: `position` of `last`; `free` if no relation orders it."""

    position: int
    last: int
    free: bool


class Layout:
    """One attempt: things are placed one by one, each where its relations to those before it hold.

    `back`, 0 to 1, moves everything away from the camera, where there is more room; `away`, above 0 to 1, is
    how far the camera itself is, as a share of `farthest`, and stretches the depths that things stand at.
    Cut-outs show drawings of `splits`, half of them mirrored, or one artist's; see `complete`.
    """

    def __init__(
        self,
        graph: SceneGraph,
        farthest: Camera,
        ranks: dict[str, list[Rank]],
        rng: np.random.Generator,
        back: float,
        away: float,
        splits: Sequence[Split] = ("train",),
        artist: str | None = None,
    ) -> None:
        self.near, self.far = away * (-1.5 + 1.8 * back), away * (1.9 + 0.9 * back)
        self.camera = replace(farthest, height=farthest.height * away, distance=farthest.distance * away)
        self.ranks = ranks
        self.rng = rng
        self.splits, self.artist = splits, artist
        self.related: dict[tuple[int, int], list[Predicate]] = {}
        for relation in graph.relations:
            self.related.setdefault((relation.subject, relation.object), []).append(relation.predicate)
        self.anchor = 0.5 + 0.3 * (rng.random() - 0.5)
        self.share = 0.6 if rng.random() < 0.8 else 0.35
        self.cells: list[tuple[int, int]] | None = None
        self.things: list[Thing] = []
        self.seen: list[Seen] = []
        self.groups: list[int] = []

    def line_up(self) -> None:
        """Try unrelated things in the cells of a loose grid, at random: three a row, one row in the air."""
        cells = [(column, row) for column in range(3) for row in range(2)]
        self.cells = [cells[index] for index in self.rng.permutation(len(cells)).tolist()]

    def place(self, attributes: Sequence[Attributes]) -> tuple[Thing, ...] | None:
        """The things in the order given, or None when one found no place."""
        # What must stand lowest or nearest goes first, and large before small, which fits into what is left.
        order = sorted(range(len(attributes)), key=lambda i: (self._order(attributes[i]), self.rng.random()))
        lively = 0.15 + 0.13 * max(0, len(attributes) - 2)
        for index in order:
            if not self._settle(attributes[index], lively):
                return None
        placed = dict(zip(order, self.things, strict=True))
        return tuple(placed[index] for index in range(len(order)))

    def _order(self, attributes: Attributes) -> tuple[int, int]:
        group = attributes.group
        return self.ranks["y"][group].position + self.ranks["z"][group].position, -(
            attributes.size == "large"
        )

    def _settle(self, attributes: Attributes, lively: float) -> bool:
        for _ in range(_CANDIDATES):
            thing = self._candidate(attributes, lively)
            if thing is None:
                continue
            box = bounds(self.camera, thing)
            if box[0] < _BORDER or box[1] < _BORDER or box[2] > 1 - _BORDER or box[3] > 1 - _BORDER:
                continue
            seen = perfectly_seen(self.camera, thing, box)
            if self._fits_in(thing, seen, attributes.group):
                self.things.append(thing)
                self.seen.append(seen)
                self.groups.append(attributes.group)
                return True
        return False

    def _candidate(self, attributes: Attributes, lively: float) -> Thing | None:
        rng, camera, group = self.rng, self.camera, attributes.group
        side, level, ahead = self.ranks["u"][group], self.ranks["y"][group], self.ranks["z"][group]
        z = self.near + (self.far - self.near) * _share(ahead, rng)
        if not level.free:
            z = 0.5 * z + 0.25 * (self.near + self.far)
        yaw = (rng.random() - 0.5) * _TURNS.get(attributes.shape, 1.5)
        thing = Thing(
            attributes.shape, attributes.colour, attributes.pattern, attributes.size, 0.0, 0.0, z, yaw
        )
        if attributes.shape in _CUTOUTS:
            thing = self._draw(thing)
        height = extent(thing)[1]
        y = height / 2
        free = level.free and ahead.free
        cell = self.cells[len(self.things)] if self.cells and free and side.free else None
        floats = rng.random() < lively if cell is None else cell[1] == 1
        if (not level.free and level.position > 0) or (free and floats):
            top = _height_at(camera, z, 0.04) - height / 2
            low = height + 0.25
            if top <= low:
                return None
            if level.free:
                y = low + (top - low) * rng.random()
            else:
                y = low + (top - low) * (level.position - 1 + rng.random()) / level.last
        deep = (camera.height - y) * _SINE + (z + camera.distance) * _COSINE
        half = 0.5 * extent(thing)[0] * camera.focal / deep
        if cell is not None:
            u = (cell[0] + 0.5 + 0.3 * (rng.random() - 0.5)) / 3
        elif side.free and not free:
            u = self.anchor + (rng.random() - 0.5) * 0.6
        else:
            u = _BORDER + half + (1 - 2 * (_BORDER + half)) * _share(side, rng)
        return replace(thing, x=camera.x + (u - 0.5) * deep / camera.focal, y=y)

    def _draw(self, thing: Thing) -> Thing:
        """The cut-out with one of its drawings, mirrored or not, leaning a little."""
        drawings = drawings_of(thing.shape, self.splits, self.artist)
        drawing = drawings[int(self.rng.random() * len(drawings))]
        flip = self.rng.random() < 0.5 and drawing.mirrored and self.artist is None
        return replace(thing, drawing=drawing.name, flip=flip, roll=(2.0 * self.rng.random() - 1.0) * _LEAN)

    def _fits_in(self, thing: Thing, seen: Seen, group: int) -> bool:
        for other, other_seen, other_group in zip(self.things, self.seen, self.groups, strict=True):
            forwards = self.related.get((group, other_group), [])
            backwards = self.related.get((other_group, group), [])
            in_depth = any(AXES[predicate][0] == "z" for predicate in (*forwards, *backwards))
            if in_depth:
                if hypot(thing.x - other.x, thing.z - other.z) < _radius(thing) + _radius(other) + 0.05:
                    return False
                front, back = (
                    (seen, other_seen) if seen.distance < other_seen.distance else (other_seen, seen)
                )
                if _visible(back.box, front.box) < self.share:
                    return False
            elif _touch(seen.box, other_seen.box):
                return False
            if any(not _clear(seen, predicate, other_seen) for predicate in forwards):
                return False
            if any(not _clear(other_seen, predicate, seen) for predicate in backwards):
                return False
        return True


_ROUND = ("sphere", "cylinder", "cone", "torus")
_CUTOUTS = frozenset(shape.name for shape in load_vocabulary().shapes if shape.kind == "cutout")
_LEAN = 0.1
"""How far a cut-out leans to either side at most, in radians."""
_TURNS = dict.fromkeys(_CUTOUTS, 0.5) | {"torus": 0.9}
"""How far things may be turned, from one side to the other (radians), that must be seen from the front."""
_SINE, _COSINE = 0.174, 0.985
"""Of the mean pitch: good enough for where to try; what counts is measured on the exact projection."""


def _share(rank: Rank, rng: np.random.Generator) -> float:
    """Where on an axis to try, 0..1: anywhere, or within the rank's own part of it, a little wider."""
    if rank.free:
        return rng.random()
    width = 1.0 / (rank.last + 1)
    return min(max((rank.position + 1.3 * rng.random() - 0.15) * width, 0.0), 1.0)


def _height_at(camera: Camera, z: float, v: float) -> float:
    """World height seen at picture height `v` above floor depth `z`."""
    return camera.height + (z + camera.distance) * tan(atan((0.5 - v) / camera.focal) - camera.pitch)


def _radius(thing: Thing) -> float:
    """Of the upright cylinder around the thing."""
    width, _, depth = extent(thing)
    return width / 2 if thing.shape in _ROUND else hypot(width, depth) / 2


def _clear(a: Seen, predicate: Predicate, b: Seen) -> bool:
    wanted = CLEAR_DISTANCE if AXES[predicate][0] == "z" else CLEAR_POSITION
    return relation_margin(a, predicate, b) >= wanted


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] + _GAP and b[0] < a[2] + _GAP and a[1] < b[3] + _GAP and b[1] < a[3] + _GAP


def _visible(back: Box, front: Box) -> float:
    """Share of the back box that the front box leaves free."""
    width = min(back[2], front[2]) - max(back[0], front[0])
    height = min(back[3], front[3]) - max(back[1], front[1])
    if width <= 0 or height <= 0:
        return 1.0
    return 1.0 - width * height / ((back[2] - back[0]) * (back[3] - back[1]))
