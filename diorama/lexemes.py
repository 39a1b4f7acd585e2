"""Cuts a prompt into lexemes: the longest known phrases, each with its kind, its meaning and its exact place.

It does not know how they combine.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

from diorama.grammar import Kind, Meaning, PhraseTable, phrase_words, phrases
from diorama.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A phrase of the prompt: `prompt[start:end]`, lower case in `text`."""

    kind: Kind
    meaning: Meaning
    text: str
    start: int
    end: int


class UnknownWords(ValueError):
    """The prompt has words that the world does not know; `words` names all of them, in order.

    `near` lists the names that such a word is a part of: "baseball bat" for "bat".
    """

    def __init__(self, words: tuple[str, ...], near: tuple[str, ...] = ()) -> None:
        """Name the words."""
        super().__init__(words, near)
        self.words = words
        self.near = near

    @property
    def named(self) -> str:
        """The words, and what may be meant: "'bat' (but 'baseball bat')"."""
        words, near = (", ".join(repr(word) for word in found) for found in (self.words, self.near))
        return f"{words} (but {near})" if near else words

    def __str__(self) -> str:
        return f"the embedded world does not know {self.named}; use its words, or a backend that knows them"


class Unparsable(ValueError):
    """All words are known, but they make no scene; `why` says what is wrong."""

    def __init__(self, prompt: str, why: str) -> None:
        """Keep the prompt and the reason."""
        super().__init__(prompt, why)
        self.prompt = prompt
        self.why = why

    def __str__(self) -> str:
        return f"no scene in {self.prompt!r}: {self.why}"


_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|\n+|_")
_PAUSES = {
    ",": "comma",
    ":": "comma",
    "(": "comma",
    ")": "comma",
    "–": "comma",
    "—": "comma",
    "&": "and",
    "+": "and",
}
_STOPS = ".;!?"
_SILENT = "-'\"“”‘’`*"

_SCENE_WORDS = frozenset({"floor", "ground", "wall", "table", "background", "foreground", "photo", "picture"})
"""Words that are known only inside a phrase, but name things: alone they are unknown."""


def lex(prompt: str, vocabulary: Vocabulary) -> list[Lexeme]:
    """Cut `prompt` into lexemes.

    Raises:
        UnknownWords: it has words outside the vocabulary and the known phrases.
        Unparsable: known words stand where they make no phrase.
    """
    key = cast(Hashable, cast(object, vocabulary))
    table = phrases(key)
    tokens = [
        (match[0].lower().replace("’", "'"), match.start(), match.end()) for match in _TOKEN.finditer(prompt)
    ]
    tokens = [token for token in tokens if token[0] not in _SILENT]
    texts = [text for text, _, _ in tokens]
    found: list[Lexeme] = []
    unknown: list[str] = []
    position = 0
    while position < len(tokens):
        kind, meaning, length = _match(table, texts, position)
        text = " ".join(texts[position : position + length])
        if kind is None:
            unknown.append(text)
        else:
            found.append(Lexeme(kind, meaning, text, tokens[position][1], tokens[position + length - 1][2]))
        position += length
    if unknown:
        known = phrase_words(key)
        strange = [text for text in unknown if text not in known or text in _SCENE_WORDS]
        if strange:
            near = [name for name in vocabulary.shape_names if set(strange) & set(name.split())]
            raise UnknownWords(tuple(dict.fromkeys(strange)), tuple(near))
        raise Unparsable(prompt, f"{unknown[0]!r} makes no sense there")
    return found


def _match(table: PhraseTable, texts: list[str], position: int) -> tuple[Kind | None, Meaning, int]:
    text = texts[position]
    if text[0] in _STOPS or text[0] == "\n":
        return "stop", None, 1
    if text in _PAUSES:
        return ("and" if _PAUSES[text] == "and" else "comma"), None, 1
    if text.isdigit():
        if texts[position + 1 : position + 2] == ["more"]:
            return "more", int(text), 2
        return "number", int(text), 1
    for phrase, kind, meaning in table.get(text, ()):
        if tuple(texts[position : position + len(phrase)]) == phrase:
            return kind, meaning, len(phrase)
    return None, None, 1
