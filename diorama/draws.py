"""Draws scene graphs of a family, with some (colour, shape) pairs held out of training.

Knows which families there are and what a graph of each looks like. It knows neither prompts nor scores.
"""

from functools import cache
from hashlib import sha256
from random import Random
from typing import Literal, NamedTuple, get_args

from diorama.graph import MAX_THINGS, Group, Predicate, Relation, SceneGraph
from diorama.vocabulary import Vocabulary

Family = Literal[
    "single_object",
    "two_object",
    "counting",
    "colors",
    "position",
    "depth",
    "color_attr",
    "patterns",
    "dense",
    "free",
]
"""GenEval's own tags keep GenEval's spelling. "free" mixes everything and is for training."""

Split = Literal["train", "heldout"]

TRAINING_FAMILIES: tuple[Family, ...] = get_args(Family)
FAMILIES: tuple[Family, ...] = TRAINING_FAMILIES[:-1]
GENEVAL_FAMILIES: tuple[Family, ...] = (
    "single_object",
    "two_object",
    "counting",
    "colors",
    "position",
    "color_attr",
)
HARD_FAMILIES: tuple[Family, ...] = ("two_object", "counting", "position", "color_attr", "dense")

HELD_OUT_PAIR_SHARE = 0.5
"""Share of held-out cases, of the families that name colours, with a held-out (colour, shape) pair."""

_PAIR_SALT = "maulstick 7"
"""Chosen so that the pairs spread over six colours and that the sub-vocabulary "cpu" has some of them."""

TAUGHT_PAIRS = frozenset({("purple", "elephant")})
"""Pairs that are never held out: those of the prompt that this project shows itself with. A painter that has
never seen one paints it worse than its neighbours, and a stranger cannot know why.
"""

_AXES: tuple[tuple[Predicate, Predicate], ...] = (
    ("left of", "right of"),
    ("below", "above"),
    ("in front of", "behind"),
)
_FLAT: tuple[Predicate, ...] = ("left of", "right of", "above", "below")
_DEEP: tuple[Predicate, ...] = ("in front of", "behind")


def held_out_pairs(vocabulary: Vocabulary) -> frozenset[tuple[str, str]]:
    """The (colour, shape) pairs that training never names: about a tenth of all.

    A pair is held out by the hash of its two words, unless its shape or its colour would be left with one
    partner, or it is one of `TAUGHT_PAIRS`.
    """
    return _find_pairs(vocabulary).held


class _Pairs(NamedTuple):
    held: frozenset[tuple[str, str]]
    """The (colour, shape) pairs that training never names."""
    colourable: tuple[str, ...]
    """The shapes that have a choice of colours in training, as far as the vocabulary has one."""


def _find_pairs(vocabulary: Vocabulary) -> _Pairs:
    return _sort_pairs(vocabulary.colour_names, vocabulary.shape_names, vocabulary.restricted_colours)


@cache
def _sort_pairs(
    colours: tuple[str, ...], shapes: tuple[str, ...], restricted: tuple[tuple[str, tuple[str, ...]], ...]
) -> _Pairs:
    def rank(pair: tuple[str, str]) -> int:
        return sha256(f"{_PAIR_SALT} {pair[0]} {pair[1]}".encode()).digest()[0]

    allowed = {shape: colours for shape in shapes} | dict(restricted)
    held: set[tuple[str, str]] = set()
    for pair in sorted(
        {(colour, shape) for shape, own in allowed.items() for colour in own} - TAUGHT_PAIRS,
        key=lambda pair: (rank(pair), pair),
    ):
        rivals = sum(colour == pair[0] for colour, _ in held), sum(shape == pair[1] for _, shape in held)
        if rank(pair) < 26 and rivals[0] + 2 < len(shapes) and rivals[1] + 2 < len(allowed[pair[1]]):
            held.add(pair)
    least = min(2, len(colours))
    colourable = [
        shape for shape, own in allowed.items() if sum((colour, shape) not in held for colour in own) >= least
    ]
    return _Pairs(frozenset(held), tuple(colourable))


def available_families(vocabulary: Vocabulary) -> tuple[Family, ...]:
    """The families of `FAMILIES` that have enough words in this vocabulary."""
    shapes, colours = len(vocabulary.shapes) > 1, len(vocabulary.colours) > 1
    looks = (len(vocabulary.patterns) > 1 and vocabulary.solids) or len(vocabulary.sizes) > 1
    colourable = len(_find_pairs(vocabulary).colourable) if colours else 0
    needs = {
        "two_object": shapes,
        "position": shapes,
        "depth": shapes,
        "colors": colourable > 0,
        "color_attr": colourable > 1,
        "patterns": bool(looks),
        "dense": shapes and colours,
    }
    return tuple(family for family in FAMILIES if needs.get(family, True))


def draw_graph(family: Family, rng: Random, vocabulary: Vocabulary, split: Split = "train") -> SceneGraph:
    """Draw a scene graph of `family`.

    With split "train" no group is one of `held_out_pairs`; with "heldout" about half of the graphs that name
    colours have one. An attribute with a single value in the vocabulary is never named.

    Raises:
        ValueError: the vocabulary has too few words for this family.
    """
    if family != "free" and family not in available_families(vocabulary):
        raise ValueError(
            f"family {family!r} needs more words; this vocabulary has {available_families(vocabulary)}"
        )
    return _Draw(rng, vocabulary, split).graph(family)


class _Draw:
    """Draws groups and relations from one vocabulary for one split."""

    def __init__(self, rng: Random, vocabulary: Vocabulary, split: Split) -> None:
        self.rng = rng
        self.vocabulary = vocabulary
        self.held, self.colourable = _find_pairs(vocabulary)
        # Whether a held-out pair must still be shown; the first coloured group does.
        self.due = split == "heldout" and bool(self.held) and rng.random() < HELD_OUT_PAIR_SHARE

    def graph(self, family: Family) -> SceneGraph:
        rng, vocabulary = self.rng, self.vocabulary
        match family:
            case "single_object":
                return SceneGraph(groups=(Group(shape=rng.choice(vocabulary.shape_names)),))
            case "two_object":
                return SceneGraph(groups=tuple(Group(shape=shape) for shape in self.shapes(2)))
            case "counting":
                return SceneGraph(
                    groups=(Group(shape=rng.choice(vocabulary.shape_names), count=rng.randint(2, 4)),)
                )
            case "colors":
                return SceneGraph(groups=(self.group(rng.choice(self.colourable)),))
            case "position" | "depth":
                groups = tuple(Group(shape=shape) for shape in self.shapes(2))
                predicate = rng.choice(_FLAT if family == "position" else _DEEP)
                return SceneGraph(
                    groups=groups, relations=(Relation(subject=0, predicate=predicate, object=1),)
                )
            case "color_attr":
                return SceneGraph(groups=self.two_coloured())
            case "patterns":
                return self.patterns()
            case "dense":
                return self.dense()
            case "free":
                return self.free()

    def shapes(self, count: int) -> list[str]:
        return self.rng.sample(self.vocabulary.shape_names, count)

    def group(
        self,
        shape: str,
        count: int = 1,
        looks: float = 0.0,
        not_colour: str | None = None,
        solid: bool = False,
    ) -> Group:
        """A coloured group of `shape`, or of a held-out pair when one is due (of a solid where it has to be).

        `looks` is the chance of a size and of a pattern. A thing that may not be coloured stays without.
        """
        rng = self.rng
        pairs = [(colour, shape) for colour in self.vocabulary.allowed_colours[shape] if colour != not_colour]
        pairs = [pair for pair in pairs if pair not in self.held]
        due = [pair for pair in self.held if pair[0] != not_colour] if self.due else []
        if due := [pair for pair in due if not solid or pair[1] in self.vocabulary.solids]:
            pairs = sorted([pair for pair in due if pair[1] == shape] or due)
            self.due = False
        colour: str | None = None
        if pairs:
            colour, shape = rng.choice(pairs)
        named = colour if len(self.vocabulary.colours) > 1 else None
        return Group(shape=shape, count=count, colour=named, **self.looks(looks, shape))

    def looks(self, chance: float, shape: str) -> dict[str, str]:
        """A size and a pattern, each with this chance, where vocabulary and shape have a choice of them."""
        found: dict[str, str] = {}
        if len(self.vocabulary.sizes) > 1 and self.rng.random() < chance:
            found["size"] = self.rng.choice(self.vocabulary.size_names)
        patterns = [name for name in self.vocabulary.pattern_names if name != "plain"]
        patterned = len(self.vocabulary.patterns) > 1 and shape in self.vocabulary.solids
        if patterned and self.rng.random() < chance:
            found["pattern"] = self.rng.choice(patterns)
        return found

    def two_coloured(self) -> tuple[Group, Group]:
        first = self.group(self.rng.choice(self.colourable))
        others = [shape for shape in self.colourable if shape != first.shape]
        second = self.group(self.rng.choice(others), not_colour=first.colour)
        return (first, second) if self.rng.random() < 0.5 else (second, first)

    def patterns(self) -> SceneGraph:
        """One or two things, each with a size or a pattern."""
        vocabulary = self.vocabulary
        several_sizes = len(vocabulary.sizes) > 1
        shapes = [name for name in vocabulary.shape_names if several_sizes or name in vocabulary.solids]
        groups: list[Group] = []
        for _ in range(min(len(shapes), self.rng.randint(1, 2))):
            used = {group.shape for group in groups}
            shape = self.rng.choice([name for name in shapes if name not in used])
            looks = self.looks(0.5, shape)
            while not looks:
                looks = self.looks(0.5, shape)
            coloured = self.due or self.rng.random() < 0.5
            group = self.group(shape, solid="pattern" in looks) if coloured else Group(shape=shape)
            groups.append(group.model_copy(update=looks))
        return SceneGraph(groups=tuple(groups))

    def dense(self) -> SceneGraph:
        """Three to five different coloured groups, two to four relations that agree, often a setting."""
        rng = self.rng
        groups = self.different(rng.choices((3, 4, 5), (5, 3, 2))[0], looks=0.3)
        relations = self.relations(len(groups), rng.randint(2, min(4, len(groups))))
        return SceneGraph(groups=groups, relations=relations, setting=self.setting(0.6))

    def free(self) -> SceneGraph:
        """One to three groups with any counts, attributes, relations and setting."""
        rng = self.rng
        groups = self.different(rng.randint(1, 3), looks=0.3, bare=0.25)
        relations = self.relations(len(groups), rng.randint(0, len(groups) - 1))
        return SceneGraph(groups=groups, relations=relations, setting=self.setting(0.3))

    def setting(self, chance: float) -> str | None:
        several = len(self.vocabulary.settings) > 1
        return (
            self.rng.choice(self.vocabulary.setting_names) if several and self.rng.random() < chance else None
        )

    def different(self, count: int, looks: float, bare: float = 0.0) -> tuple[Group, ...]:
        """Up to `count` groups that differ in shape or in colour, so that none is taken for another."""
        rng = self.rng
        groups: list[Group] = []
        room = MAX_THINGS
        for left in range(count - 1, -1, -1):
            # A small vocabulary may have no further group that differs: then there are fewer.
            for _ in range(8):
                number = min(rng.choices((1, 2, 3), (7, 2, 1))[0], room - left)
                group = self.group(rng.choice(self.vocabulary.shape_names), number, looks)
                if rng.random() < bare and not self.held & {(group.colour or "", group.shape)}:
                    group = group.model_copy(update={"colour": None})
                alike = [other for other in groups if other.shape == group.shape]
                if all(
                    None not in (other.colour, group.colour) and other.colour != group.colour
                    for other in alike
                ):
                    groups.append(group)
                    room -= group.count
                    break
        return tuple(groups)

    def relations(self, groups: int, count: int) -> tuple[Relation, ...]:
        """Relations between different pairs, all true of one hidden layout and so never contradictory."""
        rng = self.rng
        places = [(rng.random(), rng.random(), rng.random()) for _ in range(groups)]
        pairs = [(a, b) for a in range(groups) for b in range(a)]
        found: list[Relation] = []
        for pair in rng.sample(pairs, min(count, len(pairs))):
            first, second = pair if rng.random() < 0.5 else pair[::-1]
            axis = rng.randrange(3)
            less, more = _AXES[axis]
            predicate = less if places[first][axis] < places[second][axis] else more
            found.append(Relation(subject=first, predicate=predicate, object=second))
        return tuple(found)
