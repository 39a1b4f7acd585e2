"""Backends pruned by the command: made, named, painted with, exported, taken away; killed and gone on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

import app
from models.backends import keep_backends_in, name_backends, resolve, shelf
from models.obs_diff import load_pruned
from models.weights import check_safetensors
from tests.models.families import save_family

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPTS = "a red cube\n\ntwo cones\na green sphere in the studio\n"


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("flux", tmp_path_factory.mktemp("families") / "flux")


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A calibration file, in a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAULSTICK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MAULSTICK_CONFIG", raising=False)
    monkeypatch.setenv("MAULSTICK_THREADS", "1")  # else it follows the load, and the last bits follow it
    (tmp_path / "maulstick.toml").write_text("device = 'cpu'\n", "utf-8")
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS, "utf-8")
    yield path
    name_backends({})
    keep_backends_in(Path("/nowhere"))


def prune(capfd: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert app.run(["prune", *words, "--json"]) == 0, capfd.readouterr().err
    return json.loads(capfd.readouterr().out)["backends"]


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    capfd.readouterr()
    assert app.run(["prune", *words]) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1, printed
    return printed.err


def test_several_sparsities_from_one_calibration(
    flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (str(flux), "--calibration", str(prompts), "--steps", "2", "--pattern", "structured")
    made = prune(capfd, *words, "--sparsity", "0.3,0.5", "--out", "lean")
    assert [backend["name"] for backend in made] == ["lean-30", "lean-50"]
    assert made[1]["parameters"] < made[0]["parameters"] < made[0]["parameters_before"]
    assert not (shelf() / ".work").exists()
    assert app.run(["backends", "show", "lean-50", "--json"]) == 0
    card = json.loads(capfd.readouterr().out)
    assert (card["parent"], card["pruning"]) == (str(flux), "obs, structured 50 %")
    assert app.run(["generate", "a red cube", "--backend", "lean-50", "--images", "1", "--json"]) == 0
    picture = json.loads(capfd.readouterr().out)["pictures"][0]["path"]
    (painted,) = json.loads(Path(picture).with_suffix(".json").read_text("utf-8"))["provenances"]
    assert (painted["backend"], painted["parent"]) == ("lean-50", str(flux))
    assert painted["pruning"] == "obs, structured 50 %"
    readme = (shelf() / "lean-50" / "README.md").read_text("utf-8")
    assert "transformer_blocks.0.ff.net.2 | 64 of 128" in readme and "prompts: 3" in readme
    assert app.run(["backends", "list", "--json"]) == 0
    assert "lean-30" in capfd.readouterr().out
    assert app.run(["backends", "remove", "lean-30"]) == 0
    assert not (shelf() / "lean-30").exists() and (shelf() / "lean-50").exists()


def test_a_pruned_backend_is_pruned_further_and_says_so(
    flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    words = ("--calibration", str(prompts), "--steps", "1")
    prune(capfd, str(flux), *words, "--pattern", "structured", "--sparsity", "0.5", "--out", "half")
    assert "was pruned before" not in caplog.text
    made = prune(capfd, "half", *words, "--pattern", "2:4", "--out", "half-sparse")
    assert "half was pruned before (obs, structured 50 %); it is pruned further" in caplog.text
    assert made[0]["removed"] == 0.5 and made[0]["parent"] == "half"
    narrow, sparse = load_pruned(shelf() / "half"), load_pruned(shelf() / "half-sparse")
    assert narrow.num_parameters() == sparse.num_parameters()
    weight = sparse.transformer_blocks[0].ff.net[2].weight
    assert bool(((weight.view(len(weight), -1, 4) == 0).sum(-1) >= 2).all())


def test_the_embedded_painter_needs_no_prompts_and_stays_exact_in_batches(
    prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = prune(
        capfd, "embedded", "--pattern", "structured", "--sparsity", "0.2", "--count", "2", "--steps", "2"
    )
    assert made[0]["name"] == "embedded-obs-structured-20"
    assert abs(made[0]["removed"] - 0.2) < 0.02
    backend = resolve(made[0]["name"])
    assert (backend.kind, backend.threads, backend.closed_vocabulary) == ("embedded", 1, True)
    before = check_safetensors(next(Path(resolve("embedded").source).glob("transformer/*.safetensors")))
    assert check_safetensors(next(Path(backend.source).glob("transformer/*.safetensors"))) < before
    words = ("a red cube left of a blue sphere", "--backend", backend.name, "--images", "3", "--seed", "1")
    assert app.run(["refine", *words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["pictures"] <= 3
    assert app.run(["runs", "list", "--json"]) == 0
    assert backend.name in capfd.readouterr().out


def test_exported_as_one_file(
    flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (str(flux), "--calibration", str(prompts), "--steps", "1", "--pattern", "2:4")
    prune(capfd, *words, "--out", "sparse")
    file = tmp_path / "sparse.safetensors"
    assert app.run(["backends", "export", "sparse", str(file)]) == 0
    assert "tensors of sparse stand in" in capfd.readouterr().out
    weight = load_file(file)["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"]
    assert weight.shape == (96, 32)
    assert bool(((weight.view(96, -1, 4) == 0).sum(-1) >= 2).all())
    with safe_open(file, "pt") as opened:
        metadata: dict[str, str] = opened.metadata()
    assert metadata["maulstick.pruning"] == "obs, 2:4"
    assert app.run(["backends", "export", "sparse", str(file)]) == 2
    assert "is there already" in capfd.readouterr().err


REFUSED = {
    "sparsity": (["--sparsity", "1.5"], "sparsity is 1.5: use a share between 0 and 1"),
    "no sparsity": ([], "give --sparsity, such as 0.3"),
    "words": (["--sparsity", "much"], "--sparsity takes shares such as 0.3 or 0.3,0.4, not 'much'"),
    "pattern": (["--pattern", "blocks", "--sparsity", "0.5"], "'blocks' is no pattern"),
    "n:m": (["--pattern", "4:4"], "4:4 is no pattern"),
    "m": (["--pattern", "2:5"], "has 32 inputs, which 5 does not divide"),
    "n:m sparsity": (["--pattern", "2:4", "--sparsity", "0.3"], "2:4 takes 0.5 of the weights out, not 0.3"),
    "method": (["--method", "l1", "--sparsity", "0.5"], "'l1' does not prune by the pattern unstructured"),
    "unknown method": (["--method", "best", "--sparsity", "0.5"], "method"),
    "schedule": (["--schedule", "cosine", "--sparsity", "0.5"], "schedule"),
    "memory": (["--memory", "lots", "--sparsity", "0.5"], "'lots' is no amount of memory"),
    "little memory": (["--memory", "1KiB", "--sparsity", "0.5"], "more than the memory of 0.0 MiB"),
    "blocks": (["--blocks", "5:9", "--sparsity", "0.5"], "blocks 5:9 are not among the 2"),
    "name": (["--out", "a/b", "--sparsity", "0.5"], "'a/b' is no name for a backend"),
    "count": (["--count", "9", "--sparsity", "0.5"], "holds 3 prompts and --count asks for 9"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_is_refused_in_one_line(
    flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    words, message = REFUSED[case]
    words = [str(flux), "--calibration", str(prompts), "--steps", "1", *words]
    assert message in refused(capfd, *words)
    assert not list(shelf().glob("*/model_index.json"))


def test_no_prompts(flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no prompts to calibrate" in refused(capfd, str(flux), "--sparsity", "0.5")
    prompts.write_text("\n\n", "utf-8")
    told = refused(capfd, str(flux), "--sparsity", "0.5", "--calibration", str(prompts))
    assert "holds no prompts to calibrate with: write one a line" in told
    told = refused(capfd, str(flux), "--sparsity", "0.5", "--calibration", "nowhere.txt")
    assert "nowhere.txt cannot be read" in told


def test_a_taken_name(flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = (str(flux), "--calibration", str(prompts), "--steps", "1", "--sparsity", "0.5", "--out", "mine")
    prune(capfd, *words)
    assert "there is a backend 'mine' already" in refused(capfd, *words)


def test_an_endpoint_is_no_diffusion_model(prompts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert app.run(["backends", "add", "far", "http://127.0.0.1:9/v1", "--kind", "openai-images"]) == 0
    told = refused(capfd, "far", "--sparsity", "0.5", "--calibration", str(prompts))
    assert "far is an endpoint and no diffusion model here" in told


def command(*words: str) -> list[str]:
    return [sys.executable, str(Path(app.__file__)), "prune", *words]


def test_killed_it_goes_on_at_the_package(
    flux: Path, prompts: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (str(flux), "--calibration", str(prompts), "--steps", "2", "--sparsity", "0.5", "--packages", "4")
    prune(capfd, *words, "--out", "whole")
    process = subprocess.Popen(command(*words, "--out", "killed"), stderr=subprocess.PIPE)
    work = shelf() / ".work"
    deadline = time.monotonic() + 120
    while not list(work.glob("*/package-0001.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*/*.pt")}
    assert kept and not (shelf() / "killed").exists()
    made = prune(capfd, *words, "--out", "killed")
    assert made[0]["packages"] == 4
    one, other = load_pruned(shelf() / "whole"), load_pruned(shelf() / "killed")
    for name, value in one.state_dict().items():
        assert bool((value == other.state_dict()[name]).all()), name


def test_a_full_disk_leaves_nothing_half_written(flux: Path, prompts: Path, tmp_path: Path) -> None:
    words = (str(flux), "--calibration", str(prompts), "--steps", "1", "--sparsity", "0.5", "--out", "big")
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
    limit += "import app; sys.exit(app.run(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", limit, "prune", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parent)},
    )
    assert ended.returncode == 2, ended.stderr
    assert "could not be written (is the disk full?)" in ended.stderr.splitlines()[-1], ended.stderr
    left = [path for path in (tmp_path / "home" / "backends").rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"order.json"}


def test_a_disk_that_fills_while_saving_leaves_no_folder(flux: Path, tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from models.obs_diff.saving import Pruning, save_pruned
from models.pipelines import load_pipeline
from models.backends import resolve
from models.tool import ToolError
pipeline = load_pipeline(resolve(sys.argv[1]), "cpu")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
told = Pruning(method="obs", pattern="2:4", sparsity=0.5, parent="flux")
try:
    save_pruned(pipeline, Path(sys.argv[2]), told)
except ToolError as error:
    print(error)
"""
    folder = tmp_path / "out" / "saved"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(flux), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parent)},
    )
    assert f"{folder} could not be written" in ended.stdout and "nothing is left there" in ended.stdout
    assert not list((tmp_path / "out").iterdir())
