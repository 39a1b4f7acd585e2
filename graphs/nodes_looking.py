"""The nodes that find out what is asked and what is wrong: decompose, caption, check_caption, question,
answer, integrate, locate.
"""

from typing import Any

from langgraph.runtime import Runtime

from agents.caption import CAPTION, CaptionRequest
from agents.check_caption import CHECK_CAPTION, CheckCaptionRequest
from agents.decompose import DECOMPOSE, DecomposeRequest
from agents.evidence import Error, Sentence
from agents.integrate import INTEGRATE, IntegrateRequest
from agents.locate import LOCATE, LocateRequest
from agents.question import QUESTION, QuestionRequest
from graphs.context import Studio, Tally, emit
from graphs.events import ErrorSeen, Rated
from graphs.faults import find_doubts, follow_sentences, whole_span
from graphs.nodes_painting import look_at, rate
from graphs.state import ORIGINAL, Candidate, RefineState, View

Update = dict[str, Any]


async def decompose(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Take the user's prompt apart."""
    tally = Tally(runtime, "prompt")
    reply = await tally.ask(DECOMPOSE, DecomposeRequest(prompt=state.request.prompt))
    return {"sentences": reply.sentences, "base_sentences": reply.sentences, **tally.update}


async def caption(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Describe the first picture freely."""
    tally = Tally(runtime, "picture 1")
    _, view = _first(state)
    reply = await tally.ask(CAPTION, CaptionRequest(), [view.picture])
    return {"caption": reply.text, **tally.update}


async def check_caption(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Hold the caption against each sentence; without a caption there is nothing to hold."""
    if not state.caption:
        return {}
    tally = Tally(runtime, "picture 1")
    request = CheckCaptionRequest(sentences=state.sentences, caption=state.caption)
    reply = await tally.ask(CHECK_CAPTION, request)
    return {"verdicts": reply.verdicts, **tally.update}


async def question(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Turn the prompt into questions; they are asked of every picture of the run."""
    tally = Tally(runtime, "prompt")
    request = QuestionRequest(prompt=state.request.prompt, sentences=state.sentences)
    reply = await tally.ask(QUESTION, request)
    return {"questions": reply.questions, **tally.update}


async def answer(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Look at the first picture exactly as candidates will be looked at."""
    return await rate(look_at(state, *_first(state)), runtime)


async def integrate(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Merge what the incumbent's picture shows with the errors known so far. The same incumbent is not
    asked twice.
    """
    candidate, view = _incumbent(state)
    if state.integrated == view.number:
        return {}
    if state.round == 0:
        _announce(runtime, candidate, view)
    tally = Tally(runtime, f"picture {view.number}")
    request = IntegrateRequest(
        prompt=state.request.prompt,
        sentences=state.sentences,
        questions=state.questions,
        answers=view.answers,
        verdicts=state.verdicts if view.number == 1 else (),
        known=tuple(state.errors.values()),
        round=state.round,
    )
    reply = await tally.ask(INTEGRATE, request)
    # A span found in another prompt's words says nothing about this one's.
    errors = {error.id: error.model_copy(update={"span": None}) for error in reply.errors}
    for error in errors.values():
        known = state.errors.get(error.id)
        if known is None or known.status != error.status:
            emit(runtime, ErrorSeen(error=error, round=state.round))
    return {"errors": errors, "integrated": view.number, **tally.update}


async def locate(state: RefineState, runtime: Runtime[Studio]) -> Update:
    """Find the words of the incumbent's prompt that its errors concern, or that its doubts do, where it has
    none.
    """
    errors = state.open_errors or find_doubts(state)
    if all(error.span for error in errors):  # there are none, or the incumbent is the one of the last round
        return {"doubts": ()}
    located, update = await _locate(state, errors, runtime)
    if state.open_errors:
        return {"errors": {error.id: error for error in located}, "doubts": (), **update}
    return {"doubts": located, **update}


async def _locate(
    state: RefineState, errors: tuple[Error, ...], runtime: Runtime[Studio]
) -> tuple[tuple[Error, ...], Update]:
    """The errors with their spans (with the ablation: all of the prompt), and what finding them took."""
    base, _ = _incumbent(state)
    if not state.request.ablation.location:
        span = whole_span(base.prompt)
        return tuple(error.model_copy(update={"span": span}) for error in errors), {}
    tally = Tally(runtime, f"{base.id} in round {state.round}")
    sentences = await _take_apart(state, base, tally)
    reply = await tally.ask(LOCATE, LocateRequest(prompt=base.prompt, sentences=sentences, errors=errors))
    located = tuple(_place(error, reply.spans, base.prompt) for error in errors)
    return located, {"base_sentences": sentences, **tally.update}


def _place(error: Error, spans: dict[str, Any], prompt: str) -> Error:
    """The error with its span, if the span really stands in the prompt."""
    span = spans.get(error.id)
    fits = span is not None and prompt[span.start : span.end] == span.text
    return error.model_copy(update={"span": span if fits else None})


async def _take_apart(state: RefineState, base: Candidate, tally: Tally) -> tuple[Sentence, ...]:
    """The base prompt's sentences under the original's ids; asked of a mind only where edits blurred them."""
    chain: list[Candidate] = []
    at = base
    while at.base is not None:
        chain.append(at)
        at = state.candidates[at.base]
    sentences: tuple[Sentence, ...] | None = state.sentences
    for candidate in reversed(chain):
        sentences = sentences and follow_sentences(sentences, candidate.edits)
    if sentences:
        return sentences
    return (await tally.ask(DECOMPOSE, DecomposeRequest(prompt=base.prompt))).sentences


def _announce(runtime: Runtime[Studio], candidate: Candidate, view: View) -> None:
    if view.rating:
        faults = tuple(fault.description for fault in view.faults)
        emit(
            runtime,
            Rated(
                candidate=candidate.id,
                picture=view.picture,
                rating=view.rating,
                errors=faults,
                incumbent=True,
            ),
        )


def _first(state: RefineState) -> tuple[Candidate, View]:
    candidate = state.candidates[ORIGINAL]
    return candidate, candidate.views[0]


def _incumbent(state: RefineState) -> tuple[Candidate, View]:
    incumbent = state.incumbent
    assert incumbent is not None, "the graph looks at pictures only after it painted one"
    return incumbent
