"""Figures over pictures whose truth is written down here."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from diorama.truth import Seen
from models.embedded.training.accuracy import Accuracy, score_perceptions
from models.perception import DetectedThing, Perception

LEFT = Seen("apple", "red", "plain", "large", (0.1, 0.5, 0.3, 0.7), 8.0)
RIGHT = Seen("bench", "brown", "plain", "large", (0.6, 0.5, 0.8, 0.7), 8.0)


def said(things: Sequence[Seen]) -> Perception:
    found = tuple(DetectedThing(**asdict(thing), attribute_confidence={}) for thing in things)
    return Perception(things=found, setting="studio", setting_confidence=1.0)


def test_counts_positions_and_classes_of_a_perfect_report() -> None:
    figures = score_perceptions([said([LEFT, RIGHT])], [[LEFT, RIGHT]])
    assert figures.relations == 2, "left of, and right of the other way round"
    assert figures.headline["position"] == figures.headline["count"] == 1
    assert figures.classes() == {"apple": (1.0, 1), "bench": (1.0, 1)}


def test_a_relation_that_the_report_does_not_show_is_wrong() -> None:
    one = replace(LEFT, box=(0.40, 0.2, 0.60, 0.4))
    other = replace(RIGHT, box=(0.55, 0.2, 0.75, 0.4))
    # Both boxes are near enough to count as found, and too near to each other for left and right.
    nearer = [replace(one, box=(0.44, 0.2, 0.64, 0.4)), replace(other, box=(0.51, 0.2, 0.71, 0.4))]
    figures = score_perceptions([said(nearer)], [[one, other]])
    assert figures.found == 2 and figures.relations == 2
    assert figures.headline["position"] == 0
    assert score_perceptions([said([one])], [[one, other]]).headline["count"] == 0


def test_confusions_and_classes_add_up_over_sets_of_pictures() -> None:
    wrong = score_perceptions([said([replace(LEFT, shape="bench", colour="blue")])], [[LEFT]])
    right = score_perceptions([said([LEFT])], [[LEFT]])
    total = Accuracy()
    for figures in (wrong, right, right):
        total.add(figures)
    assert total.pictures == 3
    assert total.classes() == {"apple": (2 / 3, 3)}
    assert set(total.confusions()) == {("shape", "apple", "bench", 1), ("colour", "red", "blue", 1)}
    assert total.confusions(attribute="shape") == [("shape", "apple", "bench", 1)]
