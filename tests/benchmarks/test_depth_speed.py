"""The benchmark of depth: both ways compute the same, and the work is counted right."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import depth_speed
from benchmarks.depth_speed import Contest, Setting, build, forward_flops


@pytest.fixture(scope="module")
def contest() -> Contest:
    # 192 coarse and 768 fine tokens: both ways of attending.
    return Contest(build("small", "cpu"), "f32", Setting(96, 128, 2, False), steps=4)


@pytest.mark.parametrize("what", ["forward", "run"])
@torch.inference_mode()
def test_both_ways_compute_the_same(contest: Contest, what: str) -> None:
    official, ours = (way() for way in contest.ways(what))
    assert float(official.std()) > 0.01
    torch.testing.assert_close(ours, official, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_timesteps_may_differ_by_picture(contest: Contest) -> None:
    x, times = torch.cat([contest.noise, contest.image - 0.5], 1), torch.tensor([900, 20])
    official = contest.official.forward(x, times, contest.semantics)
    torch.testing.assert_close(contest.ours(x, times, contest.semantics).sample, official, atol=1e-4, rtol=0)


def test_work_is_counted(contest: Contest) -> None:
    network, counter = contest.ours, FlopCounterMode(display=False)
    # With gradients wanted layers are plain ones, which the counter knows.
    with counter, sdpa_kernel(SDPBackend.MATH):
        network(torch.cat([contest.noise, contest.image], 1), 500, contest.semantics)
    assert counter.get_total_flops() == forward_flops(network.config, *network.grid(96, 128), batch=2)


def fixed_ceiling(_dtype: str, _device: str) -> float:
    return 1e11


def test_the_command_tells_its_ratio(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth_speed, "ceiling", fixed_ceiling)
    command = ["--size", "small", "--side", "32", "--steps", "2", "--runs", "2"]
    depth_speed.main([*command, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["dtype"], row["what"]) for row in rows] == [
        ("bf16", "forward"), ("bf16", "2 steps"), ("f32", "forward"), ("f32", "2 steps"),
    ]  # fmt: skip
    for row in rows:
        assert row["ratio"] == pytest.approx(row["official"] / row["ours"])
        assert row["apart"] < (0.1 if row["dtype"] == "bf16" else 1e-4)
    depth_speed.main(command)
    assert "times as fast" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        depth_speed.main(["--device", "cuda"] if not torch.cuda.is_available() else ["--size", "none"])


@torch.inference_mode()
def test_the_ceiling_is_a_speed() -> None:
    assert depth_speed.ceiling("f32", "cpu", side=64, runs=1) > 0
