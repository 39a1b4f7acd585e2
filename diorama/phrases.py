"""Words for numbers, patterns, relations and places, shared by who says them and who reads them."""

from diorama.graph import Predicate

NUMBERS = ("one", "two", "three", "four", "five", "six")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")

PATTERN_NOUNS: dict[str, str] = {"striped": "stripes", "checkered": "checks", "dotted": "dots"}
"""What a thing with a pattern has: a cube with stripes."""

MANNERS: dict[str, dict[Predicate, str]] = {
    "short": {
        "left of": "left of",
        "right of": "right of",
        "above": "above",
        "below": "below",
        "in front of": "in front of",
        "behind": "behind",
    },
    "to": {
        "left of": "to the left of",
        "right of": "to the right of",
        "above": "above",
        "below": "below",
        "in front of": "in front of",
        "behind": "behind",
    },
    "side": {
        "left of": "on the left side of",
        "right of": "on the right side of",
        "above": "over",
        "below": "under",
        "in front of": "in front of",
        "behind": "behind",
    },
    "than": {
        "left of": "further left than",
        "right of": "further right than",
        "above": "higher than",
        "below": "lower than",
        "in front of": "closer than",
        "behind": "further away than",
    },
}
"""Words for each relation, by manner."""

OF_IT: dict[Predicate, tuple[str, str]] = {
    "left of": ("on its left", "on their left"),
    "right of": ("on its right", "on their right"),
    "above": ("above it", "above them"),
    "below": ("below it", "below them"),
    "in front of": ("in front of it", "in front of them"),
    "behind": ("behind it", "behind them"),
}
"""The relation to a thing just named: (one thing, several things)."""

PLACES: dict[Predicate, str] = {
    "left of": "on the left",
    "right of": "on the right",
    "above": "at the top",
    "below": "at the bottom",
    "in front of": "in the foreground",
    "behind": "in the background",
}
"""Where in the picture the subject of a relation is; its object is at the place of the inverse."""


def with_article(text: str) -> str:
    """The text after "a" or "an"."""
    return f"an {text}" if text[0] in "aeiou" else f"a {text}"
