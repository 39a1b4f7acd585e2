import json
from pathlib import Path

import torch
from torch import nn

from models.embedded.training.loop import Training, optimisers


def test_checkpoints_and_looks_have_intervals_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(2, 1)
    training = Training(module, optimisers(module, 0.01), tmp_path)
    looked: list[int] = []

    def look(step: int) -> dict[str, float]:
        looked.append(step)
        return {"weight": 1.0}

    training.run(
        9,
        lambda step: {"error": module(torch.full((4, 2), step / 10)).square().mean()},
        rate_at=lambda step: 1.0,
        every=2,
        look=look,
        look_every=4,
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 9]
    assert looked == [4, 8, 9] == [row["step"] for row in rows if "held_out_weight" in row]
    assert torch.load(training.checkpoint, weights_only=True)["step"] == 9
