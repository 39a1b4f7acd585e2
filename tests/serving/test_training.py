"""The command `train`: which of the parts that lie about a training takes."""

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
