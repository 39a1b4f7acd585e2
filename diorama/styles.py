"""Styles: the ways in which one scene can be said, and the table of those that training uses.

A style is data: how a thing is named, how a relation is said, how clauses are arranged. `wording` carries it
out. This file knows no scene and no parser.
"""

from dataclasses import dataclass
from typing import Literal

Noun = Literal[
    "adjectives",
    "shuffled",
    "that",
    "with",
    "in",
    "coloured",
    "enumerated",
    "counted",
    "repeated",
    "bare",
    "after",
    "of",
    "whose",
    "which",
]
Frame = Literal["line", "list", "steps", "story", "late"]


@dataclass(frozen=True, slots=True)
class Style:
    """One way of saying scenes.

    A relation template may use: `{a}` and `{b}` (subject and object, named in full at first and by "the ..."
    later), `{is_a} {is_b} {has_b}` (verbs that agree with them), `{rel}` and `{inv}` (relation and inverse in
    the style's manner), `{of_it}` (the relation to a `b` just named), `{place_a} {place_b}`. A group template
    may use `{groups}` (one or several names) and `{is}`. A setting template may use `{text}` and `{setting}`.
    Of several alternatives the first is the canonical one.
    """

    name: str
    summary: str
    held_out: bool = False
    explicit: bool = False
    frame: Frame = "line"
    noun: Noun = "adjectives"
    one: Literal["a", "one", ""] = "a"
    digits: bool = False
    aliases: bool = False
    full_recall: bool = False
    manners: tuple[str, ...] = ("short",)
    opener: tuple[str, ...] = ("",)
    group: tuple[str, ...] = ("{groups}",)
    relation: tuple[str, ...] = ("{a} {rel} {b}",)
    setting: tuple[str, ...] = ("{text} {setting}",)
    joiner: str = ", and "
    period: bool = True


_IS = "{a} {is_a} {rel} {b}"
THERE = "there {is} {groups}"
_LATER = ("{text}. the scene is {setting}", "{text}. the scene is set {setting}")

TRAINING: tuple[Style, ...] = (
    Style(
        "geneval",
        "the canonical caption: a photo of a red cube left of a blue sphere",
        opener=("a photo of ",),
        full_recall=True,
        period=False,
    ),
    Style(
        "plain",
        "one plain sentence with a full stop",
        manners=("to", "short"),
        setting=("{text}, {setting}",),
    ),
    Style(
        "terse",
        "names without articles: red cube, blue sphere",
        one="",
        digits=True,
        joiner=", ",
        period=False,
    ),
    Style(
        "there_is",
        "there is ... and ..., relations in sentences of their own",
        frame="list",
        group=(THERE,),
        relation=(_IS,),
        manners=("to", "short", "side"),
        setting=("{text}. the scene is {setting}", "{setting} {text}"),
    ),
    Style(
        "picture",
        "a picture with one of each, number words throughout",
        one="one",
        opener=("a picture of ", "a picture with ", "an image of "),
        manners=("side", "to"),
        setting=("{text}, set {setting}", "{text} {setting}"),
    ),
    Style(
        "digits",
        "counts as digits",
        digits=True,
        opener=("an image of ", "a drawing of ", ""),
        manners=("short", "to"),
        period=False,
    ),
    Style(
        "that",
        "attributes in relative clauses: a cube that is red",
        noun="that",
        opener=("", "a picture of "),
    ),
    Style(
        "with", "patterns after the noun: a red cube with stripes", noun="with", opener=("", "a photo of ")
    ),
    Style("in", "colours after the noun: a small cube in red", noun="in", opener=("a photo of ", "")),
    Style(
        "coloured",
        "a red coloured cube, in any order of adjectives",
        noun="coloured",
        manners=("side", "than"),
        setting=("{setting}, {text}", "{text} {setting}"),
    ),
    Style("shuffled", "adjectives in any order", noun="shuffled", opener=("", "a photo of ")),
    Style(
        "aliases",
        "other nouns for the shapes: ball, block, ring",
        aliases=True,
        opener=("a photo of ", "", "please draw "),
        manners=("to", "short"),
    ),
    Style(
        "copula",
        "a full clause: a red cube is to the left of a blue sphere",
        group=(THERE,),
        relation=(_IS, "{a} {stands_a} {rel} {b}"),
        manners=("to", "than", "short"),
        setting=("{setting}, {text}", "{text} {setting}"),
    ),
    Style(
        "has",
        "the object first: a blue sphere has a red cube on its left",
        group=(THERE,),
        relation=("{b} {has_b} {a} {of_it}", "{b} with {a} {of_it}"),
        joiner=". ",
        setting=_LATER,
    ),
    Style(
        "fronted",
        "the place first: left of a blue sphere is a red cube",
        group=(THERE,),
        relation=("{rel} {b} {is_a} {a}", "{rel} {b} there {is_a} {a}"),
        manners=("to", "short"),
        joiner=". ",
        setting=("{text} {setting}", *_LATER),
    ),
    Style(
        "polite",
        "a wish: I would like to see a picture of ...",
        frame="list",
        opener=("I would like to see ", "please draw ", "I would like a picture of ", "show me "),
        relation=(_IS, "{a} should be {rel} {b}"),
        manners=("short", "to"),
        setting=("{text}, {setting}, please", "{text}, please. the scene is {setting}"),
    ),
    Style(
        "story",
        "one sentence after another, as dense captions are written",
        frame="story",
        full_recall=True,
        group=(THERE, "we see {groups}"),
        relation=("{rel} {b} there {is_a} {a}", "{rel} {b} {is_a} {a}", _IS),
        manners=("to", "short"),
        setting=("{setting}, {text}", "{setting} {text}"),
    ),
    Style(
        "described",
        "the scene first, then its things",
        frame="list",
        group=("it shows {groups}", "we see {groups}"),
        relation=(_IS,),
        manners=("to", "side"),
        setting=("the scene is set {setting}. {text}",),
    ),
    Style(
        "enumerated",
        "counts spelled out: a red cube, another red cube and a third red cube",
        explicit=True,
        noun="enumerated",
        full_recall=True,
        joiner=". ",
        relation=(_IS, "{a} {rel} {b}"),
    ),
    Style(
        "counted",
        "counts said twice: exactly 3 red cubes, three in all",
        explicit=True,
        noun="counted",
        one="one",
        digits=True,
        full_recall=True,
        frame="list",
        relation=(_IS,),
    ),
    Style(
        "repeated",
        "attributes said twice: a red cube, the cube is red",
        explicit=True,
        noun="repeated",
        frame="list",
        relation=(_IS,),
    ),
    Style(
        "one_per_sentence",
        "one sentence for each thing and each relation",
        explicit=True,
        frame="steps",
        full_recall=True,
        group=(THERE,),
        relation=(_IS,),
        setting=_LATER,
    ),
    Style(
        "left_right",
        "places in the picture: on the left a red cube, on the right a blue sphere",
        explicit=True,
        full_recall=True,
        group=(THERE,),
        relation=("{place_a} {a}, {place_b} {b}", "{a} {place_a} and {b} {place_b}"),
        joiner=". ",
        setting=_LATER,
    ),
    Style(
        "inverse",
        "every relation from its other end: a blue sphere right of a red cube",
        explicit=True,
        full_recall=True,
        opener=("a photo of ", ""),
        relation=("{b} {inv} {a}",),
        manners=("short", "to"),
    ),
)
