"""A painter and a mind that take time and nothing else: what the loop costs around models of known speed.

The painter draws one flat colour per request; the mind knows five things by heart, and finds a third of its
questions answered with no, by the picture's hash. Both are a real tool and a real mind: what is
measured around them is the loop as it runs.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from PIL import Image

from agents.embedded_judging import integrate
from agents.embedded_rating import rate
from agents.evidence import Answer, Edit, Proposal, Question, Sentence, Span
from agents.role import MindError, Role
from models.artifact import ArtifactRef
from models.picture_request import GenerateRequest, GenerateResult
from models.tool import Tool, ToolContext

THINGS = ("a red cube", "a blue sphere", "a green cone", "a yellow torus", "a small cylinder")
PROMPT = f"{', '.join(THINGS[:-1])} and {THINGS[-1]}"
ASPECTS = ("existence", "colour")
QUESTIONS = len(THINGS) * len(ASPECTS)
MAX_BATCH = 8


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds: a picture alone, a batch of eight (others lie on the line between), and a call to a mind."""

    picture: float = 1.0
    batch_of_8: float = 3.0
    call: float = 0.5

    def scaled(self, scale: float) -> "Latency":
        """All of it, `scale` times as long."""
        return Latency(self.picture * scale, self.batch_of_8 * scale, self.call * scale)

    def batch(self, size: int) -> float:
        """Seconds for a batch of `size` pictures."""
        return self.picture + (self.batch_of_8 - self.picture) * (size - 1) / (MAX_BATCH - 1)


class SleepingPainter(Tool[GenerateRequest, GenerateResult, None]):
    """Takes as long as a generator would. `fails` says which of its requests come to nothing."""

    name = "generate_image"
    summary = "Draw one flat colour, slowly."
    request_type = GenerateRequest
    result_type = GenerateResult
    max_batch = MAX_BATCH

    def __init__(self, latency: Latency, fails: "Faults | None" = None) -> None:
        self._latency = latency
        self._fails = fails
        self.batches: list[int] = []
        """Sizes of all batches so far."""

    def model_key(self, request: GenerateRequest) -> str:
        """There is one model."""
        return "flat"

    def memory_bytes(self, model_key: str) -> int:
        """None."""
        return 0

    def load(self, model_key: str, device: str) -> None:
        """Nothing to load."""

    def run(
        self, model: None, requests: Sequence[GenerateRequest], context: ToolContext
    ) -> list[GenerateResult]:
        """One flat picture per request, of a colour that its prompt and seed decide."""
        self.batches.append(len(requests))
        time.sleep(self._latency.batch(len(requests)))
        if self._fails and self._fails.strikes("paint"):
            raise ConnectionError("the painter cannot be reached, on purpose: paint again")
        results: list[GenerateResult] = []
        for request in requests:
            digest = sha256(f"{request.prompt}/{request.seed}".encode()).digest()
            picture = Image.new("RGB", (16, 16), (digest[0], digest[1], digest[2]))
            ref = context.artifacts.save_image(picture, seed=request.seed, provenance={"tool": self.name})
            results.append(GenerateResult(picture=ref, seconds=0.0))
        return results


@dataclass(slots=True)
class Faults:
    """Strikes a share of all calls, decided by a seed and the number of the call."""

    rate: float
    seed: int = 0
    calls: int = 0
    struck: int = field(default=0)

    def strikes(self, where: str) -> bool:
        """Whether this call fails."""
        self.calls += 1
        draw = (
            int.from_bytes(sha256(f"{self.seed}/{where}/{self.calls}".encode()).digest()[:4], "big") / 2**32
        )
        self.struck += draw < self.rate
        return draw < self.rate


class SleepingMind:
    """Takes as long as a model behind an endpoint would."""

    name = "sleeping"

    def __init__(self, latency: Latency, fails: Faults | None = None, places: int = 10**9) -> None:
        """It answers `places` calls at once."""
        self._latency = latency
        self._fails = fails
        self._places = asyncio.Semaphore(places)
        self.calls: dict[str, int] = {}
        """Calls so far by role."""

    async def ask(self, role: Role[Any, Any], request: Any, images: Sequence[ArtifactRef] = ()) -> Any:
        """Play `role` after the time that a call takes.

        Raises:
            MindError: it was struck by a fault.
        """
        for _ in range(2):  # a mind that reads is asked once more
            self.calls[role.name] = self.calls.get(role.name, 0) + 1
            async with self._places:
                await asyncio.sleep(self._latency.call)
            if self._fails is None or not self._fails.strikes(role.name):
                return role.reply.model_validate(_reply(role.name, request, images))
        raise MindError(f"{role.name} failed on purpose, twice: ask another mind")


def _sentences(prompt: str) -> list[Sentence]:
    found: list[Sentence] = []
    for index, thing in enumerate(THINGS):
        noun = thing.rsplit(" ", 1)[1]
        end = prompt.index(noun) + len(noun)
        start = found[-1].span.end if found else 0
        span = Span(start=start, end=end, text=prompt[start:end])
        found.append(Sentence(id=index, text=thing, kind="object", span=span))
    return found


def _questions(request: Any) -> dict[str, Any]:
    ids = [sentence.id for sentence in request.sentences]
    questions = [
        Question(
            id=f"{index}-{kind}",
            sentence_id=ids[index % len(ids)],
            kind=kind,
            text=f"{kind} of {thing}?",
            target=thing,
        )
        for index, thing in enumerate(THINGS)
        for kind in ASPECTS
    ]
    return {"questions": questions}


def _answers(request: Any, images: Sequence[ArtifactRef]) -> dict[str, Any]:
    """A third is no, and the first always, so that a run spends its budget."""
    answers: list[Answer] = []
    for number, question in enumerate(request.questions):
        draw = sha256(f"{images[0].sha256}/{question.id}".encode()).digest()[0]
        wrong = number == 0 or draw < 85
        answers.append(
            Answer(question_id=question.id, verdict="no" if wrong else "yes", p_yes=0.1 if wrong else 0.9)
        )
    return {"answers": answers}


def _proposals(request: Any) -> dict[str, Any]:
    proposals: list[Proposal] = []
    for number in range(request.count):
        error = request.errors[number % len(request.errors)]
        after = f"{error.span.text} ({request.seed % 10_000}.{number})"
        edit = Edit(before=error.span, after=after, pattern="free", error_ids=(error.id,))
        proposals.append(Proposal(edits=(edit,)))
    return {"proposals": proposals}


def _places(request: Any) -> dict[str, Any]:
    spans = {sentence.id: sentence.span for sentence in request.sentences}
    return {"spans": {error.id: spans[error.sentence_ids[0]] for error in request.errors}}


def _reply(role: str, request: Any, images: Sequence[ArtifactRef]) -> Any:
    """What the mind knows by heart; an exact rule where the embedded mind has one."""
    match role:
        case "decompose":
            return {"sentences": _sentences(request.prompt)}
        case "question":
            return _questions(request)
        case "caption":
            return {"text": "one flat colour"}
        case "check_caption":
            return {"verdicts": [{"sentence_id": s.id, "verdict": "unclear"} for s in request.sentences]}
        case "answer":
            return _answers(request, images)
        case "integrate":
            return integrate(request)
        case "locate":
            return _places(request)
        case "merge":
            return {"prompt": request.prompt.replace(request.sentence.span.text, request.replacement, 1)}
        case "propose":
            return _proposals(request)
        case "rate":
            return rate(request)
        case _:
            return {"text": "It took its time."}
