"""Says in English what a perception model sees, and holds such English against what a prompt asks for.

The reading half scans any caption for things it can name; it does not understand the rest. The caption of the
embedded mind says no more than its perception does, so it is no second opinion, only a readable one.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from agents.check_caption import CaptionCheck, CheckCaptionRequest
from agents.embedded_claims import ATTRIBUTES, phrase_of, plural_of, read_group, read_relation, setting_of
from agents.embedded_looking import SEEN_CONFIDENCE
from agents.evidence import CaptionVerdict, Sentence
from diorama.graph import Group
from diorama.phrases import NUMBERS, PATTERN_NOUNS
from diorama.telling import join
from diorama.vocabulary import load_vocabulary
from models.perception import DetectedThing, Perception

Place = Literal["left", "centre", "right"]
Verdict = Literal["matches", "contradicts", "unclear", "not_mentioned"]

_PLACES: tuple[Place, ...] = ("left", "centre", "right")
_HEIGHTS = ("at the top", "", "at the bottom")
_WORST: tuple[Verdict, ...] = ("contradicts", "not_mentioned", "unclear", "matches")
_ARTICLES = frozenset({"a", "an", "the", "another", "one"})


def describe(perception: Perception) -> str:
    """A free description: every thing with its attributes and its place, from left to right, and the
    setting.
    """
    seen = [thing for thing in perception.things if thing.confidence >= SEEN_CONFIDENCE]
    setting = f"The scene is {phrase_of(perception.setting)}."
    if not seen:
        return f"The picture shows no things. {setting}"
    ordered = sorted(seen, key=lambda thing: (thing.box[0] + thing.box[2], thing.distance))
    nearest = min(seen, key=lambda thing: thing.distance) if len(seen) > 1 else None
    told = join([_describe_thing(thing, thing is nearest) for thing in ordered])
    kinds = Counter(thing.shape for thing in ordered)
    total = join([f"{n} {shape if n == 1 else plural_of(shape)}" for shape, n in kinds.items()])
    return f"The picture shows {told}. In all: {total}. {setting}"


def check_caption(request: CheckCaptionRequest) -> CaptionCheck:
    """One verdict per sentence; a reason begins with the kind of error that it speaks of ("colour: ...")."""
    mentions, settings = scan(request.caption)
    groups = [read_group(sentence.text) for sentence in request.sentences if sentence.kind == "object"]
    wanted = Counter(group.shape for group in groups if group is not None)
    verdicts: list[CaptionVerdict] = []
    for sentence in request.sentences:
        verdict, reason = _check(sentence, mentions, settings)
        group = read_group(sentence.text) if sentence.kind == "object" else None
        if reason.startswith("count") and group is not None and wanted[group.shape] > 1:
            # A thing that fits two sentences may be the other one's: a caption cannot tell.
            verdict, reason = "unclear", f"the caption does not tell one {group.shape} from another"
        verdicts.append(CaptionVerdict(sentence_id=sentence.id, verdict=verdict, reason=reason))
    return CaptionCheck(verdicts=tuple(verdicts))


@dataclass(slots=True)
class Mention:
    """`count` things that a caption speaks of, with the attributes that it gives them."""

    shape: str
    count: int = 1
    said: dict[str, str] = field(default_factory=dict[str, str])
    place: Place | None = None


def scan(caption: str) -> tuple[list[Mention], set[str]]:
    """The things and the settings that a caption names.

    Words from the last article or number before a shape belong to it, and so do those after it up to the
    next one's. What follows "In all:" sums up and is not counted again.
    """
    text = caption.lower()
    settings = {entry.name for entry in load_vocabulary().settings if re.search(rf"\b{entry.phrase}\b", text)}
    mentions: list[Mention] = []
    waiting: list[str] = []
    found = _words().findall(re.sub(r"in all: [^.]*", "", text))
    for place, word in enumerate(found):
        if word in _shapes() and not (word in _values() and _is_colour(found, place)):
            before, own = _cut(waiting)
            if mentions:
                _add_words(mentions[-1], before)
            mentions.append(Mention(_shapes()[word]))
            _add_words(mentions[-1], own)
            waiting = []
        elif word in ".;":
            if mentions:
                _add_words(mentions[-1], waiting)
            waiting = []
        else:
            waiting.append(word)
    if mentions:
        _add_words(mentions[-1], waiting)
    return mentions, settings


def _describe_thing(thing: DetectedThing, nearest: bool) -> str:
    x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
    place = f"on the {_PLACES[min(int(3 * x), 2)]}" if int(3 * x) != 1 else "in the centre"
    parts = [place, _HEIGHTS[min(int(3 * y), 2)], "nearest to the viewer" if nearest else ""]
    return " ".join([f"a {thing.size} {thing.colour} {thing.pattern} {thing.shape}", *filter(None, parts)])


@cache
def _shapes() -> dict[str, str]:
    return {form: shape.name for shape in load_vocabulary().shapes for form in shape.forms}


@cache
def _words() -> re.Pattern[str]:
    """Names of several words, longest first, and else single words, numbers and stops."""
    names = sorted((form for form in _shapes() if " " in form), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(names)})\b|[a-z]+|\d+|[.;]")


def _is_colour(found: list[str], place: int) -> bool:
    """Whether a word like "orange" is the colour there: before another name, or with no article before it."""
    after = next((word for word in found[place + 1 :] if word in _shapes() or word not in _values()), "")
    before = next((word for word in reversed(found[:place]) if word not in _values()), "")
    determined = before in _ARTICLES or before in NUMBERS or before.isdigit()
    return after in _shapes() or not determined


@cache
def _values() -> dict[str, tuple[str, str]]:
    """For each attribute word its attribute and value."""
    full = load_vocabulary()
    found = {entry.name: ("colour", entry.name) for entry in full.colours}
    found |= {entry.name: ("pattern", entry.name) for entry in full.patterns}
    found |= {noun: ("pattern", name) for name, noun in PATTERN_NOUNS.items()}
    return found | {entry.name: ("size", entry.name) for entry in full.sizes}


def _cut(waiting: list[str]) -> tuple[list[str], list[str]]:
    """Words that still belong to the thing before, and those from the last article or number on."""
    starts = [i for i, word in enumerate(waiting) if word in _ARTICLES or word in NUMBERS or word.isdigit()]
    return (waiting[: starts[-1]], waiting[starts[-1] :]) if starts else ([], waiting)


def _add_words(mention: Mention, found: list[str]) -> None:
    for word in found:
        if word in _values():
            attribute, value = _values()[word]
            mention.said.setdefault(attribute, value)
        elif word in NUMBERS:
            mention.count = NUMBERS.index(word) + 1
        elif word.isdigit():
            mention.count = int(word)
        elif word in _PLACES:
            mention.place = word


def _check(sentence: Sentence, mentions: list[Mention], settings: set[str]) -> tuple[Verdict, str]:
    if sentence.kind == "background":
        wanted = setting_of(sentence.text)
        if wanted in settings:
            return "matches", ""
        if settings:
            return "contradicts", f"background: {wanted} wanted, {join(sorted(settings))} described"
        return "not_mentioned", ""
    found: list[tuple[Verdict, str]] = []
    for part in sentence.text.split("; "):
        group = read_group(part) if sentence.kind == "object" else None
        if sentence.kind == "relation":
            found.append(_check_relation(part, mentions))
        elif group is not None:
            found.append(_check_group(group, mentions))
        else:
            found.append(("unclear", "the sentence is not in the embedded world's words"))
    return min(found, key=lambda verdict: _WORST.index(verdict[0]))


def _disagreements(group: Group, mention: Mention) -> list[Literal["colour", "pattern", "size"]]:
    said = mention.said
    return [name for name in ATTRIBUTES if name in said and getattr(group, name) not in (None, said[name])]


def _check_group(group: Group, mentions: list[Mention]) -> tuple[Verdict, str]:
    alike = [mention for mention in mentions if mention.shape == group.shape]
    if not alike:
        return "not_mentioned", f"missing: no {group.shape} described"
    fitting = [mention for mention in alike if not _disagreements(group, mention)]
    count, total = sum(mention.count for mention in fitting), sum(mention.count for mention in alike)
    if count == group.count:
        vague = any(
            getattr(group, name) is not None and name not in m.said for m in fitting for name in ATTRIBUTES
        )
        return ("unclear", "the caption leaves attributes open") if vague else ("matches", "")
    if count < group.count <= total:
        others = [mention for mention in alike if mention not in fitting]
        nearest = min(others, key=lambda mention: len(_disagreements(group, mention)))
        kind = _disagreements(group, nearest)[0]
        return "contradicts", f"{kind}: {getattr(group, kind)} wanted, {nearest.said[kind]} described"
    return "contradicts", f"count: {group.count} wanted, {count} described"


def _check_relation(text: str, mentions: list[Mention]) -> tuple[Verdict, str]:
    """Only left and right can be told from a caption, and only of things that it mentions once and places
    apart.
    """
    ends = read_relation(text)
    if ends is None:
        return "unclear", "the sentence is not in the embedded world's words"
    places: list[int] = []
    for target in (ends[0], ends[2]):
        group = read_group(target)
        found = [
            m
            for m in mentions
            if group is not None and m.shape == group.shape and not _disagreements(group, m)
        ]
        if not found:
            return "not_mentioned", ""
        if len(found) > 1 or found[0].place is None:
            return "unclear", "the caption does not say where both are"
        places.append(_PLACES.index(found[0].place))
    if ends[1] not in ("left of", "right of") or places[0] == places[1]:
        return "unclear", "the caption does not tell the two places apart"
    holds = (places[0] < places[1]) == (ends[1] == "left of")
    return ("matches", "") if holds else ("contradicts", f"position: not {ends[1]}")
