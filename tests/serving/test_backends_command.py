"""Generators of one's own: named in maulstick.toml, shown, painted with, taken out again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from models.backends import name_backends, resolve
from tests.models.families import save_family
from tests.models.images_server import Studio, picture, serving

KEPT = "# my machine\ndevice = 'cpu'  # no GPU here\n"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("sd15", tmp_path_factory.mktemp("families") / "sd15")


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A user's own maulstick.toml."""
    path = tmp_path / "maulstick.toml"
    path.write_text(KEPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAULSTICK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MAULSTICK_CONFIG", raising=False)
    yield path
    name_backends({})


def run(*words: str) -> int:
    return app.run(["backends", *words])


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    capfd.readouterr()
    assert run(*words) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_pipeline_is_named_shown_tried_and_taken_out(
    config: Path, pipeline: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ("--set", "steps=4", "--set", "scheduler=EulerDiscreteScheduler", "--set", "width=48")
    assert run("add", "mine", str(pipeline), *settings, "--set", "notes=a tiny one") == 0
    assert "maulstick backends test mine" in capfd.readouterr().out
    written = config.read_text()
    assert written.startswith(KEPT) and "[backends.mine]" in written
    assert run("show", "mine", "--json") == 0
    card = json.loads(capfd.readouterr().out)
    assert (card["source"], card["steps"], card["width"], card["height"]) == (str(pipeline), 4, 48, 32)
    assert (card["kind"], card["state"], card["notes"]) == ("diffusers", "ready", "a tiny one")
    assert run("show", "mine") == 0 and "EulerDiscreteScheduler" in capfd.readouterr().out
    assert run("list", "--json") == 0
    listed = {row["name"]: row for row in json.loads(capfd.readouterr().out)["backends"]}
    assert list(listed)[-1] == "mine" and listed["mine"]["memory_bytes"] > 0
    assert run("test", "mine", "--json") == 0
    tried = json.loads(capfd.readouterr().out)
    assert Path(tried["path"]).is_file() and tried["width"] == 48
    assert "already" in refused(capfd, "add", "mine", str(pipeline))
    assert run("remove", "mine") == 0
    assert config.read_text() == KEPT
    assert "it has: none" in refused(capfd, "remove", "mine")


def test_an_endpoint_paints_by_its_name(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(Studio(lambda asked: picture("blue"))) as studio:
        assert run("add", "far", studio.url, "--kind", "openai-images", "--set", "model=tiny") == 0
        assert run("test", "far") == 0
        capfd.readouterr()
        assert app.run(["generate", "a blue cube", "--backend", "far", "--images", "3", "--json"]) == 0
        painted = json.loads(capfd.readouterr().out)
    assert len(painted["pictures"]) == 3 and len(studio.asked) == 4
    assert {asked["model"] for asked in studio.asked} == {"tiny"}
    assert resolve("far").supports == ("size", "edit")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "x", "here", "--set", "step=3"), ["no setting 'step'", "steps"]),
        (("add", "x", "here", "--set", "steps=many"), ["steps is 'many'"]),
        (("add", "x", "here", "--set", "offload=moon"), ["offload is 'moon'", "'model'"]),
        (("add", "x", "here", "--set", "steps"), ["KEY=VALUE", "'steps'"]),
        (("add", "x", "here", "--kind", "dalle"), ["dalle", "openai-images"]),
        (("add", "x", "ftp://h", "--kind", "openai-images"), ["base_url is 'ftp://h'"]),
        (("add", "embedded", "here"), ["'embedded' is a built-in backend"]),
        (("show", "nobody"), ["no backend is called 'nobody'"]),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_written(
    config: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], says: list[str]
) -> None:
    line = refused(capfd, *words)
    assert all(word in line for word in says), line
    assert config.read_text() == KEPT


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[backends.x]\nsource = "a/b"\nsteps = "many"', ["backends.x.steps", "'many'"]),
        ('[backends.x]\nsource = "a/b"\nstep = 3', ["backends.x.step", "steps"]),
        ('[backends.x]\nkind = "dalle"', ["backends.x", "dalle"]),
        ('[backends.embedded]\nsource = "a/b"', ["'embedded' is a built-in backend"]),
    ],
)
def test_a_damaged_table_is_named(
    config: Path, capfd: pytest.CaptureFixture[str], content: str, says: list[str]
) -> None:
    config.write_text(content)
    line = refused(capfd, "list")
    assert all(word in line for word in says), line
    assert config.read_text() == content
