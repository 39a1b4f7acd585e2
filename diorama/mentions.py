"""What a sentence names: new groups, "the cube", "it", "the former"; and the relation that waits for a name.

Knows whom a reference means. It does not know what is said of anything (`reading` does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from diorama.drafts import Mark, SceneDraft
from diorama.graph import Predicate
from diorama.lexemes import Lexeme
from diorama.nouns import Noun, kind_at, skip


@dataclass(slots=True)
class Waiting:
    """A relation that lacks an end; without `subjects`, that comes last: "left of the cube is a cone"."""

    predicate: Predicate
    lexeme: Lexeme
    subjects: list[int]
    objects: list[int]


class SentenceMentions:
    """What one sentence has named so far, and what the next words would be about."""

    def __init__(self, scene: SceneDraft, lexemes: Sequence[Lexeme]) -> None:
        """Start at the first lexeme."""
        self.scene = scene
        self.lexemes = lexemes
        self.marks: list[Mark] = []
        self.at = 0
        self.last: list[int] = []
        """The groups named last: what attributes and relations attach to."""
        self.role: Literal["", "object"] = ""
        """Whether these are the object of the last relation."""
        self.related: list[int] = []
        """The subjects of the last relation."""
        self.owner: list[int] = []
        """Who has: "it" in "the sphere has a cube on its left"."""
        self.coordinated: list[int] = []
        """The groups of the running list: "a cube, a cone and a sphere"."""
        self.mentioned: list[int] = []
        self.order: list[Lexeme | list[int]] = []
        """Places and mentions as they come."""
        self.waiting: Waiting | None = None
        self.who = False
        """A relative pronoun stands after the last mention, so what follows is about that mention alone."""

    def kind(self, position: int) -> str:
        """The kind of the lexeme at `position`, empty outside."""
        return kind_at(self.lexemes, position)

    def skip(self, position: int, *kinds: str) -> int:
        """The first position from here on that is none of `kinds`."""
        return skip(self.lexemes, position, *kinds)

    def noun(self, noun: Noun) -> None:
        """A noun phrase: a new group, more of one, or a reference."""
        scene = self.scene
        start, end = self.lexemes[noun.start].start, noun.shape.end
        text = scene.prompt[start:end]
        self.at = noun.after
        if noun.shape.kind == "thing":
            self._things(noun, text)
        elif noun.definite and (referred := scene.refer(noun, text)):
            for index in referred:
                for attribute in noun.attributes:
                    scene.describe(index, attribute)
                scene.groups[index].spans["shape"].append((noun.shape.start, noun.shape.end))
            self.mention(referred, Mark("reference", start, end, referred), noun.start)
        else:
            waiting = self.waiting
            index = scene.introduce(noun, [] if waiting is None else [*waiting.subjects, *waiting.objects])
            self.mention([index], Mark("object", start, end, [index]), noun.start)

    def _things(self, noun: Noun, text: str) -> None:
        """Read "two things", which says how many there are in all, or "the first thing", which refers."""
        if noun.ordinal is not None and not noun.attributes:
            index = self.scene.nth(noun.ordinal, text)
            mark = Mark("reference", self.lexemes[noun.start].start, noun.shape.end, [index])
            self.mention([index], mark, noun.start)
        elif noun.determiner is not None and noun.determiner.kind == "number" and not noun.attributes:
            self.scene.totals.append(cast(int, noun.determiner.meaning))
        else:
            self.scene.refuse(f"{text!r} does not say which shape")

    def reference(self, lexeme: Lexeme) -> bool:
        """Read "it", "its colour", "the former", "the other", "the second one"."""
        scene, start, after = self.scene, self.at, self.at + 1
        if lexeme.kind in ("pronoun", "its dimension"):
            groups = self.meant(lexeme, bool(lexeme.meaning))
        elif lexeme.kind == "former":
            if len(scene.groups) < 2:
                scene.refuse(f"{lexeme.text!r} needs two things before it")
            groups = [len(scene.groups) - 2 + cast(int, lexeme.meaning)]
        elif lexeme.kind == "other":
            rest = [index for index in range(len(scene.groups)) if index not in (self.last or scene.topic)]
            if len(rest) != 1:
                scene.refuse(f"{lexeme.text!r} could be any of {len(rest)}: say which")
            groups = rest
        elif lexeme.kind == "the" and self.kind(after) == "ordinal":
            after += 1
            single = self.kind(after) == "number" and self.lexemes[after].text == "one"
            if single or self.kind(after) == "one":
                after += 1
            text = " ".join(part.text for part in self.lexemes[start:after])
            groups = [scene.nth(cast(int, self.lexemes[start + 1].meaning), text)]
            if single and scene.several(groups[0]):
                scene.refuse(f"{text!r} would be one of several {scene.name(groups[0])!r}: name it by itself")
        else:
            return False
        self.at = after
        self.mention(groups, Mark("reference", lexeme.start, self.lexemes[after - 1].end, groups), start)
        return True

    def meant(self, pronoun: Lexeme, plural: bool) -> list[int]:
        """Whom a pronoun means: the owner, else what this sentence is about, else the sentence before."""
        for candidates in (self.owner, self.last if len(set(self.mentioned)) == 1 else [], self.related):
            if candidates:
                return candidates
        candidates = list(dict.fromkeys(self.mentioned)) or self.scene.topic
        fitting = [index for index in candidates if self.scene.several(index) == plural]
        if plural and not fitting:
            fitting = candidates
        if not fitting or (not plural and len(fitting) > 1):
            self.scene.refuse(f"{pronoun.text!r} could be any of {len(fitting)} things: say which")
        return fitting

    def mention(self, groups: list[int], mark: Mark, start: int) -> None:
        """Groups are named: they end a waiting relation, or are what the next words are about."""
        before = start - 1
        while self.kind(before) == "filler":
            before -= 1
        self.marks.append(mark)
        self.mentioned += groups
        self.order.append(groups)
        self.who = False
        waiting = self.waiting
        if waiting is None:
            joined = self.kind(before) in ("and", "comma")
            self.coordinated = [*self.coordinated, *groups] if joined else list(groups)
            # "left of a cone and another cone": still the object.
            if groups != self.last or mark.kind == "reference":
                self.role = ""
            self.last = groups
            return
        self.last = groups
        self.coordinated = list(groups)
        self.role = "object" if waiting.subjects else ""
        if waiting.subjects:
            self.waiting = None
            self.relate(waiting.subjects, waiting.predicate, groups, waiting.lexeme)
        elif waiting.objects:
            self.waiting = None
            self.relate(groups, waiting.predicate, waiting.objects, waiting.lexeme)
        else:
            waiting.objects = groups

    def relate(self, subjects: list[int], predicate: Predicate, objects: list[int], *said: Lexeme) -> None:
        """Relate all of these to all of those, as the marks of `said` say."""
        self.related = subjects
        starts = [lexeme.start for lexeme in said]
        marks = [mark for mark in self.marks if mark.kind == "relation" and mark.start in starts]
        spans = [(mark.start, mark.end) for mark in marks]
        found = [
            self.scene.relate(subject, predicate, other, spans) for subject in subjects for other in objects
        ]
        for mark in marks:
            mark.relations += found
            mark.groups = list(dict.fromkeys([*mark.groups, *subjects, *objects]))
