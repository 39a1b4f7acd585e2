"""What a user gets wrong: one line on stderr, exit code 2, no traceback, nothing half-written."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from diorama.atlas import load_atlas, the_atlas
from models.backends import WEIGHTS
from tests.diorama.sprites import write_atlas


def _assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("maulstick: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", ["empty"]),
        ("a red cube " * 3000, ["33,000", "32,000"]),
        (b"a red \xff\xfe cube", ["unprintable", "\\udcff"]),
    ],
)
def test_unusable_prompts_are_refused_before_a_run_begins(maulstick, home, tmp_path, prompt, words):
    _assert_refused(maulstick("refine", prompt, "--json", "--out", str(tmp_path / "out")), *words)
    assert not home.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a red dragon", ["dragon"]),
        ("a red zebra", ["not taught 'zebra'", "doctor"]),
        ("a mouse on a red cube", ["'mouse'", "'computer mouse'"]),
        ("a striped zebra", ["a zebra cannot be striped", "only solids"]),
        ("ein roter Würfel", ["'roter'", "würfel"]),
    ],
)
def test_words_outside_the_embedded_world_are_named(maulstick, tmp_path, prompt, words):
    _assert_refused(
        maulstick("refine", prompt, "--json", "--out", str(tmp_path / "out")), *words, "--backend"
    )
    assert not (tmp_path / "out").exists()
    [run] = json.loads(maulstick("runs", "list", "--json").stdout)["runs"]
    assert (run["status"], run["prompt"]) == ("unsupported", prompt)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["refine", "a red cube", "--backend", "nonesuch"], ["nonesuch", "embedded"]),
        (["refine", "a red cube", "--mind", "nobody"], ["nobody", "embedded"]),
        (["refine", "a red cube", "--images", "0"], ["--images", "0"]),
        (["refine", "a red cube", "--seed", "-1"], ["--seed", "-1"]),
        (["refine"], ["prompt"]),
        (["paint"], ["paint"]),
        (["runs", "show", "nix"], ["nix", "runs list"]),
        (["runs", "resume", "nix"], ["nix", "runs list"]),
        (["runs", "replay", "nix"], ["nix", "runs list"]),
        (["train", "embedded", "--part", "frame"], ["frame", "painter"]),
        (["train", "embedded", "--part", "critic", "--profile", "huge"], ["huge", "tiny"]),
        (["train", "embedded", "--part", "critic", "--vocabulary", "mine"], ["'mine'", "cpu_names"]),
        (["train", "embedded", "--part", "autoencoder", "--start", "nowhere"], ["--start", "nowhere"]),
        (["train", "embedded", "--part", "critic", "--start", "nowhere"], ["--start", "critic"]),
        (["train", "embedded", "--part", "decoder"], ["decoder", "--start"]),
        (["train", "embedded", "--part", "tuning"], ["tuning", "--start"]),
        (["train", "embedded", "--part", "sharpening"], ["sharpening", "--start"]),
        (["train", "embedded", "--part", "decoder", "--crew", "2", "--start", "vae"], ["--start", "vae"]),
        (["train", "embedded", "--part", "autoencoder", "--crew", "2"], ["--crew", "critic"]),
        (["train", "embedded", "--part", "critic", "--processes", "2"], ["--processes", "autoencoder"]),
        (["train", "embedded", "--part", "painter", "--crew", "2", "--processes", "2"], ["--crew"]),
        (["evaluate", "diorama", "--prompts", "mine"], ["mine", "heldout"]),
        (["evaluate", "diorama", "--arms", "loop,both"], ["both", "best_of_n"]),
    ],
)
def test_unknown_names_and_numbers_are_refused(monkeypatch, capfd, home, arguments, words):
    monkeypatch.setenv("MAULSTICK_HOME", str(home))
    code = app.run(arguments)  # in this process: a new one per case costs 3 s of imports
    printed = capfd.readouterr()
    _assert_refused(subprocess.CompletedProcess(arguments, code, printed.out, printed.err), *words)


@pytest.mark.parametrize("command", [["refine", "a red cube"], ["generate", "a red cube"]])
def test_an_output_that_takes_no_files_is_found_out_first(maulstick, home, tmp_path: Path, command):
    (tmp_path / "file").write_text("mine")
    _assert_refused(
        maulstick(*command, "--out", str(tmp_path / "file" / "out")), "--out", str(tmp_path / "file")
    )
    assert (tmp_path / "file").read_text() == "mine"
    assert not home.exists()


def test_a_home_that_takes_no_files_is_named(maulstick, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    done = maulstick("runs", "list", env={"MAULSTICK_HOME": str(tmp_path / "file" / "home")})
    _assert_refused(done, "MAULSTICK_HOME")


def test_a_wrong_setting_is_named(maulstick):
    _assert_refused(
        maulstick("runs", "list", env={"MAULSTICK_DEVICE": "tpu"}), "MAULSTICK_DEVICE", "'tpu'", "cuda"
    )


def test_a_damaged_ledger_is_named_and_left_alone(maulstick, home):
    home.mkdir()
    (home / "ledger.db").write_bytes(b"not a database")
    _assert_refused(maulstick("runs", "list"), "ledger.db", "start afresh")
    assert (home / "ledger.db").read_bytes() == b"not a database"


@pytest.fixture
def atlas_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the sprite atlas is looked for; nothing lies there."""
    path = tmp_path / "art" / "sprites.npz"
    monkeypatch.setattr(load_atlas, "__defaults__", (path,))
    the_atlas.cache_clear()
    yield path
    the_atlas.cache_clear()


@pytest.mark.parametrize("part", ["autoencoder", "critic", "judge", "painter"])
@pytest.mark.parametrize("damaged", [False, True], ids=["missing", "damaged"])
def test_art_that_a_training_needs_is_missed_at_once(
    monkeypatch, capfd, home, atlas_path: Path, part, damaged
):
    monkeypatch.setenv("MAULSTICK_HOME", str(home))
    if damaged:
        atlas_path.parent.mkdir()
        atlas_path.write_bytes(b"PK no archive")
    code = app.run(["train", "embedded", "--part", part, "--profile", "cpu"])
    printed = capfd.readouterr()
    _assert_refused(
        subprocess.CompletedProcess([], code, printed.out, printed.err), str(atlas_path), "make sprites"
    )
    assert not home.exists()


def test_solids_are_learnt_without_art_and_only_resumed_as_such(monkeypatch, capfd, home, atlas_path: Path):
    monkeypatch.setenv("MAULSTICK_HOME", str(home))
    train = ["train", "embedded", "--part", "critic", "--profile", "tiny", "--out", str(home / "critic")]
    assert app.run([*train, "--steps", "1"]) == 0
    capfd.readouterr()
    code = app.run([*train, "--resume", "--vocabulary", "solids"])
    printed = capfd.readouterr()
    _assert_refused(
        subprocess.CompletedProcess([], code, printed.out, printed.err), "training.pt", "vocabulary", "--out"
    )


def test_a_painter_of_names_waits_for_the_parts_that_know_them(monkeypatch, capfd, home, atlas_path: Path):
    monkeypatch.setenv("MAULSTICK_HOME", str(home))
    write_atlas(atlas_path)
    code = app.run(["train", "embedded", "--part", "painter", "--profile", "cpu", "--vocabulary", "full"])
    printed = capfd.readouterr()
    _assert_refused(
        subprocess.CompletedProcess([], code, printed.out, printed.err),
        "'full'",
        "--part autoencoder --profile cpu",
    )
    assert not home.exists()


def test_a_painter_of_other_sizes_is_nothing_to_go_on_from(maulstick, tmp_path: Path):
    order = ("--part", "painter", "--profile", "tiny", "--vocabulary", "tiny", "--out", str(tmp_path / "new"))
    done = maulstick("train", "embedded", *order, "--start", str(WEIGHTS / "painter"))
    _assert_refused(done, "other sizes", "--start")


def test_a_training_is_not_overwritten(maulstick, tmp_path: Path):
    (tmp_path / "training.pt").write_bytes(b"hours of work")
    done = maulstick("train", "embedded", "--part", "critic", "--profile", "tiny", "--out", str(tmp_path))
    _assert_refused(done, "--resume")
    assert (tmp_path / "training.pt").read_bytes() == b"hours of work"
