"""Heads that tell painted latents from rendered ones, by what a grader sees in them.

A grade says what a picture shows and nothing of how: a blot that reads as an elephant is graded as one.
These heads learn, while a painter is tuned, what its pictures still lack of rendered ones, and the painter
learns to give it. A frozen network's features below, small heads above: a discriminator that starts with eyes
needs few pictures (Projected GANs, arXiv 2111.01007, section 3.2; on latents with noise, LADD, arXiv
2403.12015).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from models.embedded.training.grader import COARSE, FINE

WIDTH = 64


class Realism(nn.Module):
    """Logits that latents were rendered: one per cell of a grader's fine grid, and one per cell of its coarse
    one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = build_head(FINE), build_head(COARSE)

    def forward(self, seen: Mapping[str, Tensor]) -> Tensor:
        """(N, cells) of the features `fine` (N, 96, 16, 16) and `coarse` (N, 192, 8, 8) of a `Grader`."""
        logits = [self.fine(seen["fine"].float()), self.coarse(seen["coarse"].float())]
        return torch.cat([each.flatten(1) for each in logits], 1)

    def missed(self, painted: Mapping[str, Tensor]) -> Tensor:
        """What a painter is to lower: minus the mean logit of its pictures. The heads take no gradient."""
        held = {name: value.detach() for name, value in self.named_parameters()}
        return -functional_call(self, held, (painted,)).mean()

    def mistaken(self, rendered: Mapping[str, Tensor], painted: Mapping[str, Tensor]) -> Tensor:
        """What the heads are to lower: their hinge loss. The painter takes no gradient."""
        theirs = {name: value.detach() for name, value in painted.items()}
        return mistaken(self(rendered), self(theirs))


def mistaken(rendered: Tensor, painted: Tensor) -> Tensor:
    """The hinge loss of logits that pictures were rendered, of rendered and of painted ones."""
    return (F.relu(1 - rendered).mean() + F.relu(1 + painted).mean()) / 2


def build_head(inputs: int) -> nn.Module:
    """Maps (N, inputs, H, W) to logits (N, 1, H, W).

    Without a bound on their slopes, heads find a direction in which any picture looks rendered.
    """
    return nn.Sequential(
        nn.GroupNorm(8, inputs, affine=False),
        spectral_norm(nn.Conv2d(inputs, WIDTH, 3, 1, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(WIDTH, 1, 1)),
    )
