"""The half hour of an accelerator, rehearsed on a CPU with the `tiny` profile: every stage really runs."""

import json
from pathlib import Path

import pytest
import torch

from models.embedded.painter import build_autoencoder, load_painter
from models.embedded.perception import load_perceiver
from models.embedded.training.taught import note_vocabulary, vocabulary_of
from scripts.train_on_gpu import main


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    build_autoencoder((4, 4, 8, 8)).save_pretrained(tmp_path / "vae")
    note_vocabulary(tmp_path / "vae", "tiny")
    return tmp_path / "vae"


def order(out: Path, autoencoder: Path) -> list[str]:
    given = {"autoencoder": autoencoder, "minutes": 0.3, "scenes": 64, "crew": 2, "device": "cpu"}
    return [str(out), "--profile=tiny", *[f"--{name}={value}" for name, value in given.items()]]


@pytest.mark.slow
def test_all_stages_train_side_by_side_and_a_second_call_finds_them_done(
    tmp_path: Path, autoencoder: Path
) -> None:
    out = tmp_path / "out"
    assert main(order(out, autoencoder)) == 0
    for folder in ("painter", "tuning", "sharpening"):
        assert vocabulary_of(out / folder / "painter") == "tiny"
        assert load_painter(out / folder / "painter").transformer.config["num_layers"] == 1
    for part in ("critic", "judge"):
        assert "sphere" in load_perceiver(out / part).network.config.shapes
    steps = {
        file: json.loads(file.read_text("utf-8").splitlines()[-1])["step"] for file in out.rglob("log.jsonl")
    }
    assert len(steps) == 7  # reading, painter, critic, judge, grader, tuning, sharpening
    assert main(order(out, autoencoder)) == 0
    again = {file: json.loads(file.read_text("utf-8").splitlines()[-1])["step"] for file in steps}
    assert again == steps


@pytest.mark.slow
def test_a_stage_that_fails_is_named_and_ends_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(order(tmp_path / "out", tmp_path / "nothing")) == 1
    assert "painter failed: see" in capsys.readouterr().err
    assert "nothing" in (tmp_path / "out" / "painter.log").read_text("utf-8")
