"""Reads lexemes as sentences: attributes and relations attach to the groups that stand around them.

One pass, no backtracking. What it cannot place it refuses (`Unparsable`); it drops nothing but fillers. Knows
nothing of how prompts are made.
"""

from collections.abc import Sequence
from typing import cast

from diorama.drafts import Mark, SceneDraft, Sentence
from diorama.graph import INVERSE, Predicate
from diorama.lexemes import Lexeme
from diorama.mentions import SentenceMentions, Waiting
from diorama.nouns import noun_at


def read(prompt: str, lexemes: Sequence[Lexeme]) -> SceneDraft:
    """Read all sentences of a prompt.

    Raises:
        Unparsable: the words make no scene.
    """
    scene = SceneDraft(prompt)
    start = 0
    for position, lexeme in enumerate(lexemes):
        if lexeme.kind == "stop":
            _read_sentence(scene, lexemes[start:position], lexeme.end)
            start = position + 1
    _read_sentence(scene, lexemes[start:], None)
    return scene


def _read_sentence(scene: SceneDraft, lexemes: Sequence[Lexeme], end: int | None) -> None:
    # "..." or "!?" are one ending: only the first mark of it belongs to the sentence.
    if lexemes:
        sentence = _SentenceReader(scene, lexemes)
        sentence.read()
        scene.topic = sentence.related or list(dict.fromkeys(sentence.mentioned)) or scene.topic
        scene.sentences.append(Sentence(lexemes[0].start, end or lexemes[-1].end, sentence.marks))


class _SentenceReader(SentenceMentions):
    """Reads one sentence, left to right."""

    def read(self) -> None:
        while self.at < len(self.lexemes):
            self._step()
        if self.waiting is not None:
            self.scene.refuse(f"{self.waiting.lexeme.text!r} lacks one of its two things")
        self._relate_places()

    def _step(self) -> None:
        lexeme = self.lexemes[self.at]
        if (noun := noun_at(self.lexemes, self.at)) is not None:
            self.noun(noun)
            return
        if self.reference(lexeme):
            return
        match lexeme.kind:
            case "attribute":
                self._attributes()
            case "relation" | "of it":
                self._relation(lexeme)
            case "number":
                self._late_number(lexeme)
            case "place":
                self.marks.append(Mark("relation", lexeme.start, lexeme.end))
                self.order.append(lexeme)
                self.at += 1
            case "setting":
                self._setting(lexeme)
            case "have":
                self.owner = self.last or self.owner
                self.at += 1
            case "who":
                self.who = True
                self.at += 1
            case "preposition" | "article" | "the":
                self._property(lexeme)
            case "filler" | "comma" | "and" | "be" | "dimension" | "of dimension":
                self.at += 1
            case _:
                self.scene.refuse(f"{lexeme.text!r} names nothing there")

    # What is said of it

    def _about(self) -> list[int]:
        """Whom the predicate at this place is about."""
        position = self.at - 1
        while self.kind(position) in ("filler", "the", "article", "preposition", "dimension"):
            position -= 1
        if self.kind(position) != "be" or self.who:
            return self.last
        if self.role == "object":
            return self.related
        groups = list(dict.fromkeys(self.coordinated))
        # "a cube and a cone are ...", but in "a cube and two cones are ..." the verb may be the cones' alone.
        if self.lexemes[position].meaning and len(groups) > 1 and not self.scene.several(groups[-1]):
            return groups
        return self.last

    def _attributes(self) -> None:
        """Attributes without a noun after them: of what was named, or of what "is the colour of" names."""
        about = self._about()
        said: list[Lexeme] = []
        position = self.at
        while True:
            said.append(self.lexemes[position])
            position = self.skip(position + 1, "filler", "dimension")
            after = self.skip(position, "and", "comma")
            if self.kind(after) != "attribute" or noun_at(self.lexemes, after) is not None:
                break
            position = after
        start = self.lexemes[self.at].start
        self.at = position
        if self.kind(position) == "be" and self.kind(position + 1) == "of dimension":
            noun = noun_at(self.lexemes, position + 2)
            if noun is None or noun.shape.kind != "shape":
                self.scene.refuse(f"{self.lexemes[position + 1].text!r} is followed by no thing")
            self.noun(noun)
            about = self.last
            self.marks[-1].start = start
        if not about:
            self.scene.refuse(f"{said[0].text!r} describes nothing")
        for index in about:
            for lexeme in said:
                self.scene.describe(index, lexeme)
        self._mark_said(about, start, said[-1].end)

    def _mark_said(self, about: list[int], start: int, end: int) -> None:
        mark = self.marks[-1] if self.marks else None
        if mark is not None and mark.kind in ("object", "reference") and mark.groups == about:
            mark.kind = "object"
            mark.end = max(mark.end, end)
        else:
            self.marks.append(Mark("object", start, end, list(about)))

    def _late_number(self, lexeme: Lexeme) -> None:
        """Read "three in all", "three of them": a count after its noun, or a check of one."""
        count = cast(int, lexeme.meaning)
        after = self.skip(self.at + 1, "filler")
        if self.kind(after) != "total":
            self.scene.refuse(f"{lexeme.text!r} counts nothing")
        about = self.last or (self.scene.topic if len(self.scene.topic) == 1 else [])
        self.at = after + 1
        if len(about) != 1 or self.scene.groups[about[0]].count not in (None, count):
            self.scene.totals.append(count)
            return
        draft = self.scene.groups[about[0]]
        draft.count = count
        draft.spans.setdefault("count", []).append((lexeme.start, lexeme.end))
        self._mark_said(about, lexeme.start, self.lexemes[after].end)

    def _property(self, lexeme: Lexeme) -> None:
        """Read "in red" and "of the colour red": nothing else may follow these words by themselves."""
        before = self.skip(self.at, "preposition", "the", "article", "dimension")
        after = self.skip(before, "attribute", "filler")
        named = lexeme.kind == "preposition" or "dimension" in (self.kind(before - 1), self.kind(after))
        if after == before or noun_at(self.lexemes, before) is not None or not named:
            self.scene.refuse(f"{lexeme.text!r} says nothing that can be painted there")
        self.at = before

    def _setting(self, lexeme: Lexeme) -> None:
        scene, setting = self.scene, cast(str, lexeme.meaning)
        if scene.setting not in (None, setting):
            scene.refuse(f"the scene cannot be both {scene.setting} and {setting}")
        scene.setting = setting
        self.at += 1
        # "a garden in the background"
        if self.kind(self.at) == "place" and self.lexemes[self.at].meaning == "behind":
            self.at += 1
        scene.setting_spans.append((lexeme.start, lexeme.end))
        self.marks.append(Mark("background", lexeme.start, self.lexemes[self.at - 1].end))

    # How things stand to each other

    def _relation(self, lexeme: Lexeme) -> None:
        predicate = cast(Predicate, lexeme.meaning)
        about, before = self._about(), self.kind(self.at - 1)
        self.marks.append(Mark("relation", lexeme.start, lexeme.end))
        self.at += 1
        after = self.skip(self.at, "filler")
        if lexeme.kind == "of it" or self.kind(after) == "pronoun":
            self._relation_to_it(lexeme, predicate, after)
            return
        noun = noun_at(self.lexemes, after)
        if not self.last or (noun is not None and self._subject_follows(noun.after)):
            about = []
        elif before in ("and", "comma") and self.role == "object" and not self.who:
            # "a cube left of a cone and above a sphere"
            about = self.related
        self.waiting = Waiting(predicate, lexeme, about, [])

    def _subject_follows(self, position: int) -> bool:
        """Whether a verb and a noun follow: left of it *is a cone*."""
        verb = self.skip(position, "filler", "comma")
        return self.kind(verb) == "be" and noun_at(self.lexemes, self.skip(verb + 1, "filler")) is not None

    def _relation_to_it(self, lexeme: Lexeme, predicate: Predicate, after: int) -> None:
        if lexeme.kind == "of it":
            meant = self.meant(lexeme, "their" in lexeme.text)
        else:
            meant = self.meant(self.lexemes[after], bool(self.lexemes[after].meaning))
            self.marks[-1].end = self.lexemes[after].end
            self.at = after + 1
        if not self.last or self.last == meant or self._subject_follows(self.at):
            self.waiting = Waiting(predicate, lexeme, [], meant)
            return
        self.relate(self.last, predicate, meant, lexeme)
        self.role = ""

    def _relate_places(self) -> None:
        """Read places: "on the left" with its counterpart in the same sentence is a relation."""
        placed, rest = _placed(self.order)
        for position, (lexeme, groups) in enumerate(placed):
            predicate = cast(Predicate, lexeme.meaning)
            if not groups:
                self.scene.refuse(f"nothing is said to be {lexeme.text!r}")
            opposite = [other for other in placed if other[0].meaning == INVERSE[predicate]]
            for other, others in opposite:
                if placed.index((other, others)) > position:
                    self.relate(groups, predicate, others, lexeme, other)
            if not opposite:
                # With a single other thing in the sentence, it is clear what this one is on the left of.
                if len(rest) != 1:
                    self.scene.refuse(f"{lexeme.text!r} of what? say it of two things, or 'left of the ...'")
                self.relate(groups, predicate, rest, lexeme)


def _placed(order: Sequence[Lexeme | list[int]]) -> tuple[list[tuple[Lexeme, list[int]]], list[int]]:
    """Each place with its groups, and the groups without a place.

    Places stand all before or all after theirs.
    """
    placed: list[tuple[Lexeme, list[int]]] = []
    waiting: list[int] = []
    before = bool(order) and isinstance(order[0], Lexeme)
    for entry in order:
        if isinstance(entry, Lexeme):
            placed.append((entry, waiting))
            waiting = []
        elif before:
            placed[-1][1].extend(entry)
        else:
            waiting = [*waiting, *entry]
    return placed, waiting
