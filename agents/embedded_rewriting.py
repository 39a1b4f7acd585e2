"""The rules that patterns name: each rewords a prompt, or some of its words, and keeps what it asks for.

A rule proposes; whether the meaning is kept is for `embedded_writing` to check by reading the result. Knows
no painter and no picture.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.embedded_claims import name_relation, plural_of
from agents.embedded_reading import Reading, find_group, read
from agents.evidence import Error
from agents.patterns import DropFillers, Invert, Rename, Respell, Restate, Reword, Rule
from agents.role import UnsupportedPrompt
from diorama.graph import INVERSE, Predicate, Relation, SceneGraph
from diorama.phrases import MANNERS, NUMBERS
from diorama.telling import join
from diorama.vocabulary import load_vocabulary
from diorama.wording import say, say_group, say_relation, say_setting, words

Change = tuple[int, int, str]
"""Start and end of the words to replace, and what replaces them."""

CANONICAL_SHARE = 0.5
"""How often a style is said in its canonical form; else its alternatives are drawn."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a rule works on: the prompt as read, the scene to say, and the error to mend (None: no one in
    particular).
    """

    reading: Reading
    scene: SceneGraph
    """What has to be said: the prompt's own graph, or the original's where the prompt strayed from it."""
    scene_names: tuple[str, ...]
    error: Error | None
    rng: Random


def apply_rule(rule: Rule, draft: Draft) -> list[Change]:
    """The changes that a rule makes; none where it does not apply."""
    table: dict[type, Callable[[Any, Draft], list[Change]]] = {
        Reword: _reword,
        Rename: _rename,
        Respell: _respell,
        Invert: _invert,
        Restate: _restate,
        DropFillers: _drop_fillers,
    }
    return table[type(rule)](rule, draft)


def _reword(rule: Reword, draft: Draft) -> list[Change]:
    scene, rng = draft.scene, draft.rng
    if rule.order != "as_said":
        failing = _failing(draft)
        if not failing:
            return []
        scene = _put_first(scene, failing) if rule.order == "failing_first" else _put_last(scene, failing)
    wording = say(scene, rule.style, None if rng.random() < CANONICAL_SHARE else rng)
    return [(0, len(draft.reading.prompt), wording)]


def _rename(rule: Rename, draft: Draft) -> list[Change]:
    index = _error_group(draft)
    if index is None:
        return []
    start, end = draft.reading.phrase(index)
    name = say_group(draft.reading.parsed.graph.groups[index], rule.style)
    return [(start, end, _like(draft.reading.prompt[start:end], name))]


def _respell(rule: Respell, draft: Draft) -> list[Change]:
    reading, rng = draft.reading, draft.rng
    if rule.what == "relation":
        return _respell_relation(draft)
    index = _error_group(draft)
    if index is None:
        return []
    spans = reading.parsed.spans.groups[index]
    group = reading.parsed.graph.groups[index]
    if rule.what == "count":
        if len(spans.count) != 1:
            return []
        start, end = spans.count[0].start, spans.count[0].end
        said = reading.prompt[start:end].lower()
        other = str(group.count) if said in NUMBERS else NUMBERS[group.count - 1]
        return [(start, end, _like(reading.prompt[start:end], other))]
    shape = next(entry for entry in load_vocabulary().shapes if entry.name == group.shape)
    start, end = spans.shape[0].start, spans.shape[0].end
    said = reading.prompt[start:end].lower()
    pairs = [(shape.name, shape.plural), *shape.aliases[:1]]
    forms = [
        form
        for pair in pairs
        for form in pair
        if form != said and said in {other[pair.index(form)] for other in pairs}
    ]
    return [(start, end, _like(reading.prompt[start:end], rng.choice(forms)))] if forms else []


def _respell_relation(draft: Draft) -> list[Change]:
    reading = draft.reading
    index = _error_relation(draft)
    if index is None or len(reading.parsed.spans.relations[index]) != 1:
        return []
    span = reading.parsed.spans.relations[index][0]
    said = reading.prompt[span.start : span.end]
    spoken: set[Predicate] = {
        name for name in INVERSE for manner in MANNERS.values() if manner[name] == said.lower()
    }
    if len(spoken) != 1:
        return []
    # A prompt may say a relation from its other end, so the words tell its direction.
    predicate = spoken.pop()
    others = sorted({manner[predicate] for manner in MANNERS.values()} - {said.lower()})
    return [(span.start, span.end, _like(said, draft.rng.choice(others)))] if others else []


def _invert(rule: Invert, draft: Draft) -> list[Change]:
    """Turn "a cube left of a sphere", or the sentence "The cube is left of the sphere.", round."""
    reading, graph = draft.reading, draft.reading.parsed.graph
    index = _error_relation(draft)
    if index is None:
        return []
    pieces, relation = reading.parsed.sentences, graph.relations[index]
    at = next(i for i, piece in enumerate(pieces) if index in piece.relations)
    piece = pieces[at]
    if piece.text.endswith("."):
        turned = Relation(
            subject=relation.object, predicate=INVERSE[relation.predicate], object=relation.subject
        )
        relations = (*graph.relations[:index], turned, *graph.relations[index + 1 :])
        clause = say_relation(graph.model_copy(update={"relations": relations}), index, "there_is")
        return [(piece.start, piece.end, f"{_capital(clause)}.")]
    if not 0 < at < len(pieces) - 1:
        return []
    left, right = pieces[at - 1], pieces[at + 1]
    known: dict[str, Predicate] = {manner[name]: name for manner in MANNERS.values() for name in manner}
    verb = reading.prompt[left.end : piece.start].strip()
    if (
        (left.kind, right.kind) != ("object", "object")
        or piece.text not in known
        or verb not in ("", "is", "are")
    ):
        return []
    several = sum(graph.groups[group].count for group in right.groups) > 1
    middle = MANNERS["short"][INVERSE[known[piece.text]]]
    middle = f"{'are' if several else 'is'} {middle}" if verb else middle
    return [(left.start, right.end, f"{_like(left.text, right.text)} {middle} {_lower(left.text)}")]


def _restate(rule: Restate, draft: Draft) -> list[Change]:
    reading, index = draft.reading, _error_group(draft)
    groups = reading.parsed.graph.groups
    if index is None:
        return []
    group = groups[index]
    said = [value for value in (group.size, group.colour, group.pattern) if value is not None]
    if not said or sum(other.shape == group.shape for other in groups) > 1:
        return []
    start = reading.parsed.sentences[-1].start
    ending = reading.prompt[start:].rstrip()
    noun = plural_of(group.shape) if group.count > 1 else group.shape
    clause = f"The {noun} {'are' if group.count > 1 else 'is'} {join(said)}."
    stop = "" if ending.endswith((".", "!", "?")) else "."
    return [(start, len(reading.prompt), f"{ending}{stop} {clause}")]


def _drop_fillers(rule: DropFillers, draft: Draft) -> list[Change]:
    """Cut what stands before the first and after the last piece, and say whole relation and setting
    sentences shortly.
    """
    reading = draft.reading
    pieces, prompt = reading.parsed.sentences, reading.prompt
    changes: list[Change] = []
    # A thing's own sentence still has its opener inside: the words before its name are fillers too.
    start = pieces[0].start if pieces[0].kind != "object" else reading.phrase(pieces[0].groups[0])[0]
    if start > 0:
        changes.append((0, start, ""))
    for piece in pieces:
        if not piece.text.endswith("."):
            continue
        if piece.kind == "relation" and len(piece.relations) == 1:
            clause = say_relation(reading.parsed.graph, piece.relations[0], "polite")
        elif piece.kind == "background":
            clause = f"the scene is {say_setting(reading.parsed.graph)}"
        else:
            continue
        if len(words(clause)) < len(words(piece.text)) - 1:
            changes.append((piece.start, piece.end, f"{_capital(clause)}."))
    rest = prompt[pieces[-1].end :]
    if re.search(r"\w", rest):
        changes.append((pieces[-1].end, len(prompt), "." if rest.rstrip().endswith(".") else ""))
    return [
        change
        for change in changes
        if prompt[change[0] : change[1]] != change[2] and _is_harmless(reading, change)
    ]


def _is_harmless(reading: Reading, change: Change) -> bool:
    """Whether this change alone leaves what the prompt asks for: what looks like a filler may refer to a
    thing.
    """
    start, end, after = change
    try:
        return read(reading.prompt[:start] + after + reading.prompt[end:]).scene == reading.scene
    except UnsupportedPrompt:
        return False


def _failing(draft: Draft) -> list[int]:
    """Indices into `draft.scene` of the groups that the error is about."""
    if draft.error is None:
        return []
    names = draft.scene_names
    if draft.error.target in names:
        return [names.index(draft.error.target)]
    return [
        end
        for relation in draft.scene.relations
        if name_relation(names, relation) == draft.error.target
        for end in (relation.subject, relation.object)
    ][:2]


def _put_first(scene: SceneGraph, failing: Sequence[int]) -> SceneGraph:
    """The scene with these groups first, and with relations that name the first of them first and as
    subject.
    """
    lead = failing[-1]
    order = [lead, *(index for index in range(len(scene.groups)) if index != lead)]
    relations = [_from(relation, lead) for relation in scene.relations]
    relations.sort(key=lambda relation: relation.subject != lead)
    return _renumber(scene, order, relations)


def _put_last(scene: SceneGraph, failing: Sequence[int]) -> SceneGraph:
    """The scene with the first of these groups last, as the object of the last relation that names it."""
    tail = failing[0]
    order = [*(index for index in range(len(scene.groups)) if index != tail), tail]
    relations = [
        _from(relation, relation.object if relation.subject == tail else relation.subject)
        for relation in scene.relations
    ]
    relations.sort(key=lambda relation: relation.object == tail)
    return _renumber(scene, order, relations)


def _from(relation: Relation, subject: int) -> Relation:
    """The relation said from `subject`, where that is one of its ends."""
    if relation.object != subject:
        return relation
    return Relation(subject=subject, predicate=INVERSE[relation.predicate], object=relation.subject)


def _renumber(scene: SceneGraph, order: Sequence[int], relations: Sequence[Relation]) -> SceneGraph:
    place = {old: new for new, old in enumerate(order)}
    return SceneGraph(
        groups=tuple(scene.groups[old] for old in order),
        relations=tuple(
            Relation(subject=place[r.subject], predicate=r.predicate, object=place[r.object])
            for r in relations
        ),
        setting=scene.setting,
    )


def _error_group(draft: Draft) -> int | None:
    found = None if draft.error is None else find_group(draft.reading, draft.error.target)
    return None if found is None else found[0]


def _error_relation(draft: Draft) -> int | None:
    names = draft.reading.relation_names
    return (
        names.index(draft.error.target) if draft.error is not None and draft.error.target in names else None
    )


def _like(old: str, new: str) -> str:
    """`new` with a capital where `old` has one."""
    return _capital(new) if old[:1].isupper() else _lower(new)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
