"""Sketches: what the sampler believes on its way, by every kind of scheduler, and its colours."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from memory.artifacts import Artifacts
from models.generate_image import GenerateImage
from models.picture_request import GenerateRequest
from models.sketches import ColourMap, due_steps, share_of_noise
from models.tool import Progress, Sketch, ToolContext
from tests.models.families import FAMILIES, save_family

# numpy's complaint about how diffusers' schedulers turn a tensor into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {"clip_sample": False},
    "EulerDiscreteScheduler": {},
    "FlowMatchEulerDiscreteScheduler": {"shift": 3.0},
    "DPMSolverMultistepScheduler": {},
    "PNDMScheduler": {"skip_prk_steps": True},  # as SD 1.5 has it
    "UniPCMultistepScheduler": {},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_latents_hold_the_picture_under_the_noise_that_their_step_says(name: str) -> None:
    """Walked from noise by a model that knows the picture, all latents are a x0 + b e."""
    import diffusers

    scheduler = getattr(diffusers, name)(**SCHEDULERS[name])
    scheduler.set_timesteps(8)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
    a, b = share_of_noise(scheduler, 0)
    latents = a * clean + b * noise
    for index, time in enumerate(scheduler.timesteps[:6]):
        scale = getattr(scheduler, "scale_model_input", None)
        if scale:  # without which Euler's step warns
            scale(latents, time)
        error = noise if "Flow" not in name else noise - clean
        latents = scheduler.step(error, time, latents).prev_sample
        a, b = share_of_noise(scheduler, index + 1)
        assert torch.allclose(latents, a * clean + b * noise, atol=1e-4)


def test_colours_are_fitted_exactly_where_they_are_linear() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(5, 6, 4)).astype(np.float32)
    mixing = rng.normal(size=(5, 3)) * 0.05
    small = np.einsum("chw,cd->hwd", latents, mixing) + 0.5
    picture = small.repeat(8, axis=0).repeat(8, axis=1).astype(np.float32)
    colours = ColourMap()
    colours.learn(latents, picture)
    assert colours.weights is not None
    assert np.abs(colours.weights[:5] - mixing).max() < 0.005
    assert np.abs(colours.weights[5] - 0.5).max() < 0.005
    assert colours.paint(latents).size == (171, 256)


def test_sketches_are_spread_over_the_steps() -> None:
    assert due_steps(3, 28) == {7, 14, 21}
    assert due_steps(1, 2) == {2} and due_steps(0, 9) == frozenset()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_shows_its_pictures_on_their_way(
    name: str, tmp_path: Path, artifacts: Artifacts
) -> None:
    folder = save_family(name, tmp_path / name)
    painter = GenerateImage().load(str(folder), "cpu")
    side = 64 if name == "sana" else 32
    asked: dict[str, Any] = {"prompt": "a red cube", "backend": str(folder), "steps": 6}
    asked |= {"width": 2 * side, "height": side}
    plain = _paint(painter, artifacts, GenerateRequest(**asked, seed=1))[0]
    drawn, sketches = _paint(painter, artifacts, GenerateRequest(**asked, seed=1, sketches=2))
    assert drawn == plain, "sketches never touch what is painted"
    assert [(sketch.seed, sketch.step) for sketch in sketches] == [(1, 2), (1, 4)]
    for sketch in sketches:
        picture = Image.open(BytesIO(sketch.png))
        assert picture.width == 2 * picture.height == 256
        assert np.asarray(picture).std() > 0


def test_a_sketch_of_the_shipped_painter_nears_the_picture(artifacts: Artifacts) -> None:
    painter = GenerateImage().load("embedded", "cpu")
    request = GenerateRequest(prompt="a photo of a red cube", seed=3, sketches=4)
    _paint(painter, artifacts, request)  # from here on its colours are known
    ref, sketches = _paint(painter, artifacts, request)
    final = np.asarray(artifacts.load_image(ref).resize((16, 16), Image.Resampling.BOX), float)
    distances = [
        np.abs(np.asarray(Image.open(BytesIO(s.png)).resize((16, 16), Image.Resampling.BOX), float) - final)
        for s in sketches
    ]
    means = [float(distance.mean()) for distance in distances]
    assert len(means) == 4 and means[-1] < means[0] and means[-1] < 15


def _paint(painter: Any, artifacts: Artifacts, request: GenerateRequest) -> tuple[Any, list[Sketch]]:
    sketches: list[Sketch] = []

    def report(progress: Progress) -> None:
        sketches.extend(progress.sketches)

    [result] = GenerateImage().run(painter, [request], ToolContext(artifacts, report, lambda: None))
    return result.picture, sketches
