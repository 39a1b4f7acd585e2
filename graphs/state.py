"""What a refinement knows at any moment: small, typed, checkpointed after every step.

Pictures are references; no bytes come in here. All reducers are idempotent, because a node whose
checkpoint was lost runs again. What can be computed from the candidates (the incumbent, the pictures
spent) is a property, so that it never disagrees with them.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.evidence import Answer, CaptionVerdict, Edit, Error, Lesson, Question, Rating, Sentence
from agents.metering import Spent
from agents.propose import PatternChoice
from graphs.request import RefineRequest, RunStatus
from models.artifact import ArtifactRef

SCHEMA_VERSION = 1
"""Raised when an older checkpoint can no longer be read as it stands."""

ORIGINAL = "original"
"""The id of the candidate that is the user's own prompt."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class View(_Part):
    """A candidate painted with one seed, and what looking at that picture gave."""

    number: int
    """The how-manieth picture of the run this is, from 1; earlier pictures win ties."""
    seed: int
    round: int
    picture: ArtifactRef
    answers: tuple[Answer, ...] = ()
    faults: tuple[Error, ...] = ()
    """What the answers say is wrong in this picture; not yet merged with the errors known from other
    pictures.
    """
    rating: Rating | None = None
    """None: not looked at yet, or nobody could rate it."""


class Candidate(_Part):
    """A prompt that competes. Its id comes from its words, so that proposing it twice makes one candidate."""

    id: str
    prompt: str
    base: str | None = None
    """The candidate whose prompt the edits apply to; None for the original."""
    edits: tuple[Edit, ...] = ()
    round: int = 0
    views: tuple[View, ...] = ()
    """In the order of painting; one per seed."""

    def view_at(self, seed: int) -> View | None:
        """This candidate's picture for `seed`, if it was painted."""
        return next((view for view in self.views if view.seed == seed), None)


class Arm(_Part):
    """A cluster of candidates that lives across rounds, with what their ratings say about its next picture.

    `mean, kappa, alpha, beta` are the parameters of a normal-gamma posterior over ratings of 1 to 5.
    """

    id: int
    centroid: tuple[tuple[str, float], ...]
    """The mean direction of the members' TF-IDF vectors, as (term, weight) without the zeros; unit length."""
    members: tuple[str, ...]
    mean: float
    kappa: float
    alpha: float
    beta: float
    chance: float = 0.0
    """The probability that this arm's next picture is rated best of all arms' next pictures."""


class PlannedPicture(_Part):
    """A picture that the next `paint` has to make."""

    candidate: str
    seed: int


class Experience(_Part):
    """What memory said at the beginning of a round; kept so that a replay hears the same."""

    lessons: tuple[Lesson, ...] = ()
    patterns: tuple[PatternChoice, ...] = ()
    seeds: tuple[int, ...] = ()
    """Seeds that did well with such prompts, best first."""


def candidate_id(prompt: str) -> str:
    """Twelve hexadecimal digits that only this prompt has (the start of its SHA-256)."""
    return sha256(prompt.encode()).hexdigest()[:12]


def _merge_view(old: View, new: View) -> View:
    return old.model_copy(
        update={
            "answers": new.answers or old.answers,
            "faults": new.faults or old.faults,
            "rating": new.rating or old.rating,
        }
    )


def merge_candidates(old: Mapping[str, Candidate], new: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """Reducer: candidates by id, their views by seed; what was looked at stays looked at."""
    merged = dict(old)
    for key, candidate in new.items():
        if key not in merged:
            merged[key] = candidate
            continue
        views = {view.seed: view for view in merged[key].views}
        for view in candidate.views:
            views[view.seed] = _merge_view(views[view.seed], view) if view.seed in views else view
        ordered = tuple(sorted(views.values(), key=lambda view: view.number))
        merged[key] = merged[key].model_copy(update={"views": ordered})
    return merged


def merge_errors(old: Mapping[str, Error], new: Mapping[str, Error]) -> dict[str, Error]:
    """Reducer: errors by id, the newer word counts."""
    return {**old, **new}


def merge_calls(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    """Reducer: mind calls by what they were for, so that a node that runs again is not counted twice."""
    return {**old, **new}


def merge_spent(old: Mapping[str, Spent], new: Mapping[str, Spent]) -> dict[str, Spent]:
    """Reducer: what minds took, by what it was for, so that a node that runs again is not counted twice."""
    return {**old, **new}


def merge_experience(old: Mapping[str, Experience], new: Mapping[str, Experience]) -> dict[str, Experience]:
    """Reducer: experience by round."""
    return {**old, **new}


def merge_notes(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """Reducer: each note once, in the order in which they came."""
    return tuple(dict.fromkeys([*old, *new]))


def keep_longer(old: float, new: float) -> float:
    """Reducer: time only grows."""
    return max(old, new)


class RefineState(BaseModel):
    """One refinement. Nodes return partial updates; fields without a reducer are replaced."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    request: RefineRequest
    sentences: tuple[Sentence, ...] = ()
    """The original prompt taken apart; their ids hold for the whole run."""
    base_sentences: tuple[Sentence, ...] = ()
    """The sentences of the incumbent's prompt, which the next edits apply to."""
    questions: tuple[Question, ...] = ()
    """Asked of every picture: they come from the original prompt and never change."""
    caption: str = ""
    verdicts: tuple[CaptionVerdict, ...] = ()
    """What the caption of the first picture bears out."""
    candidates: Annotated[dict[str, Candidate], merge_candidates] = {}
    """All prompts by id. Merged by id and seed."""
    planned: tuple[PlannedPicture, ...] = ()
    """The pictures of the present batch. They stay until the next batch is planned."""
    phase: Literal["look", "explore", "deepen"] = "look"
    """What the present batch is for."""
    unseen: int = 0
    """How often looking at the first picture failed."""
    integrated: int | None = None
    """The number of the view whose evidence `errors` comes from."""
    errors: Annotated[dict[str, Error], merge_errors] = {}
    """Every error seen in an incumbent, by id, with its status. Merged by id."""
    doubts: tuple[Error, ...] = ()
    """What other pictures of the incumbent's prompt lack, where the incumbent itself lacks nothing and does
    not satisfy either: then it was lucky, and its prompt can still be said better.
    """
    arms: tuple[Arm, ...] = ()
    experience: Annotated[dict[str, Experience], merge_experience] = {}
    """What memory said, by round (as text, since JSON has no other keys). Merged by round."""
    calls: Annotated[dict[str, int], merge_calls] = {}
    """Mind calls by "node/round/subject". Merged by key."""
    spent: Annotated[dict[str, Spent], merge_spent] = {}
    """Tokens, cost and cached replies of the calls that had any, by the same keys. Merged by key."""
    seconds: Annotated[float, keep_longer] = 0.0
    """Time spent, over all processes that worked on this run."""
    round: Annotated[int, Field(ge=0)] = 0
    longest: int | None = None
    """About how many characters the painter reads, once it refused a prompt as too long."""
    stalled: int = 0
    """Rounds since the incumbent last got better."""
    exhausted: bool = False
    """The last round had nothing new to propose."""
    leader: int | None = None
    """The incumbent view's number when the round began."""
    status: RunStatus = "running"
    touched: View | None = None
    """The incumbent's picture, touched up, where that is found as good. It is none of `views`."""
    explanation: str = ""
    notes: Annotated[tuple[str, ...], merge_notes] = ()
    """What was degraded on the way. Each note once."""

    @property
    def views(self) -> list[tuple[Candidate, View]]:
        """Every picture with its candidate, in the order of painting."""
        pairs = [(candidate, view) for candidate in self.candidates.values() for view in candidate.views]
        return sorted(pairs, key=lambda pair: pair[1].number)

    @property
    def incumbent(self) -> tuple[Candidate, View] | None:
        """The best-rated picture so far: ties go to fewer faults, then to the earlier one. None before
        the first.
        """
        return min(self.views, key=_rank, default=None)

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """What memory said about this round's errors."""
        return self._own_experience.lessons

    @property
    def _own_experience(self) -> Experience:
        return self.experience.get(str(self.round), Experience())

    @property
    def recommended_seeds(self) -> tuple[int, ...]:
        """Seeds that memory recommends to this round, best first."""
        return self._own_experience.seeds

    @property
    def pictures_left(self) -> int:
        """How many pictures the budget still allows."""
        return self.request.budget.pictures - sum(
            len(candidate.views) for candidate in self.candidates.values()
        )

    @property
    def mind_calls(self) -> int:
        """Mind calls so far."""
        return sum(self.calls.values())

    @property
    def all_spent(self) -> Spent:
        """What minds took so far."""
        return sum(self.spent.values(), Spent())

    @property
    def open_errors(self) -> tuple[Error, ...]:
        """Errors that the incumbent shows, gravest first."""
        wrong = [error for error in self.errors.values() if error.status != "fixed"]
        return tuple(sorted(wrong, key=lambda error: (-error.severity, error.id)))

    @property
    def to_answer(self) -> tuple[Error, ...]:
        """What the next candidates answer: what the incumbent lacks, else what is doubted of its prompt."""
        return self.open_errors or self.doubts


def _rank(pair: tuple[Candidate, View]) -> tuple[float, int, int]:
    view = pair[1]
    return (-view.rating.mean if view.rating else 0.0, len(view.faults), view.number)
