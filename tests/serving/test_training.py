"""The command `train`: which of the parts that lie about a training takes, and who works on it."""

import json
from pathlib import Path

import app


def test_a_painter_goes_on_in_the_latents_of_its_own_autoencoder(home: Path, tmp_path: Path) -> None:
    order = ["train", "embedded", "--part", "painter", "--profile", "tiny", "--steps", "1", "--out"]
    first, second = tmp_path / "first" / "painter-tiny", tmp_path / "second" / "painter-tiny"
    assert app.run([*order, str(first)]) == 0
    config = first / "painter" / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"shift_factor": 0.5}), "utf-8")
    assert app.run([*order, str(second), "--start", str(first / "painter")]) == 0
    saved = json.loads((second / "painter" / "vae" / "config.json").read_text("utf-8"))
    assert saved["shift_factor"] == 0.5
    assert not (second / "text").exists(), "no word was new to it"


def test_two_processes_train_an_autoencoder_by_the_clock(home: Path, tmp_path: Path) -> None:
    order = ["train", "embedded", "--part", "autoencoder", "--profile", "tiny", "--processes", "2"]
    assert app.run([*order, "--minutes", "0.05", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "autoencoder" / "config.json").is_file()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert rows[-1]["step"] > 1 and rows[-1]["held_out_psnr"] > rows[0]["held_out_psnr"] - 0.1
    assert len({row["step"] for row in rows}) == len(rows), "only the member that leads writes the log"
