"""From a scene graph to a prompt, in many styles, and back to single clauses for whoever rewrites one.

`parsing.parse` reads every wording back to the same graph. This file knows words and their order; it does not
know which wording a painter understands, nor what a picture shows.
"""

import re
from functools import cache
from random import Random

from diorama.clumsy import HELD_OUT
from diorama.graph import Group, SceneGraph
from diorama.phrases import MANNERS, NUMBERS, OF_IT, ORDINALS, PATTERN_NOUNS, PLACES
from diorama.styles import TRAINING, Style
from diorama.telling import GRAMMAR, Telling, setting_phrases
from diorama.vocabulary import Vocabulary, load_vocabulary

TEXT_LENGTH = 39
"""Word tokens that the embedded painter reads besides its end token; a longer prompt is refused."""

STYLES: dict[str, Style] = {style.name: style for style in (*TRAINING, *HELD_OUT)}
TRAINING_STYLES: tuple[str, ...] = tuple(style.name for style in TRAINING)
HELD_OUT_STYLES: tuple[str, ...] = tuple(style.name for style in HELD_OUT)
EXPLICIT_STYLES: tuple[str, ...] = tuple(style.name for style in TRAINING if style.explicit)

_WORD = re.compile(r"[a-z0-9]+|[,.]")


def words(prompt: str) -> list[str]:
    """Lower-case words, and `,` and `.` as tokens of their own: what a word-level tokenizer sees."""
    return _WORD.findall(prompt.lower())


def say(graph: SceneGraph, style: str | None = None, rng: Random | None = None) -> str:
    """Word `graph` as a prompt.

    Args:
        graph: what to say; every graph can be said in every style.
        style: a name in `STYLES`; None draws a training style from `rng`, or takes "geneval" without one.
        rng: chooses among a style's alternatives and orders; without one, the canonical alternative is taken.

    Raises:
        ValueError: there is no such style.
    """
    if style is None:
        style = "geneval" if rng is None else rng.choice(TRAINING_STYLES)
    return Telling(graph, find_style(style), rng).prompt()


def say_group(group: Group, style: str = "geneval", rng: Random | None = None) -> str:
    """Name one group by itself: "a small red cube" (without a full stop)."""
    telling = Telling(SceneGraph(groups=(group,)), find_style(style), rng)
    return telling.introduce(0)


def say_relation(graph: SceneGraph, relation: int, style: str = "there_is", rng: Random | None = None) -> str:
    """Say relation `relation` of `graph` between groups named before: "the cube is left of the sphere"."""
    telling = Telling(graph, find_style(style), rng)
    telling.mention_all()
    return telling.relate(relation)


def say_setting(graph: SceneGraph) -> str:
    """The phrase for the graph's setting: "in a garden"; empty where the graph leaves it open."""
    return "" if graph.setting is None else setting_phrases()[graph.setting]


def find_style(name: str) -> Style:
    """The style of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in STYLES:
        raise ValueError(f"no style {name!r}; there are: {', '.join(STYLES)}")
    return STYLES[name]


@cache
def lexicon(vocabulary: Vocabulary | None = None) -> tuple[str, ...]:
    """Every word token that any style can say about `vocabulary` (None: the full one), and those of the other
    forms of its names that are read; sorted.
    """
    full = vocabulary or load_vocabulary()
    found: set[str] = set(words(GRAMMAR))
    for style in STYLES.values():
        for template in (*style.opener, *style.group, *style.relation, *style.setting, style.joiner):
            found.update(words(re.sub(r"\{\w+\}", " ", template)))
    for manner in MANNERS.values():
        found.update(words(" ".join(manner.values())))
    found.update(words(" ".join([*PLACES.values(), *(text for pair in OF_IT.values() for text in pair)])))
    found.update(words(" ".join([*NUMBERS, *ORDINALS, "1 2 3 4 5 6"])))
    for shape in full.shapes:
        found.update(words(" ".join(shape.forms)))
    for entry in (*full.colours, *full.patterns, *full.sizes):
        found.update(words(f"{entry.name} {PATTERN_NOUNS.get(entry.name, '')}"))
    for setting in full.settings:
        found.update(words(f"{setting.name} {setting.phrase}"))
    return tuple(sorted(found))
