"""The method against what the official code gave on small inputs (tests/goldens/obs_diff), in f32 and f64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.obs_diff import (
    LayerHessian,
    fuse,
    prune_columns,
    prune_heads,
    prune_joint_heads,
    prune_n_m,
    prune_unstructured,
    round_sizes,
    timestep_weights,
)
from models.obs_diff.inverse import invert

GOLDENS = Path(__file__).parents[2] / "goldens" / "obs_diff"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDENS / "index.json").read_text("utf-8"))["cases"]
PRECISIONS = {"f32": (torch.float32, 1e-4), "f64": (torch.float64, 1e-10)}


def of_kind(*kinds: str) -> list[str]:
    return [name for name, case in CASES.items() if case["kind"] in kinds]


def load(name: str) -> dict[str, torch.Tensor]:
    case = CASES[name]
    own = load_file(GOLDENS / case["file"])
    return (load_file(GOLDENS / case["inputs_from"]) if "inputs_from" in case else {}) | own


def hessian_of(inputs: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    hessian = LayerHessian(inputs.shape[-1], dtype)
    for step, weight in zip(inputs, weights.tolist(), strict=True):
        hessian.update(step, weight)
    return hessian.matrix


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours.to(theirs), theirs, atol=tolerance, rtol=1e-4 if tolerance > 1e-6 else 0)


def own_weights(name: str, kind: dict[str, torch.Tensor]) -> torch.Tensor:
    """The weights of the steps, as our own schedule gives them."""
    case = CASES[name]
    bounds = (case.get("min_weight", 0.8), case.get("max_weight", 1.2))
    ours = torch.tensor(timestep_weights(case["steps"], case["strategy"], *bounds), dtype=torch.float64)
    torch.testing.assert_close(ours, kind["timestep_weight"], atol=1e-12, rtol=0)
    return ours


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", of_kind("unstructured", "2:4", "4:8"))
def test_the_sweep_takes_the_same_weights(name: str, precision: str) -> None:
    case, golden = CASES[name], load(name)
    dtype, tolerance = PRECISIONS[precision]
    hessian = hessian_of(golden["x"], own_weights(name, golden), dtype)
    reference = golden["f64.hessian"].to(dtype)  # theirs in f32 is nearer to it than the tolerance
    difference = (hessian - reference).abs().max() / reference.abs().max()
    assert difference < (1e-6 if precision == "f32" else 1e-14)
    how: dict[str, Any] = {"block_size": case["blocksize"], "damping": case["percdamp"]}
    if case["prune_m"]:
        pruned = prune_n_m(golden["weight"].to(dtype), hessian, case["prune_n"], case["prune_m"], **how)
    else:
        how["count_rule"] = "official"
        pruned = prune_unstructured(golden["weight"].to(dtype), hessian, case["sparsity"], **how)
    assert torch.equal(pruned.mask, golden[f"{precision}.mask_pruned"])
    assert_close(pruned.weight, golden[f"{precision}.pruned_weight"], tolerance)
    losses = golden[f"{precision}.row_losses"]
    torch.testing.assert_close(
        pruned.row_losses, losses, rtol=1e-5 if precision == "f32" else 1e-10, atol=1e-8
    )
    if precision == "f64":
        diagonal = invert(hessian, case["percdamp"]).factor.diagonal()
        assert_close(diagonal, golden["f64.hinv_chol_upper_diag"], 1e-10)
        assert pruned.error == pytest.approx(case["results"]["f64"]["rel"], rel=1e-6)
        assert pruned.error_before == pytest.approx(case["same_mask_without_compensation_rel"], rel=1e-6)
        damped = hessian + case["percdamp"] * _mean_diagonal(hessian) * torch.eye(len(hessian)).to(hessian)
        change = pruned.weight - golden["weight"].double()
        dead = hessian.diagonal() == 0
        damped[dead, dead] += 1
        if not bool(dead.any()):
            torch.testing.assert_close(((change @ damped) * change).sum(1) / 2, pruned.row_losses)


def _mean_diagonal(hessian: torch.Tensor) -> float:
    diagonal = hessian.diagonal().clone()
    diagonal[diagonal == 0] = 1
    return float(diagonal.mean())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", of_kind("structured_ffn"))
def test_the_same_neurons_go_in_the_same_order(name: str, precision: str) -> None:
    case, golden = CASES[name], load(name)
    dtype, tolerance = PRECISIONS[precision]
    hessian = hessian_of(golden["x"], own_weights(name, golden), dtype)
    how: dict[str, Any] = {"damping": case["percdamp"], "compensate": not case["no_compensate"]}
    pruned = prune_columns(golden["weight"].to(dtype), hessian, case["sparsity"], **how)
    assert torch.equal(pruned.removed, golden[f"{precision}.removal_order"])
    assert torch.equal(pruned.kept, golden[f"{precision}.kept_indices"])
    assert_close(pruned.weight, golden[f"{precision}.pruned_weight"], tolerance)
    scores = golden[f"{precision}.round0_error"]
    torch.testing.assert_close(
        pruned.first_scores, scores, rtol=1e-3 if precision == "f32" else 1e-9, atol=1e-6
    )
    assert pruned.error == pytest.approx(case["results"][precision]["rel"], rel=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", of_kind("structured_head"))
def test_the_same_heads_go_in_the_same_order(name: str, precision: str) -> None:
    case, golden = CASES[name], load(name)
    dtype, tolerance = PRECISIONS[precision]
    hessian = hessian_of(golden["x"], own_weights(name, golden), dtype)
    how: dict[str, Any] = {"damping": case["percdamp"], "compensate": not case["no_compensate"]}
    pruned = prune_heads(golden["weight"].to(dtype), hessian, case["heads"], case["sparsity"], **how)
    assert list(pruned.heads) == case["results"][precision]["pruned_heads_in_order"]
    [stream] = pruned.streams
    assert torch.equal(stream.removed.sort().values, golden[f"{precision}.pruned_indices"])
    assert_close(stream.weight, golden[f"{precision}.pruned_weight"], tolerance)
    wanted = torch.tensor(case["results"][precision]["head_scores_round0"])
    torch.testing.assert_close(pruned.first_scores[0].float(), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", of_kind("structured_joint_attn"))
def test_joint_streams_lose_the_same_heads(name: str, precision: str) -> None:
    case, golden = CASES[name], load(name)
    dtype, tolerance = PRECISIONS[precision]
    weights = own_weights(name, golden)
    streams = [
        (golden[f"{layer}.weight"].to(dtype), hessian_of(golden[f"x_{short}"], weights, dtype))
        for layer, short in (("to_out", "img"), ("to_add_out", "txt"))
    ]
    pruned = prune_joint_heads(streams, case["heads"], case["sparsity"], damping=case["percdamp"])
    assert list(pruned.heads) == case["results"][precision]["pruned_heads_in_order"]
    for layer, stream in zip(("to_out", "to_add_out"), pruned.streams, strict=True):
        assert torch.equal(stream.removed.sort().values, golden[f"{precision}.pruned_indices"])
        assert_close(stream.weight, golden[f"{precision}.{layer}.pruned_weight"], tolerance)


def test_schedules_rounds_and_fusion_are_the_official_ones() -> None:
    weights: dict[str, list[float]] = json.loads((GOLDENS / "timestep_weights.json").read_text())["weights"]
    checked = 0
    for name, wanted in weights.items():
        schedule, _, steps = name.rpartition("_")
        if steps.isdigit() and int(steps) > 1:
            ours = timestep_weights(int(steps), schedule)  # type: ignore[arg-type]
            assert ours == pytest.approx(wanted, abs=1e-12)
            checked += 1
    assert checked >= 20
    for target, sizes in json.loads((GOLDENS / "ffn_round_schedule.json").read_text()).items():
        assert round_sizes(int(target)) == sizes
    for case in json.loads((GOLDENS / "rrf.json").read_text()):
        assert fuse(case["rankings"]) == case["sorted"]
