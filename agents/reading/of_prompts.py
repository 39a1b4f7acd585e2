"""Telling and understanding the roles that work on a prompt alone: decompose, question, rewrite, merge."""

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from agents.decompose import DECOMPOSE, DecomposeRequest, Decomposition
from agents.evidence import Question, Sentence, SentenceKind, Span
from agents.merge import MERGE, Merged, MergeRequest
from agents.question import QUESTION, QuestionRequest, Questions
from agents.reading.phrase import Misunderstood, Phrase, Said, Told, numbered, said_text
from agents.reading.quotes import find_quote
from agents.rewrite import REWRITE, RewriteRequest, Rewritten


class SaidSentence(Said):
    """A sentence and the words of the prompt that say it."""

    quote: str
    kind: SentenceKind
    text: str


class SaidDecomposition(Said):
    """All sentences in the prompt's order."""

    sentences: list[SaidSentence]


def _tell_decompose(request: DecomposeRequest) -> Told:
    return {"prompt": request.prompt}


def _understand_decompose(request: DecomposeRequest, said: SaidDecomposition) -> Decomposition:
    if not said.sentences:
        raise Misunderstood("there are no sentences: give at least one")
    spans: list[Span] = []
    for sentence in said.sentences:
        spans.append(find_quote(request.prompt, sentence.quote, near=spans[-1:], taken=spans))
    ordered = sorted(zip(spans, said.sentences, strict=True), key=lambda pair: pair[0].start)
    return Decomposition(
        sentences=tuple(
            Sentence(id=index, text=said_text(sentence.text, "a text"), kind=sentence.kind, span=span)
            for index, (span, sentence) in enumerate(ordered)
        )
    )


class SaidQuestion(Said):
    """A yes/no question about sentence number `sentence`; `after` counts from 1."""

    sentence: int
    kind: Literal["existence", "count", "colour", "pattern", "size", "position", "background", "extra"]
    target: str
    question: str
    after: list[int]


class SaidQuestions(Said):
    """All questions about a prompt."""

    questions: list[SaidQuestion]


def _tell_question(request: QuestionRequest) -> Told:
    return {"prompt": request.prompt, "sentences": tell_sentences(request.sentences)}


def _understand_question(request: QuestionRequest, said: SaidQuestions) -> Questions:
    if not said.questions:
        raise Misunderstood("there are no questions: give at least one")
    asked: dict[str, int] = {}
    questions: list[Question] = []
    for number, question in enumerate(said.questions, start=1):
        text = said_text(question.question, f"question {number}")
        if (first := asked.setdefault(text.casefold(), number)) != number:
            raise Misunderstood(f"question {number} repeats question {first}: ask each once")
        if late := [parent for parent in question.after if not 1 <= parent < number]:
            raise Misunderstood(f"question {number} comes after {late[0]}, which is no question before it")
        questions.append(
            Question(
                id=f"q{number}",
                sentence_id=numbered(request.sentences, question.sentence, "sentence").id,
                kind=question.kind,
                text=text,
                target=said_text(question.target, f"the target of question {number}"),
                depends_on=tuple(f"q{parent}" for parent in dict.fromkeys(question.after)),
            )
        )
    return Questions(questions=tuple(questions))


class SaidPrompt(Said):
    """A whole prompt."""

    prompt: str


def _tell_rewrite(request: RewriteRequest) -> Told:
    return {"prompt": request.prompt}


def _understand_rewrite(request: RewriteRequest, said: SaidPrompt) -> Rewritten:
    return Rewritten(prompt=said_text(said.prompt, "the prompt"))


def _tell_merge(request: MergeRequest) -> Told:
    return {
        "prompt": request.prompt,
        "sentence": request.sentence.span.text,
        "replacement": request.replacement,
    }


def _understand_merge(request: MergeRequest, said: SaidPrompt) -> Merged:
    """Where the sentence still stands in its place, all words around it have to survive."""
    span, prompt = request.sentence.span, said_text(said.prompt, "the prompt")
    if request.prompt[span.start : span.end] == span.text:
        for kept in (request.prompt[: span.start].strip(), request.prompt[span.end :].strip()):
            if kept not in prompt:
                raise Misunderstood(f"the words {kept!r} were changed: leave all but the sentence as it is")
    return Merged(prompt=prompt)


def tell_sentences(sentences: Sequence[Sentence]) -> list[JsonValue]:
    """Sentences with their numbers and words."""
    return [
        {"number": number, "kind": sentence.kind, "text": sentence.text, "words": sentence.span.text}
        for number, sentence in enumerate(sentences, start=1)
    ]


DECOMPOSE_PHRASE = Phrase(DECOMPOSE, SaidDecomposition, _tell_decompose, _understand_decompose)
QUESTION_PHRASE = Phrase(QUESTION, SaidQuestions, _tell_question, _understand_question)
REWRITE_PHRASE = Phrase(REWRITE, SaidPrompt, _tell_rewrite, _understand_rewrite)
MERGE_PHRASE = Phrase(MERGE, SaidPrompt, _tell_merge, _understand_merge)
