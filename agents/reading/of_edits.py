"""Telling and understanding the roles that change a prompt and tell of it: propose, explain."""

import logging
from typing import ClassVar

from pydantic import Field, ValidationError

from agents.evidence import Edit, Proposal, Span, apply_edits
from agents.explain import EXPLAIN, ExplainRequest, Explanation
from agents.patterns import load_patterns
from agents.propose import PROPOSE, Proposals, ProposeRequest
from agents.reading.of_errors import tell_errors
from agents.reading.phrase import Misunderstood, Phrase, Said, Told, numbered, said_text
from agents.reading.quotes import find_quote, overlap

FREE = "free"
"""The pattern of an edit that follows none."""

MOST_PATTERNS = 12
"""Patterns that are told, those with the most weight: weights are drawn anew each round, so that all get
their turn, and the whole library is 4,000 tokens."""

log = logging.getLogger(__name__)


class SaidEdit(Said):
    """Words of the base prompt and what stands in their place; `errors` are the numbers that it answers."""

    quote: str
    replacement: str
    pattern: str
    # In the schema alone, as below: small models left the list empty where their grammar let them.
    errors: list[int] = Field(json_schema_extra={"minItems": 1})


class SaidCandidate(Said):
    """One candidate prompt as edits that share no words, after the reason for them."""

    reason: str
    # In the schema alone: a grammar asks for one, and a candidate without any is left out, not the reply.
    edits: list[SaidEdit] = Field(json_schema_extra={"minItems": 1})


class SaidCandidates(Said):
    """Candidates, best first."""

    candidates: list[SaidCandidate] = Field(json_schema_extra={"minItems": 1})


def _tell_propose(request: ProposeRequest) -> Told:
    library = {pattern.name: pattern for pattern in load_patterns()}
    return {
        "base_prompt": request.prompt,
        "original_prompt": request.original_prompt,
        "errors": tell_errors(request.errors),
        "patterns": [
            {
                "name": choice.name,
                "weight": round(choice.weight, 3),
                "what_to_do": library[choice.name].strategy,
                "before": library[choice.name].example.before,
                "after": library[choice.name].example.after,
            }
            for choice in sorted(request.patterns, key=lambda choice: -choice.weight)[:MOST_PATTERNS]
        ],
        "lessons": [
            {
                "kind": lesson.kind,
                "before": lesson.before,
                "after": lesson.after,
                "change": lesson.rating_change,
            }
            for lesson in request.lessons
        ],
        "tried": list(request.tried),
        "how_many": request.count,
        **({"most_characters": request.longest} if request.longest else {}),
    }


def _understand_propose(request: ProposeRequest, said: SaidCandidates) -> Proposals:
    """The candidates that hold. One that does not is left out, as long as another does: it cost nothing."""
    proposals: list[Proposal] = []
    complaints: list[str] = []
    for number, candidate in enumerate(said.candidates, start=1):
        try:
            proposals.append(_understand_candidate(request, candidate))
        except Misunderstood as complaint:
            complaints.append(f"candidate {number}: {complaint}")
    if not proposals:
        raise Misunderstood("; ".join(complaints) or "there are no candidates: give at least one")
    for complaint in complaints:
        log.info("left out %s", complaint)
    return Proposals(proposals=tuple(proposals[: request.count]))


def _understand_candidate(request: ProposeRequest, said: SaidCandidate) -> Proposal:
    edits: list[Edit] = []
    for edit in said.edits:
        edits.append(_understand_edit(request, edit, [earlier.before for earlier in edits]))
    try:
        proposal = Proposal(edits=tuple(edits), reason=said.reason)
    except ValidationError as error:
        raise Misunderstood("it has no edits: give at least one") from error
    prompt = apply_edits(request.prompt, proposal.edits)
    if prompt in (request.prompt, *request.tried):
        raise Misunderstood(f"it gives {prompt!r}, which was tried before")
    if not prompt.strip():
        raise Misunderstood("it leaves nothing of the prompt")
    if request.longest and len(prompt) > request.longest:
        raise Misunderstood(
            f"it gives a prompt of {len(prompt)} characters and the painter reads about {request.longest}: "
            "say it in fewer words"
        )
    return proposal


def _understand_edit(request: ProposeRequest, said: SaidEdit, taken: list[Span]) -> Edit:
    known = {choice.name for choice in request.patterns}
    if said.pattern not in known | {FREE}:
        raise Misunderstood(
            f"no pattern is called {said.pattern!r}: use {', '.join(sorted(known))} or {FREE}"
        )
    errors = [numbered(request.errors, number, "error") for number in said.errors]
    if not errors:
        raise Misunderstood(f"the edit of {said.quote!r} answers no error: give the numbers of its errors")
    near = [error.span for error in errors if error.span]
    before = find_quote(request.prompt, said.quote, near=near, taken=taken)
    _check_place(request, before, said, near)
    return Edit(
        before=before,
        after=said.replacement,
        pattern=said.pattern,
        error_ids=tuple(dict.fromkeys(error.id for error in errors)),
    )


def _check_place(request: ProposeRequest, before: Span, said: SaidEdit, near: list[Span]) -> None:
    """Only patterns about the whole prompt may edit outside the sentences of their errors."""
    whole = {pattern.name for pattern in load_patterns() if pattern.whole_prompt}
    if said.pattern in whole or not near:
        return
    sentences = [sentence.span for sentence in request.sentences]
    allowed = [*near, *(span for span in sentences if any(overlap(span, error) for error in near))]
    if not any(overlap(before, span) for span in allowed):
        raise Misunderstood(f"the edit of {said.quote!r} changes words that its errors do not concern")


class SaidExplanation(Said):
    """One paragraph."""

    plain: ClassVar[str | None] = "text"
    text: str


def _tell_explain(request: ExplainRequest) -> Told:
    return {
        "prompt": request.prompt,
        "final_prompt": request.final_prompt,
        "errors": tell_errors(request.errors),
        "edits": [
            {"before": edit.before.text, "after": edit.after, "pattern": edit.pattern}
            for edit in request.edits
        ],
        "rating_of_the_first_picture": round(request.original.mean, 2),
        "rating_of_the_final_picture": round(request.final.mean, 2),
        "pictures": request.pictures,
        "ended_because": request.status,
    }


def _understand_explain(request: ExplainRequest, said: SaidExplanation) -> Explanation:
    return Explanation(text=said_text(said.text, "the text"))


PROPOSE_PHRASE = Phrase(PROPOSE, SaidCandidates, _tell_propose, _understand_propose)
EXPLAIN_PHRASE = Phrase(EXPLAIN, SaidExplanation, _tell_explain, _understand_explain)
