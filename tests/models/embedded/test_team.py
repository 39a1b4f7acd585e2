import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.embedded.training.loop import Training, optimisers
from models.embedded.training.team import train_together


def _pictures(draw: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(draw))


def _train(out: Path, steps: int, stop_at: int | None = None) -> None:
    """A small training in which only the second member of a team is told to stop."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    training = Training(module, optimisers(module, 0.02), out)
    training.resume()

    def loss_at(draw: int) -> dict[str, Tensor]:
        if stop_at is not None and training.step == stop_at and not training.team.leads:
            os.kill(os.getpid(), signal.SIGTERM)
        pictures = _pictures(draw)
        return {"error": (module(pictures)[:, 0] - pictures.sum(1)).square().mean()}

    training.run(steps, loss_at, rate_at=lambda step: 1.0, every=100)


def _train_on_both_shares(steps: int) -> nn.Module:
    """What a team of two should arrive at: every step on the pictures of two draws."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    (optimiser,) = optimisers(module, 0.02)
    for step in range(steps):
        pictures = torch.cat([_pictures(2 * step), _pictures(2 * step + 1)])
        optimiser.zero_grad()
        (module(pictures)[:, 0] - pictures.sum(1)).square().mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
    return module


def test_two_processes_make_the_steps_of_one_with_twice_the_pictures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_together(2, partial(_train, tmp_path, 6, 3))
    assert "stopped at step 4 of 6; --resume" in capfd.readouterr().err
    stopped = torch.load(tmp_path / "training.pt", weights_only=True)
    assert stopped["step"] == 4, "a stop that reached one member ends all after the step, with a checkpoint"
    train_together(2, partial(_train, tmp_path, 6))
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    assert state["step"] == 6
    for name, wanted in _train_on_both_shares(6).state_dict().items():
        torch.testing.assert_close(state["module"][name], wanted)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in rows] == [4, 6], "only the member that leads writes the log"


def _train_by_the_clock(out: Path) -> None:
    """Two members of a team of which the second begins half a second, or ten steps, later."""
    module = nn.Linear(3, 1)
    training = Training(module, optimisers(module, 0.02), out)
    if not training.team.leads:
        time.sleep(0.5)

    def loss_at(draw: int) -> dict[str, Tensor]:
        time.sleep(0.05)
        return {"error": module(_pictures(draw)).square().mean()}

    training.run(10, loss_at, rate_at=lambda step: 1.0, minutes=0.02, every=1000)
    (out / str(training.team.rank)).write_text(str(training.step))


def test_a_team_ends_by_one_clock(tmp_path: Path) -> None:
    train_together(2, partial(_train_by_the_clock, tmp_path))
    steps = [(tmp_path / member).read_text() for member in ("0", "1")]
    assert steps[0] == steps[1] and 5 <= int(steps[0]) <= 25
    assert torch.load(tmp_path / "training.pt", weights_only=True)["seconds"] >= 1.2


def _fail(out: Path) -> None:
    out.mkdir(exist_ok=True)
    raise FloatingPointError("the loss is nan")


def test_a_member_that_fails_ends_the_team(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the loss is nan"):
        train_together(2, partial(_fail, tmp_path))
