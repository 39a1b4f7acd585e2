"""Muon for all matrices of one size at once.

The same steps as `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` and no weight decay (Jordan et al.
2024, kellerjordan.github.io/posts/muon; Liu et al., arXiv 2502.16982, section 2.2), which takes one matrix
after the other. A painter has seventy, and an accelerator is done with each long before the next is asked
for: on an H200 that was a fifth of a step of 1,024 pictures.
"""

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn

from models.embedded.training.precision import multiplies_bf16

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the quintic iteration that pushes all singular values towards one."""
ITERATIONS = 5
EPSILON = 1e-7


class GroupedMuon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, in the size of AdamW's updates.

    The kernel of a convolution is a matrix of outputs by all that an output reads.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient."""
        if closure is not None:
            raise ValueError("GroupedMuon takes no closure: compute the gradients first")
        for group in self.param_groups:
            by_size: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_size.setdefault(parameter.shape, []).append(parameter)
            for alike in by_size.values():
                self._step(alike, group["lr"], group["momentum"])
        return None

    def _step(self, alike: list[nn.Parameter], rate: float, keep: float) -> None:
        gradients = [parameter.grad for parameter in alike if parameter.grad is not None]
        for parameter in alike:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in alike]
        torch._foreach_lerp_(buffers, gradients, 1 - keep)  # pyright: ignore[reportPrivateUsage]
        ahead = torch.stack(gradients).lerp(torch.stack(buffers), keep)
        rows, columns = alike[0].flatten(1).shape
        update = orthogonalise(ahead.flatten(2)) * (-rate * 0.2 * max(rows, columns) ** 0.5)
        torch._foreach_add_(list(alike), list(update.view_as(ahead).to(alike[0].dtype)))  # pyright: ignore[reportPrivateUsage]


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, of (N, rows, columns); in bf16, or fp32 on a core that
    does not multiply that.

    On such a core bf16 was 60 % of a painter's step of 64 pictures.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if multiplies_bf16(matrices.device) else matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.flatten(1).norm(dim=1).clamp(min=EPSILON).view(-1, 1, 1)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
