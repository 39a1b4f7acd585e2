"""Heads that tell painted from rendered: whose gradient goes where, and that they learn to tell."""

import pytest
import torch

from diorama.vocabulary import load_vocabulary
from models.embedded.training.grader import Grader
from models.embedded.training.realism import Realism

GRADER = Grader(load_vocabulary("tiny")).requires_grad_(False)


def seen(latents: torch.Tensor) -> dict[str, torch.Tensor]:
    return GRADER.read(latents, torch.zeros(len(latents)))


def test_every_cell_of_both_grids_is_told() -> None:
    assert Realism()(seen(torch.randn(3, 16, 16, 16))).shape == (3, 16 * 16 + 8 * 8)


def test_each_loss_is_for_one_side_alone() -> None:
    torch.manual_seed(0)
    heads, painted = Realism(), torch.randn(2, 16, 16, 16, requires_grad=True)
    heads.missed(seen(painted)).backward()
    assert painted.grad is not None and painted.grad.norm() > 0
    assert all(parameter.grad is None for parameter in heads.parameters())
    painted.grad = None
    heads.mistaken(seen(torch.randn(2, 16, 16, 16)), seen(painted)).backward()
    assert painted.grad is None
    assert all(parameter.grad is not None for parameter in heads.parameters())


def test_heads_learn_to_tell_and_a_picture_to_please_them() -> None:
    torch.manual_seed(0)
    heads = Realism()
    learner = torch.optim.AdamW(heads.parameters(), lr=1e-2)
    smooth, sharp = torch.randn(2, 8, 16, 1, 1).expand(2, 8, 16, 16, 16) + 0.3 * torch.randn(2, 8, 16, 16, 16)
    smooth = torch.nn.functional.avg_pool2d(smooth, 3, 1, 1)
    first = float(heads.mistaken(seen(sharp), seen(smooth)).detach())
    for _ in range(30):
        learner.zero_grad()
        heads.mistaken(seen(sharp), seen(smooth)).backward()
        learner.step()
    assert first == pytest.approx(1, abs=0.3)
    assert float(heads.mistaken(seen(sharp), seen(smooth)).detach()) < first - 0.3
    picture = smooth.clone().requires_grad_()
    before = heads.eval().missed(seen(picture))
    before.backward()
    assert picture.grad is not None
    with torch.no_grad():
        after = heads.missed(seen(picture - 0.5 * picture.grad / picture.grad.norm()))
    assert float(after) < float(before.detach())
