"""How well a perception model reads pictures whose truth is known: per attribute, per picture, and who is
taken for whom.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diorama.graph import Predicate
from diorama.truth import CLEAR_POSITION, Seen, relation_margin
from models.embedded.perception import ATTRIBUTES
from models.perception import DetectedThing, Perception

POSITIONS: tuple[Predicate, ...] = ("left of", "right of", "above", "below")


@dataclass
class Accuracy:
    """Counts over pictures. Attribute accuracies are over the things found (IoU at least one half)."""

    pictures: int = 0
    exact: int = 0
    """Pictures in which every thing was found with all attributes right, and nothing else was."""
    counted: int = 0
    """Pictures in which the number of things was right."""
    things: int = 0
    found: int = 0
    surplus: int = 0
    iou: float = 0.0
    distance_error: float = 0.0
    named: Counter[str] = field(default_factory=Counter[str])
    """Found things whose attribute has a word: a natural look may have no colour."""
    right: Counter[str] = field(default_factory=Counter[str])
    confusion: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    """(attribute, true word, word said) of the wrong ones."""
    shown: Counter[str] = field(default_factory=Counter[str])
    """Found things by their true class."""
    relations: int = 0
    """Positions (left of, above, ...) that clearly hold between two things that were both found."""
    related: int = 0
    """Those of them that hold between the reported things too."""

    @property
    def headline(self) -> dict[str, float]:
        """The figures of a card, each between 0 and 1 (distance_error in world units)."""
        found = max(1, self.found)
        return {
            "recall": self.found / max(1, self.things),
            "precision": self.found / max(1, self.found + self.surplus),
            **{name: self.right[name] / max(1, self.named[name]) for name in ATTRIBUTES},
            "count": self.counted / max(1, self.pictures),
            "position": self.related / max(1, self.relations),
            "whole_scene": self.exact / max(1, self.pictures),
            "iou": self.iou / found,
            "distance_error": self.distance_error / found,
        }

    def add(self, other: "Accuracy") -> None:
        """Count another set of pictures in."""
        for item in fields(self):  # numbers and counters alike
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def confusions(self, most: int = 10, attribute: str | None = None) -> list[tuple[str, str, str, int]]:
        """The commonest errors (of one attribute): attribute, true word, word said, how often."""
        chosen = Counter({key: n for key, n in self.confusion.items() if attribute in (None, key[0])})
        return [(*key, number) for key, number in chosen.most_common(most)]

    def classes(self) -> dict[str, tuple[float, int]]:
        """Per class the share of its found things that were given its name, and how many were found; the
        worst first.
        """
        wrong = Counter[str]()
        for (attribute, true, _), number in self.confusion.items():
            wrong[true] += number * (attribute == "shape")
        rows = {name: ((number - wrong[name]) / number, number) for name, number in self.shown.items()}
        return dict(sorted(rows.items(), key=lambda row: (row[1][0], row[0])))


def score_perceptions(perceptions: Sequence[Perception], truths: Sequence[Sequence[Seen]]) -> Accuracy:
    """Compare reports with what the pictures truly show."""
    total = Accuracy()
    for perception, truth in zip(perceptions, truths, strict=True):
        _score_picture(total, perception.things, truth)
    return total


def find_things(
    things: Sequence[DetectedThing], truth: Sequence[Seen]
) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """(index of a true thing, index of the report of it), each once, and all overlaps (IoU) of the two kinds.

    They are paired so that they overlap most in all; a pair overlaps by one half at least.
    """
    overlaps = np.array([[_iou(thing.box, seen.box) for thing in things] for seen in truth]).reshape(
        len(truth), len(things)
    )
    rows, columns = linear_sum_assignment(-overlaps)
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if overlaps[i, j] >= 0.5]
    return pairs, overlaps


def _score_picture(total: Accuracy, things: Sequence[DetectedThing], truth: Sequence[Seen]) -> None:
    pairs, overlaps = find_things(things, truth)
    wholly = len(pairs) == len(truth) == len(things)
    total.pictures += 1
    total.counted += len(truth) == len(things)
    total.things += len(truth)
    total.found += len(pairs)
    total.surplus += len(things) - len(pairs)
    for i, j in pairs:
        total.iou += float(overlaps[i, j])
        total.shown[truth[i].shape] += 1
        total.distance_error += abs(truth[i].distance - things[j].distance)
        for name in ATTRIBUTES:
            true, said = getattr(truth[i], name), getattr(things[j], name)
            if true is None:
                continue
            total.named[name] += 1
            total.right[name] += true == said
            if true != said:
                total.confusion[name, true, said] += 1
                wholly = False
    total.exact += wholly
    _score_relations(total, [(truth[i], Seen.of(things[j])) for i, j in pairs])


def _score_relations(total: Accuracy, found: Sequence[tuple[Seen, Seen]]) -> None:
    """Count the positions of every ordered pair that are clear in truth, so that no one could differ."""
    for (a, said_a), (b, said_b) in permutations(found, 2):
        for predicate in POSITIONS:
            if relation_margin(a, predicate, b) >= CLEAR_POSITION:
                total.relations += 1
                total.related += relation_margin(said_a, predicate, said_b) > 0


def _iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter + 1e-9)
