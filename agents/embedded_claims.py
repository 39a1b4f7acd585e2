"""What a prompt claims about its picture, one checkable claim at a time, each with a name that outlives
rewording.

A claim's name is made of its kind and its target alone. Targets name groups in one canonical wording, so
every wording of a scene makes the same claims, and a scene graph can be rebuilt from the targets of its
questions: that is how a mind without memory understands its own questions. Knows no picture and no prompt.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Literal

from agents.evidence import Question
from diorama.graph import INVERSE, Group, Predicate, Relation, SceneGraph
from diorama.parsing import UnknownWords, Unparsable, canonical, parse
from diorama.vocabulary import load_vocabulary
from diorama.wording import say_group

ClaimKind = Literal["existence", "count", "colour", "pattern", "size", "position", "background", "extra"]

NOTHING_ELSE = "nothing else"
"""The target of the claim that the picture shows only what is asked for."""

ATTRIBUTES: tuple[Literal["colour", "pattern", "size"], ...] = ("colour", "pattern", "size")
_FORWARD: tuple[Predicate, ...] = ("left of", "above", "in front of")
_RELATION = re.compile(rf"(.+) ({'|'.join(INVERSE)}) (.+)")
_ORDINAL = re.compile(r"(.+) \((\d)\)")


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must be so. `group` and `relation` index the scene graph."""

    kind: ClaimKind
    target: str
    group: int | None = None
    relation: int | None = None
    depends_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The same for every wording of the same scene."""
        return f"{self.kind}:{self.target}"


def name_groups(graph: SceneGraph) -> tuple[str, ...]:
    """For each group of a canonical graph its target: "two red cubes"; one more just like it is "two red
    cubes (2)".
    """
    names: list[str] = []
    for group in graph.groups:
        name = say_group(group)
        same = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return tuple(names)


def align(graph: SceneGraph) -> tuple[int, ...]:
    """For each group of any graph the group of `canonical(graph)` that stands for it."""
    whole = canonical(graph)
    related = sorted({end for relation in graph.relations for end in (relation.subject, relation.object)})
    bound = {end for relation in whole.relations for end in (relation.subject, relation.object)}
    free = {_look(whole.groups[index]): index for index in range(len(whole.groups)) if index not in bound}
    wanted = {(relation.subject, relation.predicate, relation.object) for relation in whole.relations}
    for order in permutations(sorted(bound)):
        place = dict(zip(related, order, strict=True))
        if any(graph.groups[old] != whole.groups[new] for old, new in place.items()):
            continue
        if {(place[a], name, place[b]) for a, name, b in map(forward, graph.relations)} == wanted:
            return tuple(
                place[index] if index in place else free[_look(group)]
                for index, group in enumerate(graph.groups)
            )
    raise AssertionError(f"{graph!r} and its canonical form do not correspond")


def forward(relation: Relation) -> tuple[int, Predicate, int]:
    """The relation from the end from which it is "left of", "above" or "in front of"."""
    if relation.predicate in _FORWARD:
        return relation.subject, relation.predicate, relation.object
    return relation.object, INVERSE[relation.predicate], relation.subject


def name_relation(names: Sequence[str], relation: Relation) -> str:
    """The target of a relation: "a red cube left of a blue sphere", said forward whichever way the prompt
    says it.
    """
    subject, predicate, other = forward(relation)
    return f"{names[subject]} {predicate} {names[other]}"


def make_claims(graph: SceneGraph, names: Sequence[str]) -> tuple[Claim, ...]:
    """All that a picture of `graph` has to bear out, parents first; the last says that it shows nothing
    else.
    """
    claims: list[Claim] = []
    for index, group in enumerate(graph.groups):
        parent = Claim("existence", names[index], group=index)
        claims += [parent, Claim("count", names[index], group=index, depends_on=(parent.id,))]
        claims += [
            Claim(name, names[index], group=index, depends_on=(parent.id,))
            for name in ATTRIBUTES
            if getattr(group, name) is not None
        ]
    for index, relation in enumerate(graph.relations):
        parents = tuple(f"existence:{names[end]}" for end in (relation.subject, relation.object))
        claims.append(Claim("position", name_relation(names, relation), relation=index, depends_on=parents))
    if graph.setting is not None:
        claims.append(Claim("background", phrase_of(graph.setting)))
    return (*claims, Claim("extra", NOTHING_ELSE))


def rebuild_claims(questions: Sequence[Question]) -> tuple[SceneGraph, tuple[Claim, ...]] | None:
    """The scene that `questions` are about and its claims, read from their targets.

    None where they name no group of this world.
    """
    groups: dict[str, Group] = {}
    ends: list[tuple[str, Predicate, str]] = []
    setting: str | None = None
    for question in questions:
        named: tuple[str, ...] = ()
        if question.kind == "position":
            if relation := read_relation(question.target):
                ends.append(relation)
                named = (relation[0], relation[2])
        elif question.kind == "background":
            setting = setting_of(question.target)
        elif question.kind != "extra":
            named = (question.target,)
        for target in named:
            if target not in groups and (group := read_group(target)) is not None:
                groups[target] = group
    if not groups:
        return None
    place = {target: index for index, target in enumerate(groups)}
    relations = tuple(
        Relation(subject=place[a], predicate=name, object=place[b])
        for a, name, b in ends
        if a in place and b in place
    )
    graph = SceneGraph(groups=tuple(groups.values()), relations=relations, setting=setting)
    return graph, make_claims(graph, tuple(groups))


@cache
def read_group(target: str) -> Group | None:
    """The group that a target names, or None where it is not in this world's words."""
    match = _ORDINAL.fullmatch(target)
    try:
        graph = parse(match[1] if match else target).graph
    except (UnknownWords, Unparsable):
        return None
    return graph.groups[0] if len(graph.groups) == 1 else None


def read_relation(target: str) -> tuple[str, Predicate, str] | None:
    """Subject, predicate and object of a relation's target."""
    match = _RELATION.fullmatch(target)
    if match is None:
        return None
    predicate: Predicate = next(name for name in INVERSE if name == match[2])
    return match[1], predicate, match[3]


def phrase_of(setting: str) -> str:
    """The words for a setting: "in a garden"."""
    return next(entry.phrase for entry in load_vocabulary().settings if entry.name == setting)


def setting_of(phrase: str) -> str | None:
    """The setting that a phrase names."""
    return next((entry.name for entry in load_vocabulary().settings if entry.phrase == phrase), None)


def plural_of(shape: str) -> str:
    """The plural of a shape's name."""
    return next(entry.plural for entry in load_vocabulary().shapes if entry.name == shape)


def _look(group: Group) -> tuple[str, str | None, str | None, str | None]:
    return group.shape, group.colour, group.pattern, group.size
