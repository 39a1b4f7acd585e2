"""GenEval's own prompts, painted by the shipped painter and read by the shipped judge."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diorama.families import geneval_cases
from diorama.vocabulary import load_vocabulary
from models.backends import WEIGHTS
from models.embedded.training import geneval
from models.embedded.training.geneval import FIGURES, find_figures
from models.threads import fixed_threads


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "painter"
    shutil.copytree(WEIGHTS / "painter", folder)
    with fixed_threads(1):
        code = geneval.main([str(folder), f"--judge={WEIGHTS / 'judge'}", "--samples=1", "--steps=3"])
    assert code == 0
    return folder


def test_every_prompt_in_its_words_is_counted(measured: Path) -> None:
    figures = find_figures(measured)
    assert figures is not None
    asked = geneval_cases(load_vocabulary("cpu_names"))
    assert figures["prompts"] == len(asked) > 30
    tags = figures["tags"]
    assert set(tags) == {case.family for case in asked} | {"mean"}
    own = [row["lenient"] for tag, row in tags.items() if tag != "mean"]
    assert tags["mean"]["lenient"] == pytest.approx(sum(own) / len(own), abs=1e-3)
    assert tags["single_object"]["lenient"] > 0.5  # three steps are enough for that
    assert all(row["strict"] <= row["lenient"] for row in tags.values())


def test_figures_are_of_these_weights_alone(measured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "painter"
    shutil.copytree(measured, folder)
    assert find_figures(folder) == json.loads((measured / FIGURES).read_text("utf-8"))["figures"]
    file = next((folder / "transformer").glob("*.safetensors"))
    state = load_file(file)
    name = next(iter(state))
    save_file({**state, name: torch.zeros_like(state[name])}, file)
    assert find_figures(folder) is None


def test_a_painter_that_shares_no_word_with_geneval_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "painter"
    shutil.copytree(WEIGHTS / "painter", folder)
    (folder / "card.json").write_text('{"vocabulary": "cpu"}', "utf-8")
    assert geneval.main([str(folder), f"--judge={WEIGHTS / 'judge'}"]) == 2
    assert "'cpu'" in capsys.readouterr().err
