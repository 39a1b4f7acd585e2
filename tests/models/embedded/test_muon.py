"""Muon for groups of matrices takes the steps of torch's, which takes them one by one."""

import pytest
import torch
from torch import nn

from models.embedded.training import muon
from models.embedded.training.muon import GroupedMuon, orthogonalise

SIZES = ((32, 96), (96, 32), (32, 96), (48, 48), (96, 32))


def test_it_takes_the_steps_of_torch_s_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16", lambda _: True)  # torch's rounds to bf16 on any core
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(size) * 0.1) for size in SIZES]
    theirs = [nn.Parameter(one.detach().clone()) for one in ours]
    before = [one.detach().clone() for one in ours]
    grouped = GroupedMuon(ours, lr=3e-3)
    single = torch.optim.Muon(theirs, lr=3e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape) + one.detach()
            other.grad = one.grad.clone()
        grouped.step()
        single.step()
    for one, other, start in zip(ours, theirs, before, strict=True):
        moved = (other - start).abs().max().item()
        assert (one - other).abs().max().item() < 0.01 * moved  # both round to bf16, in their own order


def test_a_kernel_is_a_matrix_of_outputs_by_all_that_they_read() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3) * 0.1)
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = torch.randn(8, 4, 3, 3)
    matrix.grad = kernel.grad.flatten(1).clone()
    GroupedMuon([kernel, matrix], lr=3e-3).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_what_has_no_gradient_stays() -> None:
    still, moving = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    moving.grad = torch.eye(4)
    GroupedMuon([still, moving], lr=0.1).step()
    assert torch.equal(still, torch.ones(4, 4))
    assert not torch.equal(moving, torch.ones(4, 4))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_singular_values_come_near_to_one(
    size: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16", lambda _: native)
    made = orthogonalise(torch.randn(3, *size, generator=torch.Generator().manual_seed(0))).float()
    values = torch.linalg.svdvals(made)
    assert bool(((values > 0.5) & (values < 1.5)).all())
