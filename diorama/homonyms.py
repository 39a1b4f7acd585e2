"""Tells a word that is both a colour and a thing apart: "an orange orange", "an orange", "a cube in orange".

A word is the thing where a noun has to stand, and else the colour. Knows the order of lexemes only; grammar
of its own it has none.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import cast

from diorama.lexemes import Lexeme
from diorama.vocabulary import Number, Vocabulary

_INTRODUCERS = ("article", "number", "more", "some")
_RECALLERS = ("the", "ordinal")
_NOUNS = ("shape", "thing", "pronoun", "former", "other", "one")
_PREDICATORS = ("be", "preposition", "dimension", "of dimension", "its dimension")
_SEPARATORS = ("comma", "and")
_OF_A_COLOUR = ("coloured", "colored", "painted")


@cache
def homonyms(key: Hashable) -> dict[str, tuple[str, Number]]:
    """The colour words that name things too, each with its (shape, number); `key` is the vocabulary."""
    vocabulary = cast(Vocabulary, key)
    return {
        form: (shape.name, number)
        for shape in vocabulary.shapes
        for form, number in shape.forms.items()
        if form in vocabulary.colour_names
    }


def settle(lexemes: Sequence[Lexeme], words: Mapping[str, tuple[str, Number]]) -> list[Lexeme]:
    """The lexemes, with those of `words` that are nouns turned from attributes into shapes."""
    found = list(lexemes)
    for at, lexeme in enumerate(found):
        if lexeme.kind == "attribute" and lexeme.text in words and _is_noun(found, at, words):
            found[at] = replace(lexeme, kind="shape", meaning=words[lexeme.text])
    return found


def _kind(lexemes: Sequence[Lexeme], at: int) -> str:
    return lexemes[at].kind if 0 <= at < len(lexemes) else ""


def _is_noun(lexemes: Sequence[Lexeme], at: int, words: Mapping[str, tuple[str, Number]]) -> bool:
    head = at - 1
    while _kind(lexemes, head) in ("attribute", "filler", *_SEPARATORS):
        head -= 1
    before = _kind(lexemes, head)
    # "An orange, small cup" is one thing, but "the orange, small cup" are two: a mention and a new one.
    listed = any(lexeme.kind in _SEPARATORS for lexeme in lexemes[head + 1 : at])
    joined = before in _INTRODUCERS or (before in _RECALLERS and listed)
    if _describes_what_follows(lexemes, at, words, joined):
        return False
    if before in _NOUNS:
        # "A cube orange" is a colour. "Cube, orange" is a list, unless its speaker uses articles.
        appended = _kind(lexemes, head + 1) in _SEPARATORS
        return appended and not any(lexeme.kind == "article" for lexeme in lexemes[:at])
    return before not in _PREDICATORS


def _describes_what_follows(
    lexemes: Sequence[Lexeme], at: int, words: Mapping[str, tuple[str, Number]], joined: bool
) -> bool:
    """Whether a noun follows the word and its fellow attributes, or words that make it a colour.

    `joined`: attributes may follow after commas and "and" too.
    """
    after = at + 1
    if _kind(lexemes, after) == "filler" and lexemes[after].text in _OF_A_COLOUR:
        return True
    # "Orange is the colour of the cube."
    if _kind(lexemes, after) == "be":
        return _kind(lexemes, after + 1) in ("of dimension", "its dimension")
    adjacent = True
    while True:
        while _kind(lexemes, after) == "filler":
            after += 1
        match _kind(lexemes, after):
            case "shape" | "thing":
                return True
            case "attribute":
                # "An orange orange": the last one is the thing.
                if adjacent and lexemes[after].text in words:
                    return True
                # Of two colours one is another thing's: "an orange, red cups".
                if cast(tuple[str, str], lexemes[after].meaning)[0] == "colour" and not adjacent:
                    return False
                after += 1
            case "comma" | "and" if joined and _kind(lexemes, after + 1) == "attribute":
                adjacent = False
                after += 1
            case _:
                return False
