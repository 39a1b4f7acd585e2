import asyncio
from pathlib import Path

import pytest
import torch
from PIL import Image

from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from models.critique_image import CritiqueImage, CritiqueRequest, CritiqueResult
from models.embedded.perception import PerceptionConfig, PerceptionNetwork, load_perceiver, save_perceiver
from models.executor import LocalExecutor
from models.tool import Progress, ToolError
from models.tools import builtin_tools


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained critic and judge that see something everywhere."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    for name, architecture in (("critic", "centre"), ("judge", "votes")):
        config = PerceptionConfig(
            architecture=architecture,
            width=32,
            depth=1,
            shapes=("sphere", "cube"),
            colours=("red", "blue"),
            patterns=("plain",),
            sizes=("large",),
            settings=("studio", "garden"),
        )
        network = PerceptionNetwork(config)
        torch.nn.init.constant_(network.heads["presence"].bias, 0.0)
        save_perceiver(network, folder / name)
    return folder


@pytest.fixture
def pictures(artifacts: Artifacts) -> list[ArtifactRef]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (4, 128, 128, 3), generator=generator, dtype=torch.uint8).numpy()
    return [artifacts.save_image(Image.fromarray(picture), seed=None, provenance={}) for picture in noise]


async def test_reports_are_those_of_the_model_that_was_asked(
    weights: Path, artifacts: Artifacts, pictures: list[ArtifactRef]
) -> None:
    requests = [
        CritiqueRequest(picture=picture, model=model) for model in ("critic", "judge") for picture in pictures
    ]
    patient = LocalExecutor([CritiqueImage(weights)], artifacts, devices=("cpu",), threads=1, batch_wait=0.5)
    async with patient as executor:
        results = await asyncio.gather(*(executor.submit("critique_image", request) for request in requests))
        assert executor.stats()["critique_image"].batches == 2
    torch.set_num_threads(1)
    for request, result in zip(requests, results, strict=True):
        alone = load_perceiver(weights / request.model).perceive([artifacts.load_image(request.picture)])[0]
        assert isinstance(result, CritiqueResult)
        assert result.perception == alone
    assert any(result.perception.things for result in results)


async def test_progress_counts_pictures(
    weights: Path, artifacts: Artifacts, pictures: list[ArtifactRef]
) -> None:
    seen: list[Progress] = []
    async with LocalExecutor([CritiqueImage(weights)], artifacts, devices=("cpu",)) as executor:
        asked = [CritiqueRequest(picture=picture) for picture in pictures]
        await asyncio.gather(
            *(executor.submit("critique_image", request, seen.append) for request in asked[:1])
        )
    assert seen == [Progress(done=1, total=1, unit="picture")]


async def test_a_picture_that_is_not_stored_is_named_and_spares_the_others(
    weights: Path, artifacts: Artifacts, pictures: list[ArtifactRef]
) -> None:
    missing = ArtifactRef(sha256="0" * 64)
    async with LocalExecutor([CritiqueImage(weights)], artifacts, devices=("cpu",)) as executor:
        asked = [CritiqueRequest(picture=picture) for picture in (pictures[0], missing, pictures[1])]
        results = await asyncio.gather(
            *(executor.submit("critique_image", request) for request in asked), return_exceptions=True
        )
    assert [isinstance(result, CritiqueResult) for result in results] == [True, False, True]
    assert isinstance(results[1], ToolError)
    assert "no picture is stored under 0000" in str(results[1])


async def test_missing_weights_are_named(
    tmp_path: Path, artifacts: Artifacts, pictures: list[ArtifactRef]
) -> None:
    async with LocalExecutor([CritiqueImage(tmp_path)], artifacts, devices=("cpu",)) as executor:
        with pytest.raises(ToolError, match=r"critic holds no \*.safetensors weights .*maulstick doctor"):
            await executor.submit("critique_image", CritiqueRequest(picture=pictures[0]))


def test_every_builtin_tool_describes_itself() -> None:
    tools = builtin_tools()
    names = ["generate_image", "critique_image", "converse", "prune_backend", "estimate_depth"]
    assert [tool.name for tool in tools] == names
    for tool in tools:
        assert tool.summary.endswith(".")
        for field, schema in tool.request_type.model_json_schema()["properties"].items():
            assert schema.get("description"), f"{tool.name}.{field} has no description"
