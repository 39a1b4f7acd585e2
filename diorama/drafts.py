"""A scene graph in the making: groups with what is known of them so far, relations, and where each was said.

Knows which group a noun phrase introduces or refers to, and what contradicts what. It knows no
sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, cast

from diorama.graph import INVERSE, Predicate
from diorama.lexemes import Lexeme, Unparsable
from diorama.nouns import Noun
from diorama.vocabulary import Number

Part = Literal["count", "colour", "pattern", "size", "shape"]
Interval = tuple[int, int]


@dataclass(slots=True)
class Draft:
    """A group being read. `count` is None until it is said."""

    shape: str
    count: int | None
    attributes: dict[str, str]
    spans: dict[Part, list[Interval]]


@dataclass(slots=True)
class Mark:
    """A stretch of a sentence that says one thing; kind "reference" says nothing new."""

    kind: Literal["object", "relation", "background", "reference"]
    start: int
    end: int
    groups: list[int] = field(default_factory=list[int])
    relations: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Sentence:
    """A sentence of the prompt and its marks, in order."""

    start: int
    end: int
    marks: list[Mark]


class SceneDraft:
    """What one prompt has said so far."""

    def __init__(self, prompt: str) -> None:
        """Start empty; `prompt` is for error messages."""
        self.prompt = prompt
        self.groups: list[Draft] = []
        self.relations: list[tuple[int, Predicate, int]] = []
        self.relation_spans: list[list[Interval]] = []
        self.setting: str | None = None
        self.setting_spans: list[Interval] = []
        self.sentences: list[Sentence] = []
        self.totals: list[int] = []
        """How many things there are in all, wherever the prompt says so."""
        self.topic: list[int] = []
        """What "it" means at the start of a sentence."""

    def refuse(self, why: str) -> NoReturn:
        """Raise `Unparsable`."""
        raise Unparsable(self.prompt, why)

    def name(self, index: int) -> str:
        """A group by its attributes and shape, for error messages."""
        draft = self.groups[index]
        return " ".join([*draft.attributes.values(), draft.shape])

    def several(self, index: int) -> bool:
        """Whether the group takes the plural."""
        return self.groups[index].count != 1

    def describe(self, index: int, lexeme: Lexeme) -> None:
        """Add an attribute to a group, or refuse one that contradicts."""
        dimension, value = cast(tuple[str, str], lexeme.meaning)
        draft = self.groups[index]
        if (said := draft.attributes.setdefault(dimension, value)) != value:
            self.refuse(f"the {draft.shape} cannot be both {said} and {value}")
        spans = draft.spans.setdefault(cast(Part, dimension), [])
        if (lexeme.start, lexeme.end) not in spans:
            spans.append((lexeme.start, lexeme.end))

    def relate(self, subject: int, predicate: Predicate, other: int, spans: Sequence[Interval]) -> int:
        """Add a relation, or find it where it was said before, from either end."""
        if subject == other:
            self.refuse(f"the {self.name(subject)} cannot be {predicate} itself")
        ways: list[tuple[int, Predicate, int]] = [
            (subject, predicate, other),
            (other, INVERSE[predicate], subject),
        ]
        for known in ways:
            if known in self.relations:
                position = self.relations.index(known)
                said = self.relation_spans[position]
                said += [span for span in spans if span not in said]
                return position
        self.relations.append((subject, predicate, other))
        self.relation_spans.append(list(spans))
        return len(self.relations) - 1

    def introduce(self, noun: Noun, partners: Sequence[int]) -> int:
        """A new group, or more of one: "another red cube" counts with the red cube before.

        Unless that is a partner in the relation just said: a cube left of another cube are two groups.
        """
        shape = cast(tuple[str, str], noun.shape.meaning)[0]
        draft = Draft(shape, self._count(noun), {}, {"shape": [(noun.shape.start, noun.shape.end)]})
        determiner = noun.determiner
        if determiner is not None and determiner.kind != "some":
            draft.spans["count"] = [(determiner.start, determiner.end)]
        self.groups.append(draft)
        index = len(self.groups) - 1
        for attribute in noun.attributes:
            self.describe(index, attribute)
        if determiner is None or determiner.kind != "more":
            return index
        alike = [
            other
            for other, known in enumerate(self.groups[:index])
            if known.shape == shape and known.attributes == draft.attributes
        ]
        if not alike or alike[-1] in partners:
            return index
        self.groups.pop()
        first = self.groups[alike[-1]]
        first.count = None if first.count is None or draft.count is None else first.count + draft.count
        for part, spans in draft.spans.items():
            first.spans.setdefault(part, []).extend(spans)
        return alike[-1]

    def _count(self, noun: Noun) -> int | None:
        number = cast(tuple[str, Number], noun.shape.meaning)[1]
        determiner = noun.determiner
        if determiner is not None and determiner.kind in ("number", "more"):
            count = cast(int, determiner.meaning)
            if number == "one" and count != 1:
                self.refuse(f"{determiner.text!r} needs the plural of {noun.shape.text!r}")
            return count
        if determiner is not None and determiner.kind == "article" and number == "several":
            self.refuse(f"{determiner.text!r} cannot stand before {noun.shape.text!r}")
        some = determiner is not None and determiner.kind == "some"
        return 1 if number == "one" or (number in ("either", "counted") and not some) else None

    def refer(self, noun: Noun, text: str) -> list[int]:
        """The groups that "the ..." means; none where it is the first mention of a new group."""
        shape, number = cast(tuple[str, Number], noun.shape.meaning)
        wanted = noun.wanted
        fitting = [
            index
            for index, draft in enumerate(self.groups)
            if draft.shape == shape
            and all(draft.attributes.get(name, value) == value for name, value in wanted.items())
        ]
        # A group that has the attributes is meant before one that could still get them.
        exact = [
            index for index in fitting if wanted.items() <= self.groups[index].attributes.items()
        ] or fitting
        matching = [
            index for index in exact if number == "either" or self.several(index) == (number == "several")
        ]
        if number == "counted" and not matching:
            matching = exact
        if noun.determiner is not None:
            matching = [index for index in matching if self.groups[index].count == noun.determiner.meaning]
        if noun.ordinal is not None:
            if len(matching) < max(noun.ordinal, 1):
                self.refuse(f"there is no such thing as {text!r} so far")
            return [matching[noun.ordinal - 1]]
        if len(matching) > 1:
            self.refuse(f"{text!r} could be any of {len(matching)}: say which")
        if matching or not exact:
            return matching
        if number == "several" and len(exact) > 1:
            return exact
        if noun.determiner is None:
            self.refuse(f"{text!r} does not agree with {self.groups[exact[0]].count or 'some'} before")
        return []

    def nth(self, ordinal: int, text: str) -> int:
        """The group that was named first, second, ... (0: last)."""
        if len(self.groups) < max(ordinal, 1):
            self.refuse(f"{text!r} means nothing: {len(self.groups)} groups are named so far")
        return ordinal - 1 if ordinal else len(self.groups) - 1
