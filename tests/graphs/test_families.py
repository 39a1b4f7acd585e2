"""Whole refinements on pipelines of every family that people use: tiny ones, saved to disk, chosen by name.

The painters know nothing, so the critic finds fault until the budget is spent; what is tested is the way
there.
"""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from agents.embedded import EmbeddedMind
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state, refine, replay
from memory.artifacts import Artifacts
from models.backends import name_backends
from models.cards import DiffusersCard, backend_of
from models.executor import LocalExecutor
from models.tools import builtin_tools
from tests.graphs.conftest import open_studio
from tests.models.families import CLIP_TOKENS, FAMILIES, save_family

# numpy's complaint about how diffusers' schedulers turn a tensor into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURES = 8


@pytest.fixture(params=FAMILIES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A family's pipeline by a name of the user's own."""
    folder = save_family(request.param, tmp_path / "pipeline")
    size = 64 if request.param == "sana" else 32
    card = DiffusersCard(source=str(folder), steps=2, width=size, height=size)
    name = f"my-{request.param}"
    name_backends({name: backend_of(name, card)})
    yield name
    name_backends({})


@pytest.fixture
async def working(home: Home) -> AsyncGenerator[Studio]:
    """A studio with the tools and weights that ship."""
    artifacts = Artifacts(home.root / "artifacts")
    async with LocalExecutor(builtin_tools(), artifacts, devices=("cpu",), threads=1) as executor:
        studio = open_studio(home, executor=executor, artifacts=artifacts, mind=EmbeddedMind(executor))
        yield studio
        assert studio.episodes is not None
        studio.episodes.close()


async def test_a_refinement_runs_on_it_and_can_be_done_again(
    backend: str, working: Studio, home: Home
) -> None:
    request = RefineRequest(prompt="a red cube", backend=backend, budget=Budget(pictures=PICTURES))
    result = await refine(request, working, home)
    state = await load_state(result.run_id, home)

    assert result.status == "budget" and result.pictures == PICTURES
    views = [view for _, view in state.views]
    painted = {candidate.prompt for candidate in state.candidates.values() if candidate.views}
    assert len({view.picture.sha256 for view in views}) == PICTURES
    assert all(view.answers for view in views)
    sidecars = [working.artifacts.sidecar(view.picture) for view in views]
    assert all(f"'backend': '{backend}'" in str(sidecar) for sidecar in sidecars)
    assert any(len(prompt) > len(request.prompt) for prompt in painted)
    assert result.picture in [view.picture for view in views] and result.explanation
    again = await replay(result.run_id, working, home)
    assert not any("differs" in note for note in again.notes)


@pytest.mark.parametrize("backend", ["sd15"], indirect=True)
async def test_candidates_that_its_encoder_would_cut_do_not_compete(
    backend: str, working: Studio, home: Home
) -> None:
    prompt = "a photo of a red cube left of two blue spheres behind a green cone"
    assert len(prompt) < CLIP_TOKENS - 2
    request = RefineRequest(prompt=prompt, backend=backend, budget=Budget(pictures=PICTURES))
    result = await refine(request, working, home)
    state = await load_state(result.run_id, home)
    assert result.pictures == PICTURES and result.picture is not None
    painted = {candidate.prompt for candidate in state.candidates.values() if candidate.views}
    assert painted and all(len(prompt) <= CLIP_TOKENS - 2 for prompt in painted)
    assert any("tokens" in note for note in result.notes)
