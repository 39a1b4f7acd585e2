"""The tool, through a real executor, on a tiny network; and the command that people type."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import app
from memory.artifacts import Artifacts
from models.depth_request import DepthRequest, DepthResult
from models.estimate_depth import GUESS, EstimateDepth, find_depth_model
from models.executor import LocalExecutor
from models.pixel_perfect_depth.colouring import from_levels
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.pixel_perfect_depth.regions import region_depths
from models.pixel_perfect_depth.semantics import PerceptionSemantics
from models.tool import Progress, ToolError


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = PixelPerfectTransformer2DModel(
        hidden_size=16, num_layers=2, num_heads=2, patch_size=4, semantic_dim=8
    )
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    folder = tmp_path_factory.mktemp("depth") / "tiny"
    PixelPerfectDepthPipeline(model, new_scheduler(), PerceptionSemantics(8, 1), None).save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    yield path


async def test_depth_is_stored_with_where_it_comes_from(
    network: Path, artifacts: Artifacts, picture: Path
) -> None:
    ref = artifacts.import_image(picture)
    told: list[Progress] = []
    async with LocalExecutor([EstimateDepth()], artifacts, devices=("cpu",), threads=1) as executor:
        request = DepthRequest(picture=ref, model=str(network), seed=3)
        result = DepthResult.model_validate(await executor.submit("estimate_depth", request, told.append))
        others = [DepthRequest(picture=ref, model=str(network), seed=seed) for seed in (4, 3)]
        batch = await asyncio.gather(*(executor.submit("estimate_depth", other) for other in others))
    assert batch[1].model_dump(exclude={"seconds"}) == result.model_dump(exclude={"seconds"})
    assert batch[0].depth != result.depth and told[-1].done == told[-1].total == 4
    assert (result.depth.width, result.depth.height) == (56, 40) and not result.typical
    with Image.open(artifacts.path(result.depth)) as stored:
        assert stored.mode == "I;16"
    [provenance] = artifacts.sidecar(result.depth)["provenances"]
    assert provenance["tool"] == "estimate_depth" and provenance["request"]["picture"]["sha256"] == ref.sha256


async def test_depths_of_regions(network: Path, artifacts: Artifacts, picture: Path) -> None:
    ref = artifacts.import_image(picture)
    boxes = ((0.1, 0.1, 0.4, 0.6), (0.5, 0.2, 0.9, 0.9))
    async with LocalExecutor([EstimateDepth()], artifacts, devices=("cpu",), threads=1) as executor:
        request = DepthRequest(picture=ref, model=str(network), regions=boxes)
        result = DepthResult.model_validate(await executor.submit("estimate_depth", request))
        with pytest.raises(ToolError, match="holds no pixel"):
            outside = request.model_copy(update={"regions": ((1.5, 0.1, 1.7, 0.3),)})
            await executor.submit("estimate_depth", outside)
    with Image.open(artifacts.path(result.depth)) as stored:
        depth = from_levels(stored, result.low, result.high)
    np.testing.assert_allclose(result.regions, region_depths(depth, boxes), atol=1e-4 * np.ptp(depth))
    assert result.metric(0.0) == pytest.approx(np.exp(GUESS.shift) - 1)


def test_networks_by_name(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"there is no depth network in /nowhere: `maulstick train depth`"):
        find_depth_model("/nowhere")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAULSTICK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAULSTICK_THREADS", "1")
    return tmp_path


def test_the_command(network: Path, picture: Path, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "depth",
        str(picture),
        "--model",
        str(network),
        "--ply",
        "a.ply",
        "--view",
        "b.html",
        "--fov",
        "60",
    ]
    assert app.run([*words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    for name in ("depth", "coloured", "points", "page"):
        assert Path(told[name]).stat().st_size > 0
    for name in ("depth", "coloured"):
        with Image.open(told[name]) as written:
            assert written.size == (56, 40)
    assert app.run(words[:4]) == 0
    assert "says nothing of metres" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ply", "a.obj"], "as .ply or .glb, not as a.obj"),
        (["--fov", "200"], "between 0 and 180 degrees, not 200"),
        (["--steps", "0"], "steps is 0"),
        (["--tile", "32", "--model", "/nowhere"], "no depth network in /nowhere"),
    ],
)
def test_what_does_not_suit_is_one_line(
    words: list[str], message: str, picture: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["depth", str(picture), *words]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1


def test_training_by_command(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["train", "depth", "--profile", "tiny", "--steps", "1", "--out", "trained"]
    assert app.run(words) == 0
    assert app.run(words) == 2
    assert "holds a training already" in capfd.readouterr().err
    assert app.run([*words, "--resume"]) == 0
    assert app.run(["train", "depth", "--profile", "huge"]) == 2
    assert app.run(["train", "depth", "--variant", "odd"]) == 2
