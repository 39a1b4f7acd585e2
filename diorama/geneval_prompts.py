"""GenEval's 553 prompts, drawn anew as its authors drew them: the same seed, templates and order of draws.

The format and the templates are facts of GenEval (Ghosh et al. 2023, github.com/djghosh13/geneval); a digest
in the tests holds the result against the official `evaluation_metadata.jsonl`. Knows no pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256

import numpy as np
from pydantic import BaseModel, ConfigDict

from diorama.draws import GENEVAL_FAMILIES, Family
from diorama.graph import Group, Predicate, Relation, SceneGraph
from diorama.phrases import NUMBERS, with_article
from diorama.vocabulary import Shape, load_vocabulary

SEED = 43
DRAWS = 100
"""Draws of every tag but the first, which takes each name once; what is drawn twice is kept once."""

_NAMES, _COLOURS = 80, 10
"""GenEval's names are our first ones that are no solids, its colours our first: words are only appended."""
_RELATIONS: tuple[Predicate, ...] = ("left of", "right of", "above", "below")
_MOST = 4


class GenEvalPrompt(BaseModel):
    """A prompt of GenEval with its tag and the graph that it says."""

    model_config = ConfigDict(frozen=True)

    tag: Family
    prompt: str
    graph: SceneGraph

    @property
    def id(self) -> str:
        """A stable name without a dot."""
        return f"geneval-{self.tag}-{sha256(self.prompt.encode()).hexdigest()[:12]}"


@cache
def geneval_prompts() -> tuple[GenEvalPrompt, ...]:
    """All of GenEval's prompts in its order: the line number is the official folder's name."""
    rng = np.random.default_rng(SEED)
    drawn = [prompt for tag in GENEVAL_FAMILIES for prompt in _DRAWS[tag](rng)]
    return tuple(dict.fromkeys(drawn))


def _names() -> tuple[Shape, ...]:
    """The classes that GenEval names, in its order."""
    return tuple(shape for shape in load_vocabulary().shapes if shape.kind != "solid")[:_NAMES]


def _colourable() -> tuple[str, ...]:
    """The names that GenEval asks for in a colour."""
    return tuple(shape.name for shape in _names() if shape.name != "person")


def _pick(rng: np.random.Generator, entries: Sequence[str]) -> str:
    return entries[int(rng.choice(len(entries)))]


def _pick_different(rng: np.random.Generator, entries: Sequence[str], count: int) -> list[str]:
    return [entries[int(index)] for index in rng.choice(len(entries), size=count, replace=False)]


def _prompt(tag: Family, text: str, *groups: Group, relations: tuple[Relation, ...] = ()) -> GenEvalPrompt:
    graph = SceneGraph(groups=groups, relations=relations)
    return GenEvalPrompt(tag=tag, prompt=f"a photo of {text}", graph=graph)


def _draw_single(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names = [shape.name for shape in _names()]
    for name in _pick_different(rng, names, len(names)):
        yield _prompt("single_object", with_article(name), Group(shape=name))


def _draw_two(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names = [shape.name for shape in _names()]
    for _ in range(DRAWS):
        a, b = _pick_different(rng, names, 2)
        text = f"{with_article(a)} and {with_article(b)}"
        yield _prompt("two_object", text, Group(shape=a), Group(shape=b))


def _draw_counting(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names = _names()
    for _ in range(DRAWS):
        shape = names[int(rng.choice(len(names)))]
        count = int(rng.integers(2, _MOST, endpoint=True))
        text = f"{NUMBERS[count - 1]} {shape.naive_plural}"
        yield _prompt("counting", text, Group(shape=shape.name, count=count))


def _draw_colours(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names, colours = _colourable(), load_vocabulary().colour_names[:_COLOURS]
    for _ in range(DRAWS):
        name, colour = _pick(rng, names), _pick(rng, colours)
        yield _prompt("colors", f"{with_article(colour)} {name}", Group(shape=name, colour=colour))


def _draw_positions(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names = [shape.name for shape in _names()]
    for _ in range(DRAWS):
        a, b = _pick_different(rng, names, 2)
        predicate = _RELATIONS[int(rng.choice(len(_RELATIONS)))]
        text = f"{with_article(a)} {predicate} {with_article(b)}"
        relation = Relation(subject=0, predicate=predicate, object=1)
        yield _prompt("position", text, Group(shape=a), Group(shape=b), relations=(relation,))


def _draw_attribution(rng: np.random.Generator) -> Iterator[GenEvalPrompt]:
    names, colours = _colourable(), load_vocabulary().colour_names[:_COLOURS]
    for _ in range(DRAWS):
        a, b = _pick_different(rng, names, 2)
        c, d = _pick_different(rng, colours, 2)
        text = f"{with_article(c)} {a} and {with_article(d)} {b}"
        yield _prompt("color_attr", text, Group(shape=a, colour=c), Group(shape=b, colour=d))


_DRAWS: dict[Family, Callable[[np.random.Generator], Iterator[GenEvalPrompt]]] = {
    "single_object": _draw_single,
    "two_object": _draw_two,
    "counting": _draw_counting,
    "colors": _draw_colours,
    "position": _draw_positions,
    "color_attr": _draw_attribution,
}
