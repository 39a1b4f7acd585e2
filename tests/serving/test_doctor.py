import json
import shutil
from pathlib import Path

import pytest

from graphs.run import Home
from memory.ledger import Ledger
from models import backends
from serving.doctor import examine, find_vocabulary, find_weights
from serving.home import DataFolder
from settings import Settings


def test_json_is_one_object_and_looking_changes_nothing(maulstick, home):
    done = maulstick("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["ok"] == (not report["problems"])
    assert report["versions"]["python"].startswith("3.")
    assert report["devices"][0]["name"] == "cpu"
    assert {part["name"] for part in report["weights"]} == {"painter", "critic", "judge", "depth"}
    assert {store["name"]: store["state"] for store in report["stores"]} == {
        "ledger": "absent",
        "checkpoints": "absent",
        "vectors": "absent",
    }
    assert not home.exists()


def test_damaged_stores_are_told_in_words(home):
    home.mkdir()
    Ledger(home / "ledger.db").close()
    (home / "checkpoints.db").write_bytes(b"x" * 100)
    (home / "chroma").mkdir()
    (home / "chroma.seal.json").write_text('{"chroma.sqlite3": "00"}')
    report = examine(Settings(home=home))
    assert [store.state for store in report.stores] == ["ok", "damaged", "damaged"]
    assert not report.ok
    assert any("checkpoints.db" in problem for problem in report.problems)
    assert any("chroma" in problem and "Nothing is lost" in problem for problem in report.problems)


def test_a_device_that_is_not_there_is_a_problem(home):
    report = examine(Settings(home=home, device="cuda:7"))
    assert any("cuda:7" in problem and "cpu" in problem for problem in report.problems)


def _copy_weights(target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(backends.WEIGHTS, target)
    monkeypatch.setattr(backends, "WEIGHTS", target)
    return target


def test_shipped_weights_are_whole_and_name_their_words():
    problems: list[str] = []
    weights = list(find_weights(problems))
    assert problems == []
    assert all(part.state == "ok" and part.bytes > 0 and part.sha256 for part in weights)
    words = find_vocabulary(weights[0], problems)
    assert problems == []
    assert {"cube", "sphere"} <= set(words["shapes"])


def test_missing_truncated_and_altered_weights_are_told_apart(tmp_path, monkeypatch):
    weights = _copy_weights(tmp_path / "weights", monkeypatch)
    shutil.rmtree(weights / "judge")
    shutil.rmtree(weights / "depth")
    cut = next((weights / "painter" / "transformer").glob("*.safetensors"))
    cut.write_bytes(cut.read_bytes()[:-100])
    altered = weights / "critic" / "model.safetensors"
    content = bytearray(altered.read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    problems: list[str] = []
    states = {part.name: part.state for part in find_weights(problems)}
    assert states == {"painter": "damaged", "critic": "damaged", "judge": "missing", "depth": "missing"}
    assert any(str(cut) in problem and "promises" in problem for problem in problems)
    assert any(str(altered) in problem and "not the file that was shipped" in problem for problem in problems)
    assert any("judge" in problem and "train embedded --part judge" in problem for problem in problems)
    assert any("depth" in problem and "`maulstick train depth`" in problem for problem in problems)


def test_the_layout_is_the_one_that_runs_use(tmp_path):
    folder = DataFolder(tmp_path)
    with Ledger(folder.ledger) as ledger:
        home = Home(tmp_path, ledger)
        assert home.checkpoints == folder.checkpoints
        assert home.journal("x").parent == folder.run("x")
