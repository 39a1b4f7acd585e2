import json
import time
from pathlib import Path

import pytest
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


def test_a_training_of_so_many_minutes_ends_by_the_clock_and_goes_on_by_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rates: list[int] = []

    def train(seconds: float, most: int) -> Training:
        module = nn.Linear(2, 1)
        training = Training(module, optimisers(module, 0.01), tmp_path)
        training.resume()

        def loss_at(step: int) -> dict[str, torch.Tensor]:
            time.sleep(0.02)
            return {"error": module(torch.full((4, 2), step / 10)).square().mean()}

        def rate_at(spent: int) -> float:
            rates.append(spent)
            return 1.0

        training.run(most, loss_at, rate_at=rate_at, minutes=seconds / 60, every=5)
        return training

    first = train(0.4, 1000)
    assert 5 <= first.step <= 20  # a thousand steps would have taken 20 s
    assert first.ended(1000, 0.4 / 60) and not first.ended(1000, 0.8 / 60)
    assert rates == sorted(rates) and rates[0] == 0 and rates[-1] < 1000
    second = train(0.8, 1000)
    assert second.step > first.step
    assert rates[first.step] == pytest.approx(500, abs=100)  # half of the time was spent before


def test_a_loss_that_is_no_number_is_told_with_its_step(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    training = Training(module, optimisers(module, 0.01), tmp_path)
    with pytest.raises(FloatingPointError, match="nan at step 3: lower the learning rate"):
        training.run(
            9,
            lambda step: {"error": module(torch.ones(1, 2)).mean() * (float("nan") if step == 3 else 1)},
            rate_at=lambda step: 1.0,
        )
