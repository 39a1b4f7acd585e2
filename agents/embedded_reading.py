"""Reads prompts by the embedded world's grammar: sentences, questions, the words that an error concerns.

Knows words and their places; never a picture.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from agents.decompose import DecomposeRequest, Decomposition
from agents.embedded_claims import (
    NOTHING_ELSE,
    Claim,
    align,
    make_claims,
    name_groups,
    name_relation,
    phrase_of,
    plural_of,
    read_relation,
)
from agents.evidence import Error, Question, Sentence, Span
from agents.locate import LocateRequest, Locations
from agents.merge import Merged, MergeRequest
from agents.question import QuestionRequest, Questions
from agents.role import MindError, UnsupportedPrompt
from diorama.graph import Group, SceneGraph
from diorama.parsing import Parsed, ParsedSentence, UnknownWords, Unparsable, canonical, parse
from diorama.phrases import NUMBERS
from diorama.telling import join
from diorama.vocabulary import Vocabulary

_EXACTLY = re.compile(r"\bexactly $", re.IGNORECASE)
_IN_ALL = re.compile(rf"(?:,? (?:{'|'.join(NUMBERS)}))? in all\b", re.IGNORECASE)

WAY_OUT = "use its words, or another painter and mind: `--backend NAME --mind openai`"


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt understood. `names` and `relation_names` are the targets of the parsed graph's groups and
    relations.
    """

    prompt: str
    parsed: Parsed
    scene: SceneGraph
    """The canonical graph: equal for all prompts that mean the same."""
    names: tuple[str, ...]
    relation_names: tuple[str, ...]

    def phrase(self, group: int) -> tuple[int, int]:
        """Start and end of the words that first name a group: "two cubes that are red".

        Pieces that follow at once and name the same group belong to it ("a red cube and another red cube").
        """
        sentences = self.parsed.sentences
        first = next(
            i for i, piece in enumerate(sentences) if piece.kind == "object" and group in piece.groups
        )
        last = first
        while last + 1 < len(sentences) and sentences[last + 1].groups == sentences[first].groups:
            if (
                sentences[last + 1].kind != "object"
                or "." in self.prompt[sentences[last].end - 1 : sentences[last + 1].start]
            ):
                break
            last += 1
        start, end = sentences[first].start, sentences[last].end
        said = self.parsed.spans.groups[group]
        parts = (*said.count, *said.colour, *said.pattern, *said.size, *said.shape)
        inside = [part for part in parts if start <= part.start and part.end <= end]
        begin, stop = min(part.start for part in inside), max(part.end for part in inside)
        before, after = _EXACTLY.search(self.prompt[:begin]), _IN_ALL.match(self.prompt[stop:])
        return before.start() if before else begin, stop + after.end() if after else stop

    def span(self, start: int, end: int) -> Span:
        """The span of these characters."""
        return Span(start=start, end=end, text=self.prompt[start:end])


@lru_cache(maxsize=1024)
def read(prompt: str) -> Reading:
    """Read a prompt.

    Raises:
        UnsupportedPrompt: it has words that the embedded world does not know, or makes no scene.
    """
    try:
        parsed = parse(prompt)
    except UnknownWords as error:
        text = f"the embedded mind does not know {error.named}: {WAY_OUT}"
        raise UnsupportedPrompt(error.words, text) from error
    except Unparsable as error:
        text = f"the embedded mind cannot read {prompt!r}: {error.why}. Say it more plainly, or {WAY_OUT}"
        raise UnsupportedPrompt((), text) from error
    scene = canonical(parsed.graph)
    known = name_groups(scene)
    names = tuple(known[place] for place in align(parsed.graph))
    relations = tuple(name_relation(names, relation) for relation in parsed.graph.relations)
    return Reading(prompt=prompt, parsed=parsed, scene=scene, names=names, relation_names=relations)


def check_known(prompt: str, vocabulary: Vocabulary) -> None:
    """Refuse a prompt that asks for things, attributes or settings outside a painter's sub-vocabulary.

    Raises:
        UnsupportedPrompt: it does, or it cannot be read at all.
    """
    graph = read(prompt).parsed.graph
    asked = [(group.shape, group.colour, group.pattern, group.size) for group in graph.groups]
    used = dict.fromkeys(word for words in (*asked, (graph.setting,)) for word in words if word is not None)
    known = {
        *vocabulary.shape_names,
        *vocabulary.colour_names,
        *vocabulary.pattern_names,
        *vocabulary.size_names,
        *vocabulary.setting_names,
    }
    if unknown := [word for word in used if word not in known]:
        names = join([repr(word) for word in unknown])
        raise UnsupportedPrompt(
            unknown,
            f"the embedded painter was not taught {names} (`maulstick doctor` lists its words): {WAY_OUT}",
        )


def decompose(request: DecomposeRequest) -> Decomposition:
    """One sentence per noun phrase, relation and setting, with the exact words; its text is the claim's
    target.
    """
    return Decomposition(sentences=make_sentences(request.prompt))


def make_sentences(prompt: str) -> tuple[Sentence, ...]:
    """The sentences of a prompt, numbered in order."""
    reading = read(prompt)
    return tuple(
        Sentence(
            id=index,
            text=_say_piece(reading, piece),
            kind=piece.kind,
            span=reading.span(piece.start, piece.end),
        )
        for index, piece in enumerate(reading.parsed.sentences)
    )


def question(request: QuestionRequest) -> Questions:
    """The prompt's claims as questions; their ids are the same for every wording of the same scene."""
    return Questions(questions=make_questions(request.prompt, request.sentences))


def make_questions(prompt: str, sentences: Sequence[Sentence] = ()) -> tuple[Question, ...]:
    """The questions of a prompt, each pointing at the one of its `sentences` (or of its own) that it came
    from.
    """
    reading = read(prompt)
    sentences = sentences or make_sentences(prompt)
    names = name_groups(reading.scene)
    questions: list[Question] = []
    for claim in make_claims(reading.scene, names):
        start, end = _find(reading, claim.kind, claim.target)
        questions.append(
            Question(
                id=claim.id,
                sentence_id=_sentence_at(sentences, start, end).id,
                kind=claim.kind,
                text=_ask(claim, reading.scene, names),
                target=claim.target,
                depends_on=claim.depends_on,
            )
        )
    return tuple(questions)


def locate(request: LocateRequest) -> Locations:
    """The shortest words that say what was painted wrong, whatever the wording of the prompt.

    An error about something that this prompt does not name in so many words gets its sentence; a surplus
    thing gets the words for its like, or else all that names things.
    """
    reading = read(request.prompt)
    return Locations(spans={error.id: _locate(reading, error, request.sentences) for error in request.errors})


def merge(request: MergeRequest) -> Merged:
    """Put the replacement in the sentence's place, to the letter.

    Raises:
        MindError: the sentence's words do not stand where its span says.
        UnsupportedPrompt: the result cannot be read.
    """
    span = request.sentence.span
    if request.prompt[span.start : span.end] != span.text:
        found = request.prompt[span.start : span.end]
        raise MindError(f"the prompt has {found!r} at {span.start}, not {span.text!r}: decompose it again")
    merged = request.prompt[: span.start] + request.replacement + request.prompt[span.end :]
    return Merged(prompt=read(merged).prompt)


def _say_piece(reading: Reading, piece: ParsedSentence) -> str:
    if piece.kind == "background":
        return phrase_of(reading.scene.setting or "")
    if piece.kind == "relation":
        return "; ".join(reading.relation_names[index] for index in piece.relations)
    return "; ".join(dict.fromkeys(reading.names[index] for index in piece.groups))


def _ask(claim: Claim, scene: SceneGraph, names: Sequence[str]) -> str:
    if claim.kind == "background":
        return f"Is the scene {claim.target}?"
    if claim.kind == "extra":
        return f"Does the picture show nothing but {join(list(names))}?"
    if claim.group is None:
        subject, predicate, other = read_relation(claim.target) or ("", "", "")
        return f"Is it true of {subject} and {other} that the first is {predicate} the second?"
    group = scene.groups[claim.group]
    several, noun = group.count > 1, plural_of(group.shape) if group.count > 1 else group.shape
    match claim.kind:
        case "existence":
            return f"Is there any {group.shape} where {claim.target} {'are' if several else 'is'} wanted?"
        case "count":
            number = NUMBERS[group.count - 1]
            return f"{'Are' if several else 'Is'} there exactly {number} {noun} for {claim.target}?"
        case _:
            value = getattr(group, claim.kind)
            return (
                f"Are all {noun} of {claim.target} {value}?"
                if several
                else f"Is the {noun} {value} ({claim.target})?"
            )


def _find(reading: Reading, kind: str, target: str) -> tuple[int, int]:
    """Start and end of the words behind a claim; of everything that names things where no words are behind
    it.
    """
    spans = reading.parsed.spans
    if kind == "background" and spans.setting:
        return spans.setting[0].start, spans.setting[0].end
    if kind == "position" and target in reading.relation_names:
        said = spans.relations[reading.relation_names.index(target)][0]
        return said.start, said.end
    if target in reading.names:
        group = reading.names.index(target)
        parts = spans.groups[group]
        found = {
            "count": parts.count,
            "colour": parts.colour,
            "pattern": parts.pattern,
            "size": parts.size,
        }.get(kind)
        return (found[0].start, found[0].end) if found else reading.phrase(group)
    return _hull(reading.phrase(group) for group in range(len(reading.names)))


def _hull(found: Iterable[tuple[int, int]]) -> tuple[int, int]:
    listed = list(found)
    return min(start for start, _ in listed), max(end for _, end in listed)


def _sentence_at(sentences: Sequence[Sentence], start: int, end: int) -> Sentence:
    """The sentence that shares most characters with a span (the first, if none shares any)."""
    return max(sentences, key=lambda s: min(end, s.span.end) - max(start, s.span.start))


def _locate(reading: Reading, error: Error, sentences: Sequence[Sentence]) -> Span:
    if error.target == NOTHING_ELSE or error.kind == "extra":
        shapes = [group.shape for group in reading.parsed.graph.groups]
        alike = [index for index, shape in enumerate(shapes) if shape in error.description]
        return reading.span(*_hull(map(reading.phrase, alike or range(len(shapes)))))
    if error.kind == "background" or error.target in (*reading.names, *reading.relation_names):
        return reading.span(*_find(reading, error.kind, error.target))
    spans = [sentence.span for sentence in sentences if sentence.id in error.sentence_ids]
    return spans[0] if spans else reading.span(*_find(reading, error.kind, error.target))


def find_group(reading: Reading, target: str) -> tuple[int, Group] | None:
    """The first parsed group that a target names."""
    if target not in reading.names:
        return None
    index = reading.names.index(target)
    return index, reading.parsed.graph.groups[index]
