"""Whole neurons taken out of a feed-forward layer: input columns of its last linear layer, with exact OBS
compensation.
"""

from dataclasses import dataclass

import torch

from models.obs_diff.inverse import downdate, invert, relative_errors
from models.obs_diff.unstructured import check_sparsity
from models.tool import ToolError

SMALLEST_ROUND, LARGEST_ROUND, HELD_BACK = 64, 1024, 512


@dataclass(frozen=True, slots=True)
class PrunedColumns:
    """Weights (out, in) at full width with zero columns; the columns that went, in their order, and those
    that are left, ascending; relative squared output errors without and with compensation; the scores of
    the first round, (in,).
    """

    weight: torch.Tensor
    removed: torch.Tensor
    kept: torch.Tensor
    error_before: float
    error: float
    first_scores: torch.Tensor


def round_sizes(target: int) -> list[int]:
    """How many columns go in each round: large ones first, then 64 by 64, each scored anew."""
    sizes: list[int] = []
    budget = (target - HELD_BACK) // 2
    while target > 0:
        size = min(target, max(budget, SMALLEST_ROUND), LARGEST_ROUND)
        sizes.append(size)
        target -= size
        budget = (budget - HELD_BACK) // 2
    return sizes


def prune_columns(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    sparsity: float,
    *,
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "a layer",
) -> PrunedColumns:
    """Take the share `sparsity` (rounded) of the input columns out of weights (out, in).

    Column j costs sum_r W_rj^2 / P_jj with P = H^-1 of the columns that are left. The cheapest of a round, Q,
    go together: W <- W - W[:, Q] P_QQ^-1 P[Q, :]; P is down-dated instead of inverted anew.

    Raises:
        ToolError: the sparsity is not between 0 and 1 or leaves no column, or the Hessian cannot be
            inverted.
    """
    check_sparsity(sparsity)
    count = round(weight.shape[1] * sparsity)
    if count >= weight.shape[1]:
        raise ToolError(f"sparsity {sparsity} would leave {name} without inputs: use a smaller one")
    return take_columns(weight, hessian, count, damping=damping, compensate=compensate, name=name)


def take_columns(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    count: int,
    *,
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "a layer",
) -> PrunedColumns:
    """As `prune_columns`, for a number of columns.

    Raises:
        ToolError: the Hessian cannot be inverted.
    """
    inverse = invert(hessian, damping, name)
    state = OnlineColumns(weight.to(hessian), inverse.matrix, inverse.dead)
    first = state.scores()
    for size in round_sizes(count):
        state.remove(state.scores().argsort()[:size], compensate=compensate)
    return state.result(weight, hessian, first)


class OnlineColumns:
    """Weights from which input columns go, a few at a time, with the inverse kept in step."""

    def __init__(self, weight: torch.Tensor, inverse: torch.Tensor, dead: torch.Tensor) -> None:
        """`weight` (out, in) and `inverse` (in, in) are copied."""
        self.weight = weight.clone()
        self.weight[:, dead] = 0
        self.inverse = inverse.clone()
        self.removed: list[int] = []

    def scores(self) -> torch.Tensor:
        """What each column would cost, (in,); infinity for those that are gone."""
        scores = (self.weight**2).sum(0) / self.inverse.diagonal()
        scores[self.removed] = torch.inf
        return scores

    def remove(self, columns: torch.Tensor, *, compensate: bool = True) -> None:
        """Take columns out, in this order, and let the others make up for them."""
        shares = downdate(self.inverse, columns)
        if compensate:
            self.weight -= self.weight[:, columns] @ shares
        self.removed += columns.tolist()
        self.weight[:, self.removed] = 0

    def result(self, weight: torch.Tensor, hessian: torch.Tensor, first: torch.Tensor) -> PrunedColumns:
        """What became of `weight`, measured by the undamped `hessian`."""
        removed = torch.tensor(self.removed, dtype=torch.long, device=weight.device)
        left = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
        left[removed] = False
        plain = weight.to(hessian) * left
        before, after = relative_errors(weight, (plain, self.weight), hessian)
        return PrunedColumns(
            weight=self.weight.to(weight.dtype) if weight.dtype != self.weight.dtype else self.weight,
            removed=removed,
            kept=left.nonzero().flatten(),
            error_before=before,
            error=after,
            first_scores=first,
        )
