"""What the roles tell each other: sentences, questions, answers, errors, edits, ratings. Pure data.

Every piece has an id, so that a wrong picture can be traced from a question to an error to the words of the
prompt that an edit replaced.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ErrorKind = Literal["count", "missing", "extra", "colour", "pattern", "position", "size", "background"]
SentenceKind = Literal["object", "relation", "background"]
Verdict = Literal["yes", "no", "unsure"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Score = Annotated[float, Field(ge=1.0, le=5.0)]


class Evidence(BaseModel):
    """Base of everything the roles exchange: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(Evidence):
    """Characters `start` to `end` of a prompt, and the text that stands there."""

    start: Annotated[int, Field(ge=0)]
    end: int
    text: str

    @model_validator(mode="after")
    def _check_length(self) -> "Span":
        if self.end - self.start != len(self.text):
            raise ValueError(
                f"span {self.start}:{self.end} cannot hold {len(self.text)} characters {self.text!r}"
            )
        return self


class Sentence(Evidence):
    """A decomposed piece of the prompt (a meta-sentence of GenPilot): what it says and which words say it."""

    id: int
    text: str
    kind: SentenceKind
    span: Span


class Question(Evidence):
    """A visual question with the answer that the prompt wants (always "yes")."""

    id: str
    sentence_id: int
    kind: Literal["existence", "count", "colour", "pattern", "size", "position", "background", "extra"]
    text: str
    target: str
    """The thing asked about, in the prompt's words; how several questions are known to concern one thing."""
    depends_on: tuple[str, ...] = ()
    """Questions that must be answered yes for this one to mean anything."""


class Answer(Evidence):
    """What looking at the picture says to a question. `p_yes` is the mind's probability of yes."""

    question_id: str
    verdict: Verdict
    p_yes: Probability
    evidence: str = ""


class CaptionVerdict(Evidence):
    """Whether a free caption of the picture bears out one sentence."""

    sentence_id: int
    verdict: Literal["matches", "contradicts", "unclear", "not_mentioned"]
    reason: str = ""


class Error(Evidence):
    """One thing wrong in the picture. The same fault keeps its id over rounds.

    `severity` is how sure and how grave (0 to 1). `span` says which words of the prompt went wrong, once
    located.
    """

    id: str
    kind: ErrorKind
    target: str
    description: str
    sentence_ids: tuple[int, ...]
    severity: Probability
    sources: tuple[Literal["vqa", "caption"], ...]
    span: Span | None = None
    status: Literal["open", "fixed", "regressed"] = "open"
    found_in_round: int = 0


class Edit(Evidence):
    """An exact replacement: the words of `before` become `after`; all other words stay to the letter."""

    before: Span
    after: str
    pattern: str
    """The name of the pattern that suggested it (`agents/patterns.toml`), or "free" for a mind's own idea."""
    error_ids: tuple[str, ...]


class Proposal(Evidence):
    """One candidate prompt as a set of edits to a base prompt that do not overlap."""

    edits: Annotated[tuple[Edit, ...], Field(min_length=1)]
    reason: str = ""

    @model_validator(mode="after")
    def _check_overlap(self) -> "Proposal":
        ordered = sorted(self.edits, key=lambda edit: edit.before.start)
        for left, right in pairwise(ordered):
            if left.before.end > right.before.start:
                raise ValueError(f"edits of {left.before.text!r} and {right.before.text!r} overlap")
        return self


class Rating(Evidence):
    """GenPilot's three aspects on a scale of 1 to 5, each with its reason."""

    attribute_binding: Score
    object_relationship: Score
    background_consistency: Score
    reasons: dict[str, str] = {}

    @property
    def mean(self) -> float:
        """The mean of the three aspects, 1 to 5."""
        return (self.attribute_binding + self.object_relationship + self.background_consistency) / 3


class Lesson(Evidence):
    """What memory says about an edit that was tried before in a like case."""

    kind: ErrorKind
    before: str
    after: str
    pattern: str
    rating_change: float
    backend: str
    similarity: float


def apply_edits(prompt: str, edits: tuple[Edit, ...]) -> str:
    """The prompt after all edits; every character outside their spans survives.

    Raises:
        ValueError: an edit's span does not hold the text that it claims to replace.
    """
    for edit in sorted(edits, key=lambda edit: edit.before.start, reverse=True):
        span = edit.before
        if prompt[span.start : span.end] != span.text:
            raise ValueError(
                f"the prompt has {prompt[span.start : span.end]!r} at {span.start}, not {span.text!r}"
            )
        prompt = prompt[: span.start] + edit.after + prompt[span.end :]
    return prompt
