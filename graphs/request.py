"""What a refinement is asked and what it answers, at the edge of the graph."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents.evidence import Edit, Error, Rating
from agents.metering import Spent
from models.artifact import ArtifactRef

MAX_PROMPT_CHARACTERS = 32_000
"""Longer prompts are refused, as OpenAI's Images API does."""

RunStatus = Literal["running", "satisfied", "budget", "plateau", "unsupported", "cancelled", "failed"]
ENDED: tuple[RunStatus, ...] = ("satisfied", "budget", "plateau", "unsupported")
"""Runs that there is nothing left to do for; the others can be resumed."""


class Budget(BaseModel):
    """What a run may spend. Whichever ends first ends the run; None means unlimited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: Annotated[int, Field(ge=1, le=10_000)] = 24
    mind_calls: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens in and out of minds that count them."""
    seconds: Annotated[float, Field(gt=0)] | None = None


class Ablation(BaseModel):
    """Parts of the loop that an experiment can switch off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clustering: bool = True
    memory: bool = True
    location: bool = True


class RefineRequest(BaseModel):
    """One prompt to be painted right. `seed` decides every random draw of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    backend: str = "embedded"
    mind: str = "embedded"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    budget: Budget = Budget()
    satisfied_at: Annotated[float, Field(ge=1.0, le=5.0)] = 4.9
    """Mean rating (1 to 5) of the incumbent, without open errors, at which the run ends. Of the pictures of
    100 embedded runs the judge found right 10 of the 14 that were rated 4.7 to 4.9, and all 52 rated higher.
    """
    candidates: Annotated[int, Field(ge=1, le=64)] = 4
    """Candidates painted per round."""
    ablation: Ablation = Ablation()
    touch_up: bool = False
    """Whether the things of a picture that satisfies are painted once more, from close up."""

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty: say what the picture should show")
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"the prompt has {len(prompt):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are taken"
            )
        if unprintable := next((c for c in prompt if not c.isprintable() and c not in "\n\t"), None):
            raise ValueError(f"the prompt holds the unprintable character {unprintable!r}: pass plain text")
        return prompt


class RefineResult(BaseModel):
    """How a refinement ended."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    status: RunStatus
    prompt: str
    final_prompt: str
    original_rating: Rating | None
    final_rating: Rating | None
    """Never below `original_rating`, unless the picture was touched up and satisfies; None only if nothing
    was painted."""
    original_picture: ArtifactRef | None
    picture: ArtifactRef | None
    found_picture: ArtifactRef | None = None
    """What `picture` was before it was touched up; None: it was not."""
    pictures: int
    mind_calls: int
    spent: Spent = Spent()
    """Tokens, cost and cached replies of minds that count them."""
    seconds: float
    errors: tuple[Error, ...]
    edits: tuple[Edit, ...]
    explanation: str
    notes: tuple[str, ...] = ()
    """What was degraded on the way (a mind that failed, evidence that was dropped)."""
