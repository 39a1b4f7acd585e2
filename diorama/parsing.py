"""From a prompt to a scene graph, with the exact span of every part: the inverse of `wording`.

It reads every wording of every style back to the same graph. It never guesses: unknown words and words that
make no scene are errors that name them. It knows nothing about pictures.
"""

from collections.abc import Hashable, Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import permutations, product
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

from diorama.drafts import Interval, Mark, Part, SceneDraft, Sentence
from diorama.graph import INVERSE, MAX_THINGS, Group, Predicate, Relation, SceneGraph
from diorama.homonyms import homonyms, settle
from diorama.lexemes import UnknownWords, Unparsable, lex
from diorama.reading import read
from diorama.vocabulary import Vocabulary, load_vocabulary

__all__ = [
    "GroupSpans",
    "Parsed",
    "ParsedSentence",
    "Span",
    "Spans",
    "UnknownWords",
    "Unparsable",
    "canonical",
    "parse",
]


class Span(BaseModel):
    """`prompt[start:end]`."""

    model_config = ConfigDict(frozen=True)

    start: int
    end: int


class GroupSpans(BaseModel):
    """Where a group's parts are said; a part that is said twice has two spans, an open one has none."""

    model_config = ConfigDict(frozen=True)

    count: tuple[Span, ...] = ()
    colour: tuple[Span, ...] = ()
    pattern: tuple[Span, ...] = ()
    size: tuple[Span, ...] = ()
    shape: tuple[Span, ...] = ()

    def part(self, part: Part) -> tuple[Span, ...]:
        """The spans of one part."""
        return getattr(self, part)


class Spans(BaseModel):
    """Where everything is said, by index into the graph's groups and relations."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[GroupSpans, ...]
    relations: tuple[tuple[Span, ...], ...]
    setting: tuple[Span, ...] = ()


class ParsedSentence(BaseModel):
    """A piece of the prompt that says one thing: `prompt[start:end] == text`."""

    model_config = ConfigDict(frozen=True)

    text: str
    start: int
    end: int
    kind: Literal["object", "relation", "background"]
    groups: tuple[int, ...] = ()
    relations: tuple[int, ...] = ()


class Parsed(BaseModel):
    """A prompt understood. `sentences` are in order and do not overlap; fillers belong to none."""

    model_config = ConfigDict(frozen=True)

    graph: SceneGraph
    sentences: tuple[ParsedSentence, ...]
    spans: Spans


def parse(prompt: str, vocabulary: Vocabulary | None = None) -> Parsed:
    """Read `prompt` in the words of `vocabulary` (None: the full one).

    Groups come in the order in which they are first named. A sentence that says several things is cut into
    the pieces that say one each.

    Raises:
        UnknownWords: words that the world does not know; all of them are named.
        Unparsable: known words that make no scene, a contradiction, a colour or pattern that a thing cannot
            have, or more than six things.
    """
    vocabulary = load_vocabulary() if vocabulary is None else vocabulary
    key = cast(Hashable, cast(object, vocabulary))
    scene = read(prompt, settle(lex(prompt, vocabulary), homonyms(key)))
    graph = SceneGraph(
        groups=_groups(scene, vocabulary),
        relations=tuple(Relation(subject=a, predicate=name, object=b) for a, name, b in scene.relations),
        setting=scene.setting,
    )
    _check_order(scene)
    spans = Spans(
        groups=tuple(
            GroupSpans(**{part: _spans(found) for part, found in draft.spans.items()})
            for draft in scene.groups
        ),
        relations=tuple(map(_spans, scene.relation_spans)),
        setting=_spans(scene.setting_spans),
    )
    sentences = [piece for sentence in scene.sentences for piece in _pieces(prompt, sentence)]
    return Parsed(graph=graph, sentences=tuple(sentences), spans=spans)


def canonical(graph: SceneGraph) -> SceneGraph:
    """One form for all graphs that mean the same.

    Equal groups in no relation are merged, relations are turned to "left of", "above" and "in front of",
    groups and relations are sorted.
    """
    related = {end for relation in graph.relations for end in (relation.subject, relation.object)}
    relations = {_turned(relation) for relation in graph.relations}
    merged: dict[tuple[str, ...], int] = {}
    nodes: list[tuple[tuple[str, ...], int, int | None]] = []
    for index, group in enumerate(graph.groups):
        key = _key(group)
        if index in related:
            nodes.append((key, group.count, index))
        else:
            merged[key] = merged.get(key, 0) + group.count
    nodes += [(key, count, None) for key, count in merged.items()]
    alike: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for position, (key, count, _) in enumerate(nodes):
        alike.setdefault((key, count), []).append(position)
    # Groups that look the same differ by their relations alone: take the order that sorts these first.
    orders = [sum(order, ()) for order in product(*(permutations(alike[look]) for look in sorted(alike)))]
    relations_sorted, order = min((_renumbered(order, nodes, relations), order) for order in orders)
    groups = tuple(
        Group(
            **{name: value for name, value in zip(_FIELDS, nodes[position][0], strict=True) if value},
            count=nodes[position][1],
        )
        for position in order
    )
    return SceneGraph(
        groups=groups,
        relations=tuple(Relation(subject=a, predicate=name, object=b) for a, name, b in relations_sorted),
        setting=graph.setting,
    )


_FIELDS = ("shape", "colour", "pattern", "size")
_FORWARD: tuple[Predicate, ...] = ("left of", "above", "in front of")


def _key(group: Group) -> tuple[str, ...]:
    return tuple(getattr(group, name) or "" for name in _FIELDS)


def _turned(relation: Relation) -> tuple[int, Predicate, int]:
    if relation.predicate in _FORWARD:
        return relation.subject, relation.predicate, relation.object
    return relation.object, INVERSE[relation.predicate], relation.subject


def _renumbered(
    order: tuple[int, ...],
    nodes: list[tuple[tuple[str, ...], int, int | None]],
    relations: set[tuple[int, Predicate, int]],
) -> list[tuple[int, Predicate, int]]:
    places = {nodes[position][2]: place for place, position in enumerate(order)}
    return sorted((places[a], name, places[b]) for a, name, b in relations)


def _groups(scene: SceneDraft, vocabulary: Vocabulary) -> tuple[Group, ...]:
    if not scene.groups:
        scene.refuse("it names no thing")
    groups: list[Group] = []
    for index, draft in enumerate(scene.groups):
        if draft.count is None:
            scene.refuse(f"how many of {scene.name(index)!r}? say one to six")
        if not 1 <= draft.count <= MAX_THINGS:
            scene.refuse(f"a scene shows one to six things, not {draft.count}")
        if (why := vocabulary.objection(draft.shape, draft.attributes)) is not None:
            scene.refuse(why)
        groups.append(Group(shape=draft.shape, count=draft.count, **draft.attributes))
    total = sum(group.count for group in groups)
    if total > MAX_THINGS:
        scene.refuse(f"a scene shows at most {MAX_THINGS} things, this one has {total}")
    if wrong := [said for said in scene.totals if said != total]:
        scene.refuse(f"it speaks of {wrong[0]} in all but names {total}")
    return tuple(groups)


def _check_order(scene: SceneDraft) -> None:
    """Refuse circles: left of what is left of it."""
    for forward in _FORWARD:
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for a, name, b in scene.relations:
            if name == forward:
                sorter.add(a, b)
            elif name == INVERSE[forward]:
                sorter.add(b, a)
        try:
            sorter.prepare()
        except CycleError as error:
            names = ", ".join(f"the {scene.name(index)}" for index in error.args[1][:-1])
            scene.refuse(f"{names}: each cannot be {forward} the next")


def _spans(intervals: Iterable[Interval]) -> tuple[Span, ...]:
    return tuple(Span(start=start, end=end) for start, end in intervals)


def _pieces(prompt: str, sentence: Sentence) -> list[ParsedSentence]:
    """The sentence as one piece where it says one thing, else its parts."""
    marks = [mark for mark in sentence.marks if mark.kind != "reference"]
    if len(marks) == 1:
        return [_piece(prompt, marks[0], sentence.start, sentence.end)]
    return [_piece(prompt, mark, mark.start, mark.end) for mark in marks]


def _piece(prompt: str, mark: Mark, start: int, end: int) -> ParsedSentence:
    return ParsedSentence(
        text=prompt[start:end],
        start=start,
        end=end,
        kind="object" if mark.kind == "reference" else mark.kind,
        groups=tuple(mark.groups),
        relations=tuple(dict.fromkeys(mark.relations)),
    )
