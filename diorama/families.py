"""Prompt families: cases of each, and their rows in the official formats of GenEval and DPG-Bench.

Six families follow GenEval's tags over our vocabulary, with depth, patterns and dense scenes beside them.
This file knows neither painters nor scores.
"""

from collections.abc import Sequence
from hashlib import sha256
from random import Random

from pydantic import BaseModel, ConfigDict

from diorama.draws import (
    FAMILIES,
    GENEVAL_FAMILIES,
    HARD_FAMILIES,
    HELD_OUT_PAIR_SHARE,
    TRAINING_FAMILIES,
    Family,
    Split,
    available_families,
    draw_graph,
    held_out_pairs,
)
from diorama.geneval_prompts import geneval_prompts
from diorama.graph import Group, SceneGraph
from diorama.phrases import with_article
from diorama.vocabulary import Vocabulary
from diorama.wording import HELD_OUT_STYLES, TEXT_LENGTH, TRAINING_STYLES, say, words

__all__ = [
    "FAMILIES",
    "GENEVAL_FAMILIES",
    "HARD_FAMILIES",
    "HELD_OUT_PAIR_SHARE",
    "HELD_OUT_STYLE_SHARE",
    "TRAINING_FAMILIES",
    "Case",
    "Family",
    "Split",
    "available_families",
    "cases",
    "dpg_rows",
    "draw_case",
    "draw_graph",
    "geneval_cases",
    "geneval_metadata",
    "held_out_pairs",
    "word",
]

HELD_OUT_STYLE_SHARE = 0.7
"""Share of held-out cases of the hard families that are worded in a held-out style."""

_TRIES = 1000
"""Draws without a new prompt after which a family counts as exhausted."""


class Case(BaseModel):
    """One prompt of a test or training set, with the graph that it says. `id` is stable and has no dot."""

    model_config = ConfigDict(frozen=True)

    id: str
    family: Family
    split: Split
    prompt: str
    graph: SceneGraph
    style: str


def draw_case(
    family: Family, split: Split, rng: Random, vocabulary: Vocabulary, wordings: Split | None = None
) -> Case:
    """Draw a graph and word it, as the prompts of `wordings` are worded (None: those of its own split).

    Graphs are drawn again while their prompt is longer than `TEXT_LENGTH` words: a prompt that the painter
    cannot read to its end would measure that limit and nothing else.
    """
    clumsy = (
        (wordings or split) == "heldout" and family in HARD_FAMILIES and rng.random() < HELD_OUT_STYLE_SHARE
    )
    styles = HELD_OUT_STYLES if clumsy else TRAINING_STYLES
    while True:
        graph = draw_graph(family, rng, vocabulary, split)
        style, prompt = word(graph, rng, styles)
        if len(words(prompt)) <= TEXT_LENGTH:
            break
    identity = f"{family}-{sha256(f'{family} {split} {prompt}'.encode()).hexdigest()[:12]}"
    return Case(id=identity, family=family, split=split, prompt=prompt, graph=graph, style=style)


def word(graph: SceneGraph, rng: Random, styles: Sequence[str], tries: int = 6) -> tuple[str, str]:
    """(style, prompt): the first draw of `styles` that the painter can read whole, or else the shortest."""
    shortest: tuple[int, str, str] | None = None
    for _ in range(tries):
        style = rng.choice(styles)
        prompt = say(graph, style, rng)
        # A word is longer than two characters with its space, so most prompts need no counting.
        length = len(words(prompt)) if len(prompt) > 2 * TEXT_LENGTH else 0
        if length <= TEXT_LENGTH:
            return style, prompt
        if shortest is None or length < shortest[0]:
            shortest = length, style, prompt
    assert shortest is not None
    return shortest[1], shortest[2]


def cases(
    split: Split,
    families: Sequence[Family],
    count: int,
    seed: int,
    vocabulary: Vocabulary,
    wordings: Split | None = None,
) -> list[Case]:
    """`count` cases of each family, no prompt twice; `wordings` as for `draw_case`.

    Raises:
        ValueError: a family has not that many different prompts in this vocabulary.
    """
    found: list[Case] = []
    for family in families:
        rng = Random(f"{seed}/{split}/{family}")
        prompts: dict[str, Case] = {}
        in_vain = 0
        while len(prompts) < count and in_vain < _TRIES:
            case = draw_case(family, split, rng, vocabulary, wordings)
            in_vain = in_vain + 1 if case.prompt in prompts else 0
            prompts.setdefault(case.prompt, case)
        if len(prompts) < count:
            raise ValueError(
                f"family {family!r} yields {len(prompts)} different prompts, not {count}: ask for fewer"
            )
        found += prompts.values()
    return found


def geneval_cases(vocabulary: Vocabulary) -> list[Case]:
    """GenEval's own prompts as cases, in its order: all 553, or those that `vocabulary` has the words for.

    A case's family is its tag. `geneval_metadata` gives its line of the official file.
    """
    return [
        Case(
            id=drawn.id,
            family=drawn.tag,
            split="heldout",
            prompt=drawn.prompt,
            graph=drawn.graph,
            style="geneval",
        )
        for drawn in geneval_prompts()
        if all(
            group.shape in vocabulary.shape_names
            and group.colour in (None, *vocabulary.allowed_colours[group.shape])
            for group in drawn.graph.groups
        )
    ]


def geneval_metadata(case: Case) -> dict[str, object]:
    """The case as a line of GenEval's `evaluation_metadata.jsonl`.

    As in GenEval, only counting excludes, and the target of a position comes first in `include`. "depth" is
    our tag, with our two relations.

    Raises:
        ValueError: the graph says what the format cannot hold.
    """
    graph = case.graph
    limits = {
        "a setting": graph.setting is not None,
        "patterns or sizes": any(group.pattern or group.size for group in graph.groups),
        "more than two groups": len(graph.groups) > 2,
        "several relations": len(graph.relations) > 1,
        "one class twice": len({group.shape for group in graph.groups}) < len(graph.groups),
    }
    if beyond := [name for name, present in limits.items() if present]:
        raise ValueError(
            f"GenEval's format cannot hold {', '.join(beyond)} of case {case.id!r}; use dpg_rows"
        )
    clauses = [_clause(group) for group in graph.groups]
    for relation in graph.relations:
        placed = {**clauses[relation.subject], "position": [relation.predicate, 0]}
        clauses = [clauses[relation.object], placed]
    found: dict[str, object] = {"tag": case.family, "include": clauses, "prompt": case.prompt}
    if case.family == "counting":
        found["exclude"] = [{"class": group.shape, "count": group.count + 1} for group in graph.groups]
    return found


def _clause(group: Group) -> dict[str, object]:
    clause: dict[str, object] = {"class": group.shape, "count": group.count}
    return clause if group.colour is None else {**clause, "color": group.colour}


_DPG_DETAILS = {"colour": "color", "pattern": "texture", "size": "size"}


def dpg_rows(case: Case) -> list[dict[str, str]]:
    """The case as rows of `dpg_bench.csv`, one for each question, parents before children.

    Categories and tuples are those of DPG-Bench: entity - whole, attribute - color | texture | size, relation
    - spatial, other - count, global. `keywords` holds the family.
    """
    rows: list[dict[str, str]] = []

    def ask(parents: Sequence[int], kind: str, content: str, question: str) -> int:
        broad, _, detailed = kind.partition(" - ")
        rows.append(
            {
                "item_id": case.id,
                "text": case.prompt,
                "keywords": case.family,
                "proposition_id": str(len(rows) + 1),
                "dependency": ",".join(map(str, parents)) or "0",
                "category_broad": broad,
                "category_detailed": detailed or broad,
                "tuple": f"{broad} - {detailed} ({content})" if detailed else f"{broad} - ({content})",
                "question_natural_language": question,
            }
        )
        return len(rows)

    graph = case.graph
    names = [_name(graph, index) for index in range(len(graph.groups))]
    entities: list[int] = []
    for group, name in zip(graph.groups, names, strict=True):
        entities.append(ask([], "entity - whole", name, f"Is there {with_article(name)}?"))
        if group.count > 1:
            question = f"Are there exactly {group.count} things that are {with_article(name)}?"
            ask([entities[-1]], "other - count", f"{name}, =={group.count}", question)
        for attribute, detail in _DPG_DETAILS.items():
            if value := getattr(group, attribute):
                article = "the" if group.count == 1 else "every"
                question = f"Is {article} {name} {value}?"
                ask([entities[-1]], f"attribute - {detail}", f"{name}, {value}", question)
    for relation in graph.relations:
        subject, other = relation.subject, relation.object
        content = f"{names[subject]}, {names[other]}, {relation.predicate}"
        question = f"Is the {names[subject]} {relation.predicate} the {names[other]}?"
        ask([entities[subject], entities[other]], "relation - spatial", content, question)
    if graph.setting is not None:
        ask([], "global", graph.setting, f"Is the setting of the picture: {graph.setting}?")
    return rows


def _name(graph: SceneGraph, index: int) -> str:
    """The shape, with the colour where another group has the same shape."""
    group = graph.groups[index]
    alone = sum(other.shape == group.shape for other in graph.groups) == 1
    return group.shape if alone or group.colour is None else f"{group.colour} {group.shape}"
