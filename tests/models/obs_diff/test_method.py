"""What the method promises on any layer: counts, patterns, errors below the baselines', plain refusals."""

import logging
from typing import Any

import pytest
import torch

from models.obs_diff import (
    LayerHessian,
    NeverRan,
    prune_columns,
    prune_heads,
    prune_joint_heads,
    prune_n_m,
    prune_unstructured,
    timestep_weights,
)
from models.obs_diff.baselines import prune_columns_by, prune_weights_by
from models.obs_diff.inverse import downdate, invert
from models.tool import ToolError


def layer(
    seed: int, rows: int = 48, columns: int = 64, tokens: int = 400
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and the Hessian of correlated inputs of uneven scales."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    scales = torch.rand(columns, generator=generator, dtype=torch.float64) * 3 + 0.1
    inputs = torch.randn(tokens, columns, generator=generator, dtype=torch.float64) @ mixing * scales
    hessian = LayerHessian(columns, torch.float64)
    hessian.update(inputs[None])
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64), hessian.matrix


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_the_exact_rule_takes_the_rounded_share_and_errs_less_than_others(seed: int, sparsity: float) -> None:
    weight, hessian = layer(seed)
    pruned = prune_unstructured(weight, hessian, sparsity, block_size=24)
    assert int(pruned.mask.sum()) == round(weight.numel() * sparsity)
    assert bool((pruned.weight[pruned.mask] == 0).all())
    assert pruned.error < pruned.error_before
    for method in ("magnitude", "wanda", "random"):
        other = prune_weights_by(method, weight, hessian, sparsity)
        assert int(other.mask.sum()) == pytest.approx(weight.numel() * sparsity, abs=len(weight))
        assert pruned.error < other.error


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4), (3, 4), (1, 2)])
def test_n_of_every_m_are_zero(n: int, m: int) -> None:
    weight, hessian = layer(7)
    pruned = prune_n_m(weight, hessian, n, m, block_size=30)
    assert bool((pruned.mask.view(len(weight), -1, m).sum(2) == n).all())
    other = prune_weights_by("wanda", weight, hessian, 0.5, group=(n, m))
    assert bool((other.mask.view(len(weight), -1, m).sum(2) == n).all())
    assert pruned.error < other.error


@pytest.mark.parametrize("seed", range(5))
def test_neurons_and_heads_cost_less_than_by_their_norms(seed: int) -> None:
    weight, hessian = layer(seed)
    pruned = prune_columns(weight, hessian, 0.3)
    assert len(pruned.removed) == 19 and sorted([*pruned.removed, *pruned.kept]) == list(range(64))
    assert bool((pruned.weight[:, pruned.removed] == 0).all()) and pruned.error < pruned.error_before
    heads = prune_heads(weight, hessian, 8, 0.25, score="exact")
    assert len(heads.heads) == 2 and heads.streams[0].error < heads.streams[0].error_before
    for method in ("l1", "random"):
        assert pruned.error < prune_columns_by(method, weight, hessian, 0.3).error
        assert heads.streams[0].error < prune_columns_by(method, weight, hessian, 0.25, width=8).error


def test_a_downdated_inverse_is_the_inverse_of_what_is_left() -> None:
    _, hessian = layer(3)
    inverse = invert(hessian)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(64, dtype=torch.float64)
    downdated = inverse.matrix.clone()
    for removed in (torch.tensor([5, 60, 7]), torch.tensor([0, 33])):
        downdate(downdated, removed)
    kept = [index for index in range(64) if index not in (5, 60, 7, 0, 33)]
    anew = torch.linalg.inv(damped[kept][:, kept])
    torch.testing.assert_close(downdated[kept][:, kept], anew, rtol=1e-9, atol=1e-12)


def test_a_matrix_that_cannot_be_inverted_is_damped_more_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hessian = torch.ones(6, 6, dtype=torch.float32)
    with caplog.at_level(logging.WARNING):
        assert invert(hessian, 0.0, "ff.net.2").damping > 0
    assert "ff.net.2 needed a damping of" in caplog.text
    with pytest.raises(ToolError, match="the Hessian of q cannot be inverted with any damping up to"):
        invert(-10000 * hessian + torch.eye(6), 0.0, "q")


def test_calibration_in_pieces_and_after_a_break_is_the_same() -> None:
    inputs = torch.randn(3, 2, 10, 8, generator=torch.Generator().manual_seed(0))
    whole, first, second = (LayerHessian(8) for _ in range(3))
    for step, weight in zip(inputs, (1.2, 1.0, 0.8), strict=True):
        whole.update(step, weight)
    first.update(inputs[0], 1.2)
    second.load_state_dict(first.state_dict())
    second.update(inputs[1], 1.0)
    second.update(inputs[2], 0.8)
    assert torch.equal(whole.matrix, second.matrix) and whole.samples == 6


WEIGHT, HESSIAN = layer(0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: prune_unstructured(WEIGHT, HESSIAN, 0.0), "sparsity is 0.0: use a share between 0 and 1"),
        (lambda: prune_unstructured(WEIGHT, HESSIAN, 1.0), "sparsity is 1.0"),
        (lambda: prune_columns(WEIGHT, HESSIAN, -0.1), "sparsity is -0.1"),
        (lambda: prune_columns(WEIGHT, HESSIAN, 0.999), "would leave a layer without inputs"),
        (
            lambda: prune_n_m(WEIGHT, HESSIAN, 2, 7, name="to_q"),
            "to_q has 64 inputs, which 7 does not divide",
        ),
        (lambda: prune_n_m(WEIGHT, HESSIAN, 4, 4), "4:4 is no pattern"),
        (lambda: prune_heads(WEIGHT, HESSIAN, 8, 0.96), "none of its 8 heads"),
        (lambda: prune_joint_heads([(WEIGHT, HESSIAN)], 7, 0.5), "has 7 heads and inputs of"),
        (lambda: LayerHessian(8).update(torch.zeros(1, 2, 9)), "takes 8 inputs and was fed 9"),
        (lambda: LayerHessian(2, name="ff").update(torch.tensor([[1.0, torch.nan]])), "ff was fed NaN"),
        (lambda: timestep_weights(4, "log"), "no timestep schedule is called 'log': use one of uniform"),  # type: ignore[arg-type]
        (lambda: timestep_weights(0), "0 steps cannot be weighted"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(call: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        call()


def test_a_layer_that_never_ran_is_named() -> None:
    with pytest.raises(NeverRan, match=r"attn\.to_q got no inputs in calibration: leave it out"):
        _ = LayerHessian(8, name="attn.to_q").matrix


def test_one_step_weighs_one() -> None:
    assert timestep_weights(1, "log_decrease") == (1.0,)
