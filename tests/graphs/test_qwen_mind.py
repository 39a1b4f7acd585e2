"""Refinements in which a Qwen2.5-VL on this machine looks at the pictures; a tiny one, that knows nothing."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from agents.answer import ANSWER, AnswerRequest
from agents.embedded import EmbeddedMind
from agents.evidence import Question
from agents.metering import metered
from agents.reading.card import LocalCard
from agents.reading.local import LocalSpeaker
from agents.reading.weighing import WeighingMind, judge
from agents.role import MindError
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state, refine
from memory.artifacts import Artifacts
from memory.replies import KeptReplies
from models.executor import LocalExecutor
from models.language.tool import Converse
from tests.graphs.conftest import DioramaPainter, TruthfulCritic, open_studio
from tests.models.language.tiny_qwen import save_tiny_qwen

PROMPT = "a photo of a red cube left of two blue spheres"


@pytest.fixture(scope="module")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen(tmp_path_factory.mktemp("tiny_qwen"))


@pytest.fixture
async def talking(home: Home) -> AsyncGenerator[Studio]:
    """A studio whose executor can converse."""
    tools = [DioramaPainter(), TruthfulCritic(), Converse()]
    artifacts = Artifacts(home.root / "artifacts")
    async with LocalExecutor(tools, artifacts, devices=("cpu",), threads=1) as executor:
        studio = open_studio(home, executor=executor, artifacts=artifacts, mind=EmbeddedMind(executor))
        yield studio
        assert studio.episodes is not None
        studio.episodes.close()


def qwen(model: Path, studio: Studio, home: Home) -> WeighingMind:
    card = LocalCard(model=str(model), max_tokens=32)
    return WeighingMind("qwen", LocalSpeaker(card, studio.executor), KeptReplies(home.root / "replies.db"))


async def test_it_looks_while_another_mind_reads(talking: Studio, home: Home, tiny_qwen: Path) -> None:
    eyes = qwen(tiny_qwen, talking, home)
    studio = replace(talking, minds={"caption": eyes, "answer": eyes})
    request = RefineRequest(prompt=PROMPT, budget=Budget(pictures=6))
    result = await refine(request, studio, home)
    assert result.status in ("satisfied", "budget", "plateau") and result.picture is not None
    assert result.spent.tokens_in > 0
    state = await load_state(result.run_id, home)
    answers = [answer for _, view in state.views for answer in view.answers]
    assert answers and all(answer.verdict == judge(answer.p_yes) for answer in answers)
    assert all(answer.evidence.startswith("yes: 0.") for answer in answers)


async def test_alone_it_degrades_and_says_so(talking: Studio, home: Home, tiny_qwen: Path) -> None:
    studio = replace(talking, mind=qwen(tiny_qwen, talking, home))
    result = await refine(RefineRequest(prompt=PROMPT, budget=Budget(pictures=3)), studio, home)
    assert result.picture is not None
    assert any("the prompt is treated as one sentence" in note for note in result.notes)


async def test_weighed_answers_are_kept(talking: Studio, home: Home, tiny_qwen: Path) -> None:
    picture = talking.artifacts.save_image(Image.new("RGB", (56, 56), "red"), seed=None, provenance={})
    questions = tuple(
        Question(id=str(n), sentence_id=0, kind="existence", text=f"Are there {n}?", target="x")
        for n in range(3)
    )
    request = AnswerRequest(questions=questions)
    with metered() as meter:
        first = await qwen(tiny_qwen, talking, home).ask(ANSWER, request, [picture])
        again = await qwen(tiny_qwen, talking, home).ask(ANSWER, request, [picture])
    assert first == again and [answer.question_id for answer in first.answers] == ["0", "1", "2"]
    assert meter.spent.cached == 1 and meter.spent.tokens_out == 3


async def test_a_model_that_is_not_there_is_named(talking: Studio, home: Home, tmp_path: Path) -> None:
    with pytest.raises(MindError, match=r"did not reply.*no folder with a model"):
        question = Question(id="q", sentence_id=0, kind="existence", text="?", target="x")
        picture = talking.artifacts.save_image(Image.new("RGB", (8, 8)), seed=None, provenance={})
        await qwen(tmp_path, talking, home).ask(ANSWER, AnswerRequest(questions=(question,)), [picture])


@pytest.mark.parametrize(
    ("chance", "verdict"), [(0.61, "yes"), (0.59, "unsure"), (0.41, "unsure"), (0.39, "no")]
)
def test_even_chances_are_no_answer(chance: float, verdict: str) -> None:
    assert judge(chance) == verdict
