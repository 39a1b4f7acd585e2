"""Distances that are measured change what is said of before and behind, and nothing else; and only then."""

from dataclasses import dataclass, field
from math import log1p

import pytest
from pydantic import BaseModel

from agents.answer import ANSWER, AnswerRequest
from agents.embedded import EmbeddedMind
from agents.embedded_measuring import ask_for_depth
from agents.embedded_reading import make_questions
from agents.rate import RATE, RateRequest
from agents.role import MindError
from models.artifact import ArtifactRef
from models.critique_image import CritiqueResult
from models.depth_request import DepthRequest, DepthResult
from models.tool import ToolError
from tests.agents.scenes import TruthExecutor, make_scene, perceive

BEFORE = "a photo of a red cube in front of a blue sphere"
BESIDE = "a photo of a red cube left of a blue sphere"


@dataclass
class MeasuringExecutor(TruthExecutor):
    """Sees the truth but for distances, which `estimate_depth` alone tells rightly."""

    measured: list[DepthRequest] = field(default_factory=list[DepthRequest])
    distances: dict[tuple[float, ...], float] = field(default_factory=dict[tuple[float, ...], float])

    def show_flat(self, prompt: str) -> ArtifactRef:
        """A picture of the prompt, in which every guessed distance is the same."""
        truth = perceive(make_scene(prompt))
        self.distances = {
            tuple(min(max(side, 0.0), 1.0) for side in thing.box): thing.distance for thing in truth.things
        }
        flat = tuple(thing.model_copy(update={"distance": 9.0}) for thing in truth.things)
        return self.show(truth.model_copy(update={"things": flat}))

    async def submit(self, tool: str, request: BaseModel) -> CritiqueResult | DepthResult:
        if tool != "estimate_depth":
            return await super().submit(tool, request)
        assert isinstance(request, DepthRequest)
        self.measured.append(request)
        relative = tuple((log1p(self.distances[box]) - 0.7) / 2 for box in request.regions)
        return DepthResult(
            depth=request.picture,
            coloured=request.picture,
            low=0,
            high=1,
            scale=2,
            shift=0.7,
            typical=True,
            view=25,
            regions=relative,
            seconds=0,
        )


@pytest.fixture
def eyes() -> MeasuringExecutor:
    return MeasuringExecutor()


async def verdicts(mind: EmbeddedMind, prompt: str, picture: ArtifactRef) -> dict[str, str]:
    replies = await mind.ask(ANSWER, AnswerRequest(questions=make_questions(prompt)), [picture])
    return {answer.question_id: answer.verdict for answer in replies.answers}


async def test_before_and_behind_are_measured(eyes: MeasuringExecutor) -> None:
    picture = eyes.show_flat(BEFORE)
    guessing = await verdicts(EmbeddedMind(eyes), BEFORE, picture)
    relation = "position:a red cube in front of a blue sphere"
    assert guessing[relation] == "no" and not eyes.measured
    mind = EmbeddedMind(eyes, depth="embedded")
    measured = await verdicts(mind, BEFORE, picture)
    assert measured == guessing | {relation: "yes"}
    [request] = eyes.measured
    assert request.model == "embedded" and len(request.regions) == 2
    await verdicts(mind, BEFORE, picture)
    assert len(eyes.measured) == 1, "each picture is measured once"


async def test_ratings_without_answers_are_measured_too(eyes: MeasuringExecutor) -> None:
    picture = eyes.show_flat(BEFORE)
    request = RateRequest(prompt=BEFORE, questions=(), answers=(), errors=())
    guessed = await EmbeddedMind(eyes).ask(RATE, request, [picture])
    measured = await EmbeddedMind(eyes, depth="embedded").ask(RATE, request, [picture])
    assert measured.mean > guessed.mean


async def test_other_prompts_cost_no_depth(eyes: MeasuringExecutor) -> None:
    picture = eyes.show_flat(BESIDE)
    assert not ask_for_depth(make_questions(BESIDE)) and ask_for_depth(make_questions(BEFORE))
    assert set((await verdicts(EmbeddedMind(eyes, depth="embedded"), BESIDE, picture)).values()) == {"yes"}
    assert not eyes.measured


async def test_a_depth_tool_that_fails_is_a_mind_error() -> None:
    class Broken(MeasuringExecutor):
        async def submit(self, tool: str, request: BaseModel) -> CritiqueResult | DepthResult:
            if tool == "estimate_depth":
                raise ToolError("no depth network ships with this version")
            return await super().submit(tool, request)

    eyes = Broken()
    with pytest.raises(MindError, match="no depth network ships"):
        await verdicts(EmbeddedMind(eyes, depth="embedded"), BEFORE, eyes.show_flat(BEFORE))
