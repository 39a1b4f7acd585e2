"""Carries out a style: one prompt in the making, which remembers what it has named.

Knows articles, agreement, lists and references; it does not choose the style.
"""

from collections.abc import Sequence
from functools import cache
from random import Random

from diorama.graph import INVERSE, Group, SceneGraph
from diorama.phrases import MANNERS, NUMBERS, OF_IT, ORDINALS, PATTERN_NOUNS, PLACES, with_article
from diorama.styles import Style
from diorama.vocabulary import load_vocabulary

GRAMMAR = (
    "a an the another is are has have it them they its that and with in coloured colour pattern size of "
    "whose should be which exactly all former latter one ones last stands stand , ."
)
"""The words that are written into the code below, for the lexicon; a test keeps them complete."""

_ATTRIBUTES = ("size", "colour", "pattern")
_LIST_JOINERS = {"counted": ", and ", "repeated": ", and ", "which": " and also "}


@cache
def setting_phrases() -> dict[str, str]:
    """The phrase of each setting: "in a garden"."""
    return {setting.name: setting.phrase for setting in load_vocabulary().settings}


@cache
def _forms() -> dict[str, tuple[str, str]]:
    return {shape.name: (shape.name, shape.plural) for shape in load_vocabulary().shapes}


@cache
def _other_forms() -> dict[str, tuple[str, str]]:
    """(singular, plural) by each shape's first alias, where it has one."""
    return _forms() | {shape.name: shape.aliases[0] for shape in load_vocabulary().shapes if shape.aliases}


def join(parts: Sequence[str]) -> str:
    """Join as in "x, y and z"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


class Telling:
    """One prompt in the making: remembers what has been named, so that later mentions can refer to it."""

    def __init__(self, graph: SceneGraph, style: Style, rng: Random | None) -> None:
        self.graph = graph
        self.style = style
        self.rng = rng
        self.told: list[int] = []

    def prompt(self) -> str:
        """All of the graph."""
        style = self.style
        opener = self._pick(style.opener)
        text = getattr(self, f"_frame_{style.frame}")(opener)
        if self.graph.setting is not None:
            text = self._pick(style.setting).format(text=text, setting=setting_phrases()[self.graph.setting])
        # A clause that ends in a comma may meet another comma or a full stop.
        text = text.replace(",,", ",").replace(",.", ".").rstrip(",")
        if not style.period:
            return text
        return ". ".join(map(_sentence, text.split(". "))) + "."

    def mention_all(self) -> None:
        """Take all groups as named before."""
        self.told = list(range(len(self.graph.groups)))

    def introduce(self, index: int) -> str:
        """The group's full name; from now on it can be referred to."""
        self.told.append(index)
        return self._describe(index)

    def relate(self, index: int) -> str:
        """The clause for a relation, in the order of mention that its template asks for."""
        relation = self.graph.relations[index]
        template, manner = self._pick(self.style.relation), MANNERS[self._pick(self.style.manners)]
        names: dict[str, str] = {}
        group = {"a": self.graph.groups[relation.subject], "b": self.graph.groups[relation.object]}
        ends = [("a", relation.subject), ("b", relation.object)]
        if template.index("{b}") < template.index("{a}"):
            ends.reverse()
        for end, position in ends:
            names[end] = self.refer(position) if position in self.told else self.introduce(position)
        several = {end: group[end].count > 1 for end in "ab"}
        return template.format(
            **names,
            is_a="are" if several["a"] else "is",
            has_a="have" if several["a"] else "has",
            has_b="have" if several["b"] else "has",
            stands_a="stand" if several["a"] else "stands",
            it_b="them" if several["b"] else "it",
            rel=manner[relation.predicate],
            inv=manner[INVERSE[relation.predicate]],
            of_it=OF_IT[relation.predicate][several["b"]],
            place_a=PLACES[relation.predicate],
            place_b=PLACES[INVERSE[relation.predicate]],
        )

    def refer(self, index: int) -> str:
        """The shortest "the ..." that means this group alone among those named so far (or the full one)."""
        graph, group = self.graph, self.graph.groups[index]
        noun = self._noun(group)
        rivals = [
            other
            for other in self.told
            if graph.groups[other].shape == group.shape
            # One sheep and two sheep are both "the sheep".
            and self._noun(graph.groups[other]) == noun
        ]
        late = self.style.noun == "bare"
        if len(rivals) == 1 and (late or not self.style.full_recall):
            return f"the {noun}"
        if not late:
            said = {name: getattr(group, name) for name in _ATTRIBUTES if getattr(group, name) is not None}
            alike = [
                other
                for other in rivals
                if all(getattr(graph.groups[other], name) == value for name, value in said.items())
            ]
            if len(alike) == 1:
                return " ".join(["the", *said.values(), noun])
        return f"the {ORDINALS[rivals.index(index)]} {noun}"

    def _pick(self, alternatives: Sequence[str]) -> str:
        return (
            alternatives[0] if self.rng is None or len(alternatives) == 1 else self.rng.choice(alternatives)
        )

    def _rest(self) -> list[int]:
        return [index for index in range(len(self.graph.groups)) if index not in self.told]

    def _list(self, indices: Sequence[int]) -> str:
        """One clause that names several new groups."""
        several = len(indices) > 1 and self.style.name == "passive"
        first = self.graph.groups[indices[0]].count > 1
        parts = [self.introduce(index) for index in indices]
        # Names without articles, and names with commas inside, need a comma between them.
        groups = (
            _LIST_JOINERS[self.style.noun].join(parts) if self.style.noun in _LIST_JOINERS else join(parts)
        )
        if self.style.one == "":
            groups = ", ".join(parts)
        verbs = {"is": "are" if first else "is", "has": "have" if first or several else "has"}
        return self._pick(self.style.group).format(groups=groups, **verbs)

    def _relations(self) -> list[str]:
        return [self.relate(index) for index in range(len(self.graph.relations))]

    def _frame_line(self, opener: str) -> str:
        """Relations name their groups in full; the groups in none follow as a list."""
        clauses = self._relations()
        if rest := self._rest():
            clauses.append(self._list(rest))
        return opener + self.style.joiner.join(clauses)

    def _frame_list(self, opener: str) -> str:
        """All groups as a list, then a sentence for each relation."""
        return ". ".join([opener + self._list(self._rest()), *self._relations()])

    def _frame_steps(self, opener: str) -> str:
        """A sentence for each group, then one for each relation."""
        return ". ".join([opener + self._list([index]) for index in self._rest()] + self._relations())

    def _frame_story(self, opener: str) -> str:
        """Relations bring in new groups one at a time, starting from one that is named by itself."""
        sentences: list[str] = []
        for index, relation in enumerate(self.graph.relations):
            if relation.subject not in self.told and relation.object not in self.told:
                sentences.append(self._list([relation.object]))
            sentences.append(self.relate(index))
        if rest := self._rest():
            sentences.append(self._list(rest))
        return opener + ". ".join(sentences)

    def _frame_late(self, opener: str) -> str:
        """Bare nouns, then the attributes of each, then the relations."""
        first = opener + self._list(self._rest())
        late = [text for index in range(len(self.graph.groups)) for text in self._late_attributes(index)]
        if self.style.name == "former" and late:
            late = [", ".join(late)]
        return ". ".join([first, *late, *self._relations()])

    def _late_attributes(self, index: int) -> list[str]:
        group = self.graph.groups[index]
        said = {name: value for name in _ATTRIBUTES if (value := getattr(group, name)) is not None}
        if not said:
            return []
        if self.style.name == "passive":
            reference = self.refer(index)
            return [f"{value} is the {name} of {reference}" for name, value in said.items()]
        return [f"{self._position(index)} {'are' if group.count > 1 else 'is'} {join(list(said.values()))}"]

    def _position(self, index: int) -> str:
        total = len(self.graph.groups)
        if total == 1:
            return "they" if self.graph.groups[0].count > 1 else "it"
        if total == 2:
            return ("the former", "the latter")[index]
        one = "ones" if self.graph.groups[index].count > 1 else "one"
        return f"the {'last' if index == total - 1 else ORDINALS[index]} {one}"

    def _noun(self, group: Group) -> str:
        return (_other_forms() if self.style.aliases else _forms())[group.shape][group.count > 1]

    def _describe(self, index: int) -> str:
        style, group = self.style, self.graph.groups[index]
        noun = self._noun(group)
        if style.noun == "bare":
            return self._counted(group.count, noun)
        if style.noun == "enumerated" and group.count > 1:
            single = self._adjectives(group, _forms()[group.shape][0])
            more = [f"a {ORDINALS[position]} {single}" for position in range(2, group.count)]
            return join([with_article(single), f"another {single}", *more])
        said = [value for name in _ATTRIBUTES if (value := getattr(group, name)) is not None]
        if style.noun == "that" and said:
            return (
                f"{self._counted(group.count, noun)} that {'are' if group.count > 1 else 'is'} {join(said)}"
            )
        if style.noun == "whose" and said:
            parts = [
                f"whose {name} is {value}"
                for name in _ATTRIBUTES
                if (value := getattr(group, name)) is not None
            ]
            return f"{self._counted(group.count, noun)} {join(parts)}"
        if style.noun == "which" and said:
            return f"{self._counted(group.count, noun)}, which should be {join(said)},"
        if style.noun == "with" and group.pattern in PATTERN_NOUNS:
            plain = group.model_copy(update={"pattern": None})
            text = self._counted(group.count, self._adjectives(plain, noun))
            return f"{text} with {PATTERN_NOUNS[group.pattern]}"
        if style.noun == "after" and said:
            return f"{self._counted(group.count, noun)} {join(said)}"
        if style.noun in ("in", "of") and group.colour is not None:
            rest = group.model_copy(update={"colour": None})
            text = self._counted(group.count, self._adjectives(rest, noun))
            return f"{text} in {group.colour}" if style.noun == "in" else f"{text} of {group.colour} colour"
        text = self._counted(group.count, self._adjectives(group, noun))
        if style.noun == "counted":
            return (
                f"exactly {text}, {NUMBERS[group.count - 1]} in all" if group.count > 1 else f"exactly {text}"
            )
        if style.noun == "repeated" and said:
            return f"{text}, {self.refer(index)} {'are' if group.count > 1 else 'is'} {join(said)}"
        return text

    def _adjectives(self, group: Group, noun: str) -> str:
        found = [value for name in _ATTRIBUTES if (value := getattr(group, name)) is not None]
        if self.rng is not None and self.style.noun in ("shuffled", "coloured"):
            self.rng.shuffle(found)
        if self.style.noun == "coloured" and group.colour is not None:
            found[found.index(group.colour)] = f"{group.colour} coloured"
        return " ".join([*found, noun])

    def _counted(self, count: int, text: str) -> str:
        if count > 1:
            return f"{count if self.style.digits else NUMBERS[count - 1]} {text}"
        if self.style.one == "a":
            return with_article(text)
        return f"{self.style.one} {text}".lstrip()
