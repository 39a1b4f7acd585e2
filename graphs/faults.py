"""What a picture's answers say is wrong with it, and how sentences follow their words through edits.

Both are exact rules, so that looking at a candidate costs one answer and one rating and nothing else.
Knows no mind.
"""

from collections import Counter
from collections.abc import Sequence

from agents.denials import find_denials
from agents.evidence import Answer, Edit, Error, ErrorKind, Question, Sentence, Span
from graphs.state import RefineState

_KINDS: dict[str, ErrorKind] = {"existence": "missing"}


def find_faults(
    questions: Sequence[Question], answers: Sequence[Answer], round_number: int
) -> tuple[Error, ...]:
    """One error per question answered no whose parents were answered yes; what hangs on a no means nothing.

    The severity is the probability of no.
    """
    return tuple(
        _fault(question, answer, round_number) for question, answer in find_denials(questions, answers)
    )


def _fault(question: Question, answer: Answer, round_number: int) -> Error:
    return Error(
        id=f"fault-{question.id}",
        kind=_KINDS.get(question.kind) or _as_error_kind(question.kind),
        target=question.target,
        description=answer.evidence or f"no: {question.text}",
        sentence_ids=(question.sentence_id,),
        severity=1.0 - answer.p_yes,
        sources=("vqa",),
        found_in_round=round_number,
    )


def _as_error_kind(kind: str) -> ErrorKind:
    match kind:
        case "count" | "colour" | "pattern" | "size" | "position" | "background" | "extra":
            return kind
        case _:
            raise ValueError(f"question kind {kind!r} names no kind of error")


def find_doubts(state: RefineState) -> tuple[Error, ...]:
    """What other pictures of the incumbent's prompt lack, most frequent first, where the incumbent itself
    lacks nothing and does not satisfy.

    Twenty-three more pictures of a prompt whose first one was lucky were painted once, and most lacked the
    same thing: it is the words that were wrong with them.
    """
    if state.open_errors or state.incumbent is None:
        return ()
    candidate, view = state.incumbent
    if view.rating is None or view.rating.mean >= state.request.satisfied_at:
        return ()
    found = [fault for other in candidate.views for fault in other.faults if other.number != view.number]
    times = Counter(fault.id for fault in found)
    worst = {fault.id: fault for fault in sorted(found, key=lambda fault: fault.severity)}
    return tuple(sorted(worst.values(), key=lambda fault: (-times[fault.id], fault.id)))


def follow_sentences(sentences: Sequence[Sentence], edits: Sequence[Edit]) -> tuple[Sentence, ...] | None:
    """The same sentences, their spans moved to where `edits` put their words.

    None if an edit reaches over a sentence's edge or leaves it without words: then only taking the edited
    prompt apart again can tell which words are whose.
    """
    moved: list[Sentence] = []
    for sentence in sentences:
        start, end, text = sentence.span.start, sentence.span.end, sentence.span.text
        shift = 0
        for edit in sorted(edits, key=lambda edit: edit.before.start, reverse=True):
            before, grown = edit.before, len(edit.after) - len(edit.before.text)
            if before.end <= start:
                shift += grown
            elif start <= before.start and before.end <= end:
                at = before.start - start
                text = text[:at] + edit.after + text[at + len(before.text) :]
            elif before.start < end:
                return None
        if not text:
            return None
        span = Span(start=start + shift, end=start + shift + len(text), text=text)
        moved.append(sentence.model_copy(update={"span": span}))
    return tuple(moved)


def whole_span(prompt: str) -> Span:
    """All of the prompt."""
    return Span(start=0, end=len(prompt), text=prompt)


def widen_spans(errors: Sequence[Error], sentences: Sequence[Sentence], prompt: str) -> tuple[Error, ...]:
    """Give each error without a span its first sentence's, or the whole prompt where no sentence is named."""
    spans = {sentence.id: sentence.span for sentence in sentences}
    return tuple(
        error
        if error.span
        else error.model_copy(
            update={"span": next((spans[i] for i in error.sentence_ids if i in spans), whole_span(prompt))}
        )
        for error in errors
    )
