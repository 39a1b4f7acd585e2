"""The phrases that a prompt may be made of, each with its kind and its meaning.

Knows single phrases only; how they combine is for `nouns`, `mentions` and `reading`.
"""

from collections.abc import Hashable, Iterator
from functools import cache
from itertools import product
from typing import Literal, TypeAlias, cast

from diorama.phrases import NUMBERS, ORDINALS, PATTERN_NOUNS
from diorama.vocabulary import Vocabulary

Kind = Literal[
    "article",  # a, an
    "number",  # three, 3, a pair of
    "more",  # another, a third, two more
    "some",  # some, several: a count to be said later
    "the",
    "ordinal",  # first ... sixth, last
    "one",  # ones
    "attribute",
    "shape",
    "thing",  # object, thing
    "relation",
    "of it",  # on its left
    "place",  # on the left
    "setting",
    "be",
    "have",
    "pronoun",
    "former",
    "other",
    "who",
    "dimension",  # colour, size
    "of dimension",  # the colour of
    "its dimension",  # its colour
    "preposition",
    "total",  # in all, of them
    "and",
    "comma",
    "stop",
    "filler",
]
Meaning: TypeAlias = str | int | bool | tuple[str, str] | None
PhraseTable: TypeAlias = dict[str, list[tuple[tuple[str, ...], Kind, Meaning]]]

_MEDIA = (
    "photo",
    "photograph",
    "picture",
    "image",
    "drawing",
    "painting",
    "rendering",
    "render",
    "illustration",
)
_MEDIA_ENDS = ("", "of", "with", "showing", "that shows", "which shows", "where", "in which")

_FILLERS = """
    please|draw|paint|show|show me|make|create|generate|give me|i want|i would like|i would really like
    i would also like|i'd like|we would like|to see|to have|if possible|there|it shows|we see|i see
    you see|here|what can be seen|can be seen|you can see|seen|so|then|the idea is|just|only|too|both
    all|each|exactly|in the scene|in the picture|in the image|in this picture|in this scene|on the floor
    on the ground|against the wall|the scene is|the scene should be|the scene has been
    the scene has been set|the scene is set|the setting is|the setting of all of this is|all of this is
    all of it is|all of it|all of this should be|the whole scene should be|the whole scene is
    the background is|set|placed|standing|sitting|lying|located|positioned|found|to be found
    nothing else|and nothing else|should|must|been|if you look at|where|in colour|in color|in size
    in total there are|in all there are|coloured|colored|painted|sized|very|nice|thank you|thanks
    the scene shows|the picture shows|the image shows|a scene with|a scene of|the scene|a scene where
    scene
""".replace("\n", "|")

_WORDS: dict[Kind, dict[str, Meaning]] = {
    "article": {"a": None, "an": None},
    "the": {"the": None},
    "some": {"some": None, "several": None, "a few": None, "many": None, "a number of": None},
    "one": {"ones": None},
    "thing": {
        name: None for name in ("thing", "things", "object", "objects", "item", "items", "shape", "shapes")
    },
    "be": {
        **{
            text: False
            for text in ("is", "be", "being", "was", "stands", "sits", "lies", "has been", "to be")
        },
        **{text: True for text in ("are", "were", "stand", "sit", "lie", "have been")},
    },
    "have": {"has": None, "have": None, "having": None, "with": None},
    "pronoun": {"it": False, "they": True, "them": True},
    "former": {"the former": 0, "the former one": 0, "the latter": 1, "the latter one": 1},
    "other": {"the other": None, "the other one": None},
    "who": {"which": None, "that": None, "whose": None},
    "dimension": {"colour": None, "color": None, "size": None, "pattern": None},
    "preposition": {"in": None, "of": None},
    "total": {"in all": None, "in total": None, "altogether": None, "of them": None, "of them in all": None},
    "and": {
        text: None
        for text in ("and", "plus", "together with", "along with", "as well as", "also", "while", "but")
    },
}


def _phrases_of_place() -> Iterator[tuple[str, Kind, Meaning]]:
    for side in ("left", "right"):
        predicate = f"{side} of"
        heads = (
            f"{at} {side}{part}"
            for at in ("to the", "on the", "at the")
            for part in ("", " side", " hand side")
        )
        for head in heads:
            yield f"{head} of", "relation", predicate
            yield head, "place", predicate
            for medium in ("picture", "image", "photo", "scene"):
                yield f"{head} of the {medium}", "place", predicate
        for far in ("further", "farther", "more to the"):
            yield f"{far} {side} than", "relation", predicate
        yield predicate, "relation", predicate
        for at, its, part in product(("on", "to", "at"), ("its", "their"), ("", " side", " hand side")):
            yield f"{at} {its} {side}{part}", "of it", predicate
    same = {
        "above": ("above", "over", "higher than", "higher up than"),
        "below": ("below", "under", "beneath", "underneath", "lower than", "lower down than"),
        "in front of": ("in front of", "closer than", "nearer than"),
        "behind": ("behind", "in back of", "further away than", "farther away than"),
    }
    for predicate, texts in same.items():
        for text in texts:
            yield text, "relation", predicate
    places = {
        "above": "at the top",
        "below": "at the bottom",
        "in front of": "in the foreground",
        "behind": "in the background",
    }
    for predicate, text in places.items():
        yield text, "place", predicate
        for medium in ("picture", "image", "photo", "scene"):
            yield f"{text} of the {medium}", "place", predicate


def _phrases_of_number() -> Iterator[tuple[str, Kind, Meaning]]:
    for value, (number, ordinal) in enumerate(zip(NUMBERS, ORDINALS, strict=True), start=1):
        yield number, "number", value
        yield ordinal, "ordinal", value
        yield f"{number} more", "more", value
        yield f"{value} more", "more", value
        if value > 1:
            yield f"a {ordinal}", "more", 1
            yield f"yet a {ordinal}", "more", 1
    yield "last", "ordinal", 0
    yield "third and last", "ordinal", 0
    for value, number in enumerate(("seven", "eight", "nine", "ten", "eleven", "twelve"), start=7):
        yield number, "number", value
    for text in ("another", "yet another", "a further"):
        yield text, "more", 1
    yield "a single", "number", 1
    for number, text in ((2, "couple"), (2, "pair"), (3, "trio")):
        yield f"a {text} of", "number", number


def _phrases_of_vocabulary(vocabulary: Vocabulary) -> Iterator[tuple[str, Kind, Meaning]]:
    for shape in vocabulary.shapes:
        for form, number in shape.forms.items():
            yield form, "shape", (shape.name, number)
            # Else "a pair of" would be the number two.
            if form.startswith("pair of "):
                yield f"a {form}", "shape", (shape.name, number)
    for colour in vocabulary.colour_names:
        yield colour, "attribute", ("colour", colour)
    for pattern in vocabulary.pattern_names:
        yield pattern, "attribute", ("pattern", pattern)
        if pattern in PATTERN_NOUNS:
            yield PATTERN_NOUNS[pattern], "attribute", ("pattern", pattern)
            yield f"a {pattern} pattern", "attribute", ("pattern", pattern)
    for size, other in (("small", "little"), ("large", "big")):
        if size in vocabulary.size_names:
            yield other, "attribute", ("size", size)
    for size in vocabulary.size_names:
        yield size, "attribute", ("size", size)
    for setting in vocabulary.settings:
        yield setting.phrase, "setting", setting.name
        heads = ("", "in ", "at ", "by ", "inside ", "during ", "set in ", "in the middle of ")
        for head, article, tail in product(
            heads, ("", "a ", "the "), ("", " scene", " setting", " background")
        ):
            yield f"{head}{article}{setting.name}{tail}", "setting", setting.name


@cache
def phrases(key: Hashable) -> PhraseTable:
    """All phrases by first word, longest first; `key` is the vocabulary (a frozen model has a hash)."""
    vocabulary = cast(Vocabulary, key)
    known: dict[tuple[str, ...], tuple[Kind, Meaning]] = {}

    def add(text: str, kind: Kind, meaning: Meaning) -> None:
        if text.strip():
            known[tuple(text.split())] = (kind, meaning)

    for text in _FILLERS.split("|"):
        add(text, "filler", None)
    for article, medium, end in product(("", "a", "an", "the", "this"), _MEDIA, _MEDIA_ENDS):
        add(f"{article} {medium} {end}", "filler", None)
    for kind, texts in _WORDS.items():
        for text, meaning in texts.items():
            add(text, kind, meaning)
    for name in ("colour", "color", "size", "pattern"):
        add(f"the {name} of", "of dimension", None)
        add(f"its {name}", "its dimension", False)
        add(f"their {name}", "its dimension", True)
    for text, kind, meaning in (
        *_phrases_of_place(),
        *_phrases_of_number(),
        *_phrases_of_vocabulary(vocabulary),
    ):
        add(text, kind, meaning)
    table: PhraseTable = {}
    for phrase, (kind, meaning) in sorted(known.items(), key=lambda entry: -len(entry[0])):
        table.setdefault(phrase[0], []).append((phrase, kind, meaning))
    return table


@cache
def phrase_words(key: Hashable) -> frozenset[str]:
    """All words that occur in a phrase that is not a name; `key` is the vocabulary.

    A part of a name ("bat" of "baseball bat") means nothing by itself.
    """
    entries = (entry for found in phrases(key).values() for entry in found)
    return frozenset(word for phrase, kind, _ in entries if kind != "shape" for word in phrase)
