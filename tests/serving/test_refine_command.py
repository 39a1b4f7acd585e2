"""`refine` and what follows it, with the shipped weights, as a user runs them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memory.ledger import Ledger
from serving.home import DataFolder
from tests.agents.reading.server import Endpoint, chat, serving

ROOT = Path(__file__).parents[2]

KEYS = [
    "run_id", "status", "prompt", "final_prompt", "rating", "pictures", "minds", "seconds", "touched_up",
    "artifact", "sheet", "errors", "explanation",
]  # fmt: skip
FILES = {"final.png", "original.png", "sheet.png", "run.jsonl", "explanation.txt"}


@pytest.mark.timeout(400)
def test_refine_resume_replay_and_generate_agree(maulstick, tmp_path: Path):
    out = tmp_path / "out"
    done = maulstick("refine", "a red cube", "--images", "4", "--json", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert list(result) == KEYS
    assert result["touched_up"] or result["rating"]["final"] >= result["rating"]["original"]
    assert result["pictures"] <= 4
    assert {path.name for path in out.iterdir()} == FILES
    final = Path(result["artifact"]["path"]).read_bytes()
    assert hashlib.sha256(final).hexdigest() == result["artifact"]["sha256"]
    assert all(set(error) == {"kind", "span", "status"} for error in result["errors"])

    [listed] = json.loads(maulstick("runs", "list", "--json").stdout)["runs"]
    assert (listed["run_id"], listed["status"]) == (result["run_id"], result["status"])
    shown = maulstick("runs", "show", result["run_id"])
    assert (shown.returncode, "a red cube" in shown.stdout) == (0, True)
    pruned = json.loads(maulstick("runs", "prune", "--json").stdout)
    assert pruned["runs"] == 1
    assert pruned["steps"] > 5
    assert maulstick("runs", "prune").stdout == "forgot 0 steps of 0 ended runs: 0.0 MiB given back\n"
    resumed = json.loads(maulstick("runs", "resume", result["run_id"], "--json").stdout)
    replayed = json.loads(maulstick("runs", "replay", result["run_id"], "--json").stdout)
    assert resumed["artifact"]["sha256"] == replayed["artifact"]["sha256"] == result["artifact"]["sha256"]

    generated = maulstick(
        *("generate", "a red cube", "--images", "2", "--sketches", "2"),
        *("--json", "--out", str(tmp_path / "plain")),
    )
    assert [picture["seed"] for picture in json.loads(generated.stdout)["pictures"]] == [0, 1]
    assert (tmp_path / "plain" / "0.png").read_bytes() == (out / "original.png").read_bytes()
    written = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert written == ["0-sketch1.png", "0-sketch2.png", "0.png", "1-sketch1.png", "1-sketch2.png", "1.png"]
    homeless = maulstick("generate", "a red cube", "--sketches", "2")
    assert homeless.returncode == 2 and "name it with --out" in homeless.stderr


@pytest.mark.timeout(300)
def test_small_things_are_touched_up_unless_told_otherwise(maulstick, tmp_path: Path):
    prompt = ("a photo of a purple elephant left of two red cars", "--seed", "1", "--images", "12")
    results = {}
    for name, flags in (("touched", ()), ("plain", ("--no-touch-up",))):
        done = maulstick("refine", *prompt, "--json", "--out", str(tmp_path / name), *flags)
        assert (done.returncode, done.stderr) == (0, "")
        results[name] = json.loads(done.stdout)
    touched, plain = results["touched"], results["plain"]
    assert touched["status"] == plain["status"] == "satisfied"
    assert touched["touched_up"] and not plain["touched_up"]
    assert touched["pictures"] == plain["pictures"] and touched["rating"]["final"] >= 4.9
    delivered, found = [Image.open(tmp_path / name / "final.png") for name in ("touched", "plain")]
    assert (delivered.size, found.size) == ((256, 256), (128, 128)), "close-ups keep their detail"
    off = np.abs(np.asarray(delivered, float) - np.asarray(found.resize((256, 256)), float)).max(-1)
    assert off.max() > 20 and (off < 2).mean() > 0.4, "things are painted anew, their room is not"
    assert (tmp_path / "touched" / "original.png").exists()
    assert "again close up" in touched["explanation"] and "again close up" not in plain["explanation"]


@pytest.mark.timeout(200)
def test_a_role_is_played_behind_an_endpoint(maulstick):
    reply = chat(json.dumps({"text": "A cube was asked for and a cube came."}))
    with serving(Endpoint(lambda body: reply)) as endpoint:
        env = {"MAULSTICK_ENDPOINTS__LOCAL__BASE_URL": endpoint.url, "MAULSTICK_MINDS__EXPLAIN": "local:tiny"}
        done = maulstick("refine", "a red cube", "--images", "1", "--json", env=env)
        assert (done.returncode, done.stderr) == (0, "")
        result = json.loads(done.stdout)
        assert result["explanation"] == "A cube was asked for and a cube came."
        assert result["minds"]["tokens_in"] == 200 and result["minds"]["calls"] > 3
        told = json.loads(endpoint.asked[0]["messages"][1]["content"])
        assert (told["prompt"], told["pictures"]) == ("a red cube", 1)
        plain = maulstick("refine", "a red cube", "--images", "1", env=env)
    assert "minds:" in plain.stdout and "1 from the cache" in plain.stdout


@pytest.mark.timeout(200)
def test_ctrl_c_ends_with_how_to_go_on(home: Path, tmp_path: Path):
    command = [sys.executable, str(ROOT / "app.py"), "refine", "a red cube", "--images", "500"]
    env = {**os.environ, "MAULSTICK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"started" in process.stdout.readline()
        assert b"painted original" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read().decode()
    assert process.returncode == 130
    assert len(said.splitlines()) == 1
    with Ledger(DataFolder(home).ledger) as ledger:
        [run] = ledger.list()
    assert run.status == "cancelled"
    assert f"maulstick runs resume {run.run_id}" in said
