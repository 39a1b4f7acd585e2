import asyncio
import json
import os
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from models.editing import _exactly, made_steps  # pyright: ignore[reportPrivateUsage]
from models.executor import LocalExecutor
from models.generate_image import GenerateImage
from models.painting import ROWS, Painter, batching
from models.picture_request import GenerateRequest, GenerateResult
from models.tool import Progress, ToolCancelled, ToolContext, ToolError

PROMPTS = ("a red cube", "two blue sphere, left of a cone.", "a green cone and a small cube in the studio")


@pytest.fixture(scope="session")
def painter(tiny_flux: Path) -> Painter:
    return GenerateImage().load(str(tiny_flux), "cpu")


def ask(backend: Path, index: int = 0, **settings: object) -> GenerateRequest:
    return GenerateRequest(
        **({"prompt": PROMPTS[index], "backend": str(backend), "seed": 100 + index, "steps": 3} | settings)
    )


def context(artifacts: Artifacts, reports: list[Progress] | None = None) -> ToolContext:
    return ToolContext(artifacts, (reports if reports is not None else []).append, lambda: None)


def paint(painter: Painter, artifacts: Artifacts, *requests: GenerateRequest) -> list[ArtifactRef]:
    return [result.picture for result in GenerateImage().run(painter, requests, context(artifacts))]


def damaged(tiny_flux: Path, folder: Path, part: str) -> Path:
    """A copy of the pipeline in which one component's weights are all NaN."""
    shutil.copytree(tiny_flux, folder)
    weights = folder / part / "diffusion_pytorch_model.safetensors"
    save_file(
        {name: torch.full_like(value, torch.nan) for name, value in load_file(weights).items()}, weights
    )
    return folder


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_pixels_do_not_depend_on_batch_mates(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts, guidance: float
) -> None:
    requests = [ask(tiny_flux, index, guidance=guidance) for index in range(3)]
    alone = [paint(painter, artifacts, request)[0] for request in requests]
    assert len({ref.sha256 for ref in alone}) == 3
    for order in ((0, 1, 2), (2, 0, 1), (1, 0), (2, 2)):
        assert paint(painter, artifacts, *(requests[index] for index in order)) == [
            alone[index] for index in order
        ]


async def test_pixels_do_not_depend_on_the_executor(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    requests = [ask(tiny_flux, index, guidance=2.5) for index in range(3)]
    alone = [paint(painter, artifacts, request)[0] for request in requests]
    for devices in (("cpu",), ("cpu:0", "cpu:1")):
        async with LocalExecutor([GenerateImage()], artifacts, devices=devices, threads=1) as executor:
            results = await asyncio.gather(
                *(executor.submit("generate_image", request) for request in requests)
            )
        assert [result.picture for result in results] == alone


def test_batches_are_exact_where_the_loader_says_so(tiny_flux: Path, artifacts: Artifacts) -> None:
    assert torch.backends.mkl.is_available() and os.environ["MKL_CBWR"] == "AUTO,STRICT"
    painter = batching(GenerateImage().load(str(tiny_flux), "cpu"))
    assert painter.rows == ROWS
    requests = [ask(tiny_flux, index % 3, seed=index, guidance=2.5) for index in range(ROWS + 1)]
    alone = paint(replace(painter, rows=1), artifacts, *requests)
    assert paint(painter, artifacts, *requests) == alone
    assert paint(replace(painter, rows=3), artifacts, *requests[::-1]) == alone[::-1]


def test_edits_do_not_depend_on_their_batch_mates(tiny_flux: Path, artifacts: Artifacts) -> None:
    painter = batching(GenerateImage().load(str(tiny_flux), "cpu"))
    bases = paint(painter, artifacts, *(ask(tiny_flux, index) for index in range(3)))
    edits = [
        ask(tiny_flux, index, seed=9, steps=4, guidance=2.5, edit_of=base, strength=0.5)
        for index, base in enumerate(bases)
    ]
    alone = [paint(painter, artifacts, edit)[0] for edit in edits]
    assert len({*alone, *bases}) == 6
    assert paint(painter, artifacts, *edits[::-1]) == alone[::-1]
    kinds = {GenerateImage().batch_key(request) for request in (*edits, ask(tiny_flux, 0))}
    assert len(kinds) == 4, "a pipeline's pictures are painted one at a time"


def test_a_strength_that_makes_no_step_and_one_without_a_picture_are_refused(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    [base] = paint(painter, artifacts, ask(tiny_flux))
    with pytest.raises(ToolError, match=r"would make none of its 3 steps with strength=0.1: ask for more"):
        paint(painter, artifacts, ask(tiny_flux, edit_of=base, strength=0.1))
    with pytest.raises(ValidationError, match=r"strength=0.5 says how much .* name one by edit_of"):
        ask(tiny_flux, strength=0.5)
    with pytest.raises(ToolError, match="no picture is stored under 000"):
        paint(painter, artifacts, ask(tiny_flux, edit_of=ArtifactRef(sha256="0" * 64)))


def test_a_picture_of_another_size_is_brought_to_the_painters(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    [base] = paint(painter, artifacts, ask(tiny_flux, width=48))
    [same] = paint(painter, artifacts, ask(tiny_flux, edit_of=base, strength=0.5))
    assert (base.width, same.width, same.height) == (48, 32, 32)


def test_seed_prompt_steps_guidance_and_size_each_change_the_picture(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    changes = ({}, {"seed": 7}, {"prompt": "a blue cone"}, {"steps": 4}, {"guidance": 3.0}, {"width": 48})
    refs = paint(painter, artifacts, *(ask(tiny_flux, **change) for change in changes))
    assert len({ref.sha256 for ref in refs}) == len(changes)
    assert [(ref.width, ref.height, ref.seed) for ref in (refs[0], refs[1], refs[5])] == [
        (32, 32, 100),
        (32, 32, 7),
        (48, 32, 100),
    ]


def test_guidance_of_one_and_less_is_none(painter: Painter, tiny_flux: Path, artifacts: Artifacts) -> None:
    refs = paint(
        painter, artifacts, *(ask(tiny_flux, guidance=guidance) for guidance in (None, 0.0, 0.5, 1.0))
    )
    assert len(set(refs)) == 1


def test_a_picture_is_stored_with_its_provenance(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    (ref,) = paint(painter, artifacts, ask(tiny_flux, guidance=2.5))
    sidecar = json.dumps(artifacts.sidecar(ref))
    for entry in (
        PROMPTS[0],
        '"seed": 100',
        '"steps": 3',
        '"guidance": 2.5',
        str(tiny_flux),
        version("torch"),
    ):
        assert entry in sidecar
    assert artifacts.load_image(ref).size == (32, 32)


def test_progress_counts_the_steps_of_all_pictures(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    reports: list[Progress] = []
    GenerateImage().run(painter, [ask(tiny_flux, 0), ask(tiny_flux, 1)], context(artifacts, reports))
    assert [(report.done, report.total) for report in reports] == [(step, 6) for step in range(1, 7)]


def test_painting_stops_between_steps_when_cancelled(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    reports: list[Progress] = []

    def check_cancelled() -> None:
        if len(reports) == 2:
            raise ToolCancelled("nobody waits")

    cancelled = ToolContext(artifacts, reports.append, check_cancelled)
    with pytest.raises(ToolCancelled):
        GenerateImage().run(painter, [ask(tiny_flux, steps=50)], cancelled)
    assert len(reports) == 2
    assert len(paint(painter, artifacts, ask(tiny_flux))) == 1, "the pipeline still works"


def test_a_prompt_that_would_be_cut_is_refused_with_the_numbers(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    paint(painter, artifacts, ask(tiny_flux, prompt="red " * 15))
    with pytest.raises(ToolError, match=r"the prompt has 17 tokens and .* reads 16"):
        paint(painter, artifacts, ask(tiny_flux, prompt="red " * 16))


def test_a_closed_vocabulary_names_the_words_it_does_not_know(
    tiny_flux: Path, tmp_path: Path, artifacts: Artifacts
) -> None:
    folder = Path(shutil.copytree(tiny_flux, tmp_path / "closed"))
    (folder / "card.json").write_text(
        json.dumps({"closed_vocabulary": True, "fixed_size": True, "steps": 2, "threads": 1})
    )
    painter = GenerateImage().load(str(folder), "cpu")
    paint(painter, artifacts, ask(folder, steps=None))
    with pytest.raises(ToolError, match="does not know 'dragon', 'rides': use words of its small world"):
        paint(painter, artifacts, ask(folder, prompt="a red dragon rides a dragon"))
    with pytest.raises(ToolError, match="paints 32x32 pixels only, not 64x32"):
        paint(painter, artifacts, ask(folder, width=64))


def test_a_size_that_would_be_rounded_is_refused(
    painter: Painter, tiny_flux: Path, artifacts: Artifacts
) -> None:
    with pytest.raises(ToolError, match="multiples of 4 pixels, not 33"):
        paint(painter, artifacts, ask(tiny_flux, height=33))


@pytest.mark.parametrize(("part", "where"), [("transformer", "after step 1 of 3"), ("vae", "in decoding")])
def test_a_broken_picture_is_an_error(
    tiny_flux: Path, tmp_path: Path, artifacts: Artifacts, part: str, where: str
) -> None:
    folder = damaged(tiny_flux, tmp_path / part, part)
    painter = GenerateImage().load(str(folder), "cpu")
    with pytest.raises(
        ToolError, match=f"NaN or infinite values {where} for seed 100 and prompt 'a red cube'"
    ):
        paint(painter, artifacts, ask(folder))


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"steps": 0},
        {"steps": 201},
        {"guidance": -0.1},
        {"guidance": float("nan")},
        {"prompt": ""},
        {"width": 4},
        {"unknown": 1},
    ],
)
def test_requests_are_validated(tiny_flux: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ask(tiny_flux, **wrong)


async def test_two_worker_threads_each_paint_on_their_own_copy(tiny_flux: Path, artifacts: Artifacts) -> None:
    async with LocalExecutor([GenerateImage()], artifacts, devices=("cpu:0", "cpu:1")) as executor:
        requests = [ask(tiny_flux, seed=seed) for seed in range(6)]
        results = await asyncio.gather(*(executor.submit("generate_image", request) for request in requests))
        assert [device for device, _, _ in sorted(executor.resident())] == ["cpu:0", "cpu:1"]
    assert [result.picture.seed for result in results] == list(range(6))
    assert all(isinstance(result, GenerateResult) and result.seconds > 0 for result in results)


async def test_an_unknown_backend_is_refused_before_it_queues(artifacts: Artifacts) -> None:
    async with LocalExecutor([GenerateImage()], artifacts, devices=("cpu",)) as executor:
        with pytest.raises(ToolError, match="no backend is called 'midjourney'; known: embedded"):
            await executor.submit("generate_image", GenerateRequest(prompt="a", backend="midjourney", seed=0))
        assert executor.stats()["generate_image"].calls == 0


def test_a_strength_is_whole_steps_however_diffusers_rounds() -> None:
    for steps in (1, 2, 3, 4, 8, 10, 12, 16, 20, 24, 28, 30, 40):
        for made in range(1, steps + 1):
            strength = _exactly(made, steps)
            assert int(min(steps * strength, steps)) == made == steps - int(max(steps - steps * strength, 0))
    assert made_steps(22, _exactly(15, 22)) == 15, "no number times 22 is 15: one step less or more is made"
