"""A painter sharpened: what is looked at is the sampler's own, and each loss is for one side alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diorama.vocabulary import load_vocabulary
from diorama.wording import lexicon
from models.embedded.painter import build_tokenizer, count_tokens, load_painter
from models.embedded.profiles import PAINTER, SHARPENING, TEXT_TOKENS
from models.embedded.training import autoencoder, painter
from models.embedded.training.captions import Captions
from models.embedded.training.grader import add_noise
from models.embedded.training.latents import LatentCache
from models.embedded.training.loop import torch_generator
from models.embedded.training.painters_world import open_rows
from models.embedded.training.rows import Rows
from models.embedded.training.sharpening import (
    Easel,
    Eyes,
    Sharpened,
    compare,
    sharpen,
)
from models.embedded.training.stream import PictureStream
from models.embedded.training.tuning import sampling_times

TINY = load_vocabulary("tiny")


@pytest.fixture(scope="module")
def tiny_autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return autoencoder.train("tiny", tmp_path_factory.mktemp("autoencoder"), steps=5) / "autoencoder"


@pytest.fixture(scope="module")
def tiny_painter(tiny_autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painter.train("tiny", tmp_path_factory.mktemp("painter"), autoencoder=tiny_autoencoder, steps=5)


@pytest.fixture(scope="module")
def told(tiny_autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Captions]:
    stream = PictureStream(TINY, 3)
    captions = Captions(stream.world, build_tokenizer(lexicon(), lexicon(TINY)), "cpu")
    folder = tmp_path_factory.mktemp("latents")
    return open_rows(stream, captions, tiny_autoencoder, folder, 16, "cpu"), captions


@pytest.fixture
def network() -> painter.PainterTraining:
    torch.manual_seed(0)
    return painter.PainterTraining(PAINTER["tiny"], count_tokens(lexicon()))


def test_every_look_is_a_step_of_the_sampler(
    told: tuple[Rows, Captions], network: painter.PainterTraining
) -> None:
    rows, captions = told
    times, rng = sampling_times(4), np.random.default_rng(0)
    easel = Easel(rows, captions, times, 4, rng, torch_generator(0, 0))
    assert easel.phase.tolist() == [0, 1, 2, 3]
    before, ids = easel.x.clone(), easel.ids.clone()
    clean, (states, pooled) = easel.step(network, 2.0, rng, torch_generator(0, 1))
    t = times[:4]
    with torch.no_grad():
        silent = network.read(captions.encode([""] * 4))
        velocity, _ = network.velocity(before, t, states, pooled)
        unguided, _ = network.velocity(before, t, *silent)
    expected = before - t.view(-1, 1, 1) * (unguided + 2.0 * (velocity - unguided))
    assert torch.allclose(clean, expected, atol=1e-5)
    assert torch.allclose(states, network.read(ids)[0], atol=1e-5)
    further = add_noise(clean.detach(), times[1:], torch_generator(0, 1))
    assert easel.phase.tolist() == [1, 2, 3, 0]
    assert torch.equal(easel.x[:3], further[:3]) and not torch.equal(easel.x[3], further[3])
    assert torch.equal(easel.ids[:3], ids[:3])
    assert easel.x[3].std() == pytest.approx(1, abs=0.05)  # a finished picture makes room for pure noise


def slopes(module: torch.nn.Module) -> float:
    return sum(float(each.grad.norm()) for each in module.parameters() if each.grad is not None)


def test_each_loss_is_for_one_side_alone(
    told: tuple[Rows, Captions], network: painter.PainterTraining
) -> None:
    rows, captions = told
    rng, profile = np.random.default_rng(0), SHARPENING["tiny"]
    easel = Easel(rows, captions, sampling_times(4), 4, rng, torch_generator(0, 0))
    sharpened = Sharpened(network)
    network.freeze_encoders()
    for name, learns, rests in (("missed", network, sharpened.eyes), ("mistaken", sharpened.eyes, network)):
        sharpened.zero_grad(set_to_none=True)
        losses = compare(sharpened, easel, rows.draw(rng, 4), profile, rng, torch_generator(0, 1))
        losses[name].backward()
        assert slopes(learns) > 0 and slopes(rests) == 0
    assert slopes(sharpened.eyes.blocks) > 0 and slopes(sharpened.eyes.heads) > 0


def test_eyes_learn_to_tell_and_a_picture_to_please_them(network: painter.PainterTraining) -> None:
    torch.manual_seed(0)
    eyes, low = Eyes(network.transformer), torch.full((8,), 0.1)
    with torch.no_grad():
        telling = network.read(torch.ones(8, TEXT_TOKENS, dtype=torch.long))
    sharp = torch.randn(8, 1, 64) + torch.randn(8, 64, 64)
    plain = sharp.mean(1, keepdim=True).expand(-1, 64, -1)

    def mistaken() -> torch.Tensor:
        real, painted = (eyes(network, x, low, telling) for x in (sharp, plain))
        return (torch.relu(1 - real).mean() + torch.relu(1 + painted).mean()) / 2

    learner = torch.optim.AdamW(eyes.parameters(), lr=3e-3)
    first = float(mistaken().detach())
    for _ in range(30):
        learner.zero_grad()
        mistaken().backward()
        learner.step()
    assert float(mistaken().detach()) < first - 0.3
    picture = plain.clone().requires_grad_()
    real = eyes(network, picture, low, telling).mean()
    real.backward()
    assert picture.grad is not None
    with torch.no_grad():
        better = picture + picture.grad / picture.grad.norm()
        assert eyes(network, better, low, telling).mean() > real


def test_a_painter_is_sharpened_and_goes_on(tiny_painter: Path, tmp_path: Path) -> None:
    first = sharpen("tiny", tmp_path, start=tiny_painter, steps=2)
    before, after = load_painter(tiny_painter), load_painter(first)
    assert not torch.equal(after.transformer.proj_out.weight, before.transformer.proj_out.weight)
    prompts = [
        each.encode_prompt(prompt="two red cubes", max_sequence_length=TEXT_TOKENS)[:2]
        for each in (before, after)
    ]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*prompts, strict=True))
    for encoder in ("text_encoder", "text_encoder_2"):
        files = [next((folder / encoder).glob("*.safetensors")) for folder in (tiny_painter, first)]
        assert files[0].read_bytes() == files[1].read_bytes()  # words that it was not taught, too
    second = load_painter(sharpen("tiny", tmp_path, start=tiny_painter, steps=4))
    assert not torch.equal(second.transformer.proj_out.weight, after.transformer.proj_out.weight)
    steps = [
        line.split('"step": ')[1].split(",")[0] for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert steps[0] == "2" and steps[-1] == "4"
    assert {"missed", "mistaken", "velocity"} <= set(
        (tmp_path / "log.jsonl").read_text().replace('"', " ").split()
    )
    assert LatentCache(PictureStream(TINY, 3), tmp_path / "latents", 64).found()
