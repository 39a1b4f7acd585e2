"""Whole attention heads taken out, one a round: blocks of input columns of the layer that joins the heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from models.obs_diff.columns import OnlineColumns, PrunedColumns
from models.obs_diff.inverse import invert
from models.obs_diff.unstructured import check_sparsity
from models.tool import ToolError

HeadScore = Literal["official", "exact"]
FUSION = 60
"""The constant of reciprocal rank fusion."""


@dataclass(frozen=True, slots=True)
class PrunedHeads:
    """Each stream's joining layer; the heads that went, in their order, the same in all streams; the scores
    of all heads in the first round by stream, (streams, heads).
    """

    streams: tuple[PrunedColumns, ...]
    heads: tuple[int, ...]
    first_scores: torch.Tensor


def prune_heads(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    heads: int,
    sparsity: float,
    *,
    score: HeadScore = "official",
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "an attention",
) -> PrunedHeads:
    """Take the share `sparsity` (rounded) of the heads out of one stream; see `prune_joint_heads`."""
    return prune_joint_heads(
        [(weight, hessian)], heads, sparsity, score=score, damping=damping, compensate=compensate, name=name
    )


def prune_joint_heads(
    streams: Sequence[tuple[torch.Tensor, torch.Tensor]],
    heads: int,
    sparsity: float,
    *,
    score: HeadScore = "official",
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "an attention",
) -> PrunedHeads:
    """Take the same heads out of the joining layers of all streams (MMDiT: image and text).

    `streams` holds (weight (out, heads * width), Hessian) of each. The rankings of the streams, cheapest
    first, are fused by reciprocal rank; ties go by the first stream's. "official" sums w_j^2 / L_jj^2 over a
    head's columns (L the lower Cholesky factor of its block of P = H^-1); "exact" is its OBS error,
    tr(W_b P_bb^-1 W_b^T).

    Raises:
        ToolError: the sparsity is not between 0 and 1 or leaves no head, or the widths do not hold the heads.
    """
    check_sparsity(sparsity)
    count = round(heads * sparsity)
    if count >= heads:
        raise ToolError(
            f"sparsity {sparsity} would leave {name} none of its {heads} heads: use a smaller one"
        )
    return take_heads(streams, heads, count, score=score, damping=damping, compensate=compensate, name=name)


def take_heads(
    streams: Sequence[tuple[torch.Tensor, torch.Tensor]],
    heads: int,
    count: int,
    *,
    score: HeadScore = "official",
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "an attention",
) -> PrunedHeads:
    """As `prune_joint_heads`, for a number of heads.

    Raises:
        ToolError: the widths do not hold the heads, or a Hessian cannot be inverted.
    """
    widths = {weight.shape[1] for weight, _ in streams}
    if len(widths) != 1 or max(widths) % heads:
        raise ToolError(f"{name} has {heads} heads and inputs of {sorted(widths)}: every head has one width")
    width = widths.pop() // heads
    states: list[OnlineColumns] = []
    for weight, hessian in streams:
        inverse = invert(hessian, damping, name)
        states.append(OnlineColumns(weight.to(hessian), inverse.matrix, inverse.dead))
    gone: list[int] = []
    first = torch.stack([score_heads(state, heads, gone, score, width) for state in states])
    for _ in range(count):
        chosen = cheapest_head(states, heads, gone, score, width)
        columns = torch.arange(chosen * width, (chosen + 1) * width, device=first.device)
        for state in states:
            state.remove(columns, compensate=compensate)
        gone.append(chosen)
    results = tuple(
        state.result(weight, hessian, scores)
        for state, (weight, hessian), scores in zip(states, streams, first, strict=True)
    )
    return PrunedHeads(results, tuple(gone), first)


def cheapest_head(
    states: Sequence[OnlineColumns], heads: int, gone: Sequence[int], score: HeadScore, width: int
) -> int:
    """The head that goes next, by the fused rankings of all streams."""
    rankings = [score_heads(state, heads, gone, score, width) for state in states]
    return fuse([ranking.argsort(stable=True).tolist() for ranking in rankings])[0]


def fuse(rankings: Sequence[Sequence[int]]) -> list[int]:
    """Rankings as one, by the sum of 1 / (60 + rank + 1); ties in the order of the first."""
    totals = {
        item: sum(1 / (FUSION + ranking.index(item) + 1) for ranking in rankings) for item in rankings[0]
    }
    return sorted(totals, key=lambda item: -totals[item])


def score_heads(
    state: OnlineColumns, heads: int, gone: Sequence[int], score: HeadScore, width: int
) -> torch.Tensor:
    """What each of the first columns' heads would cost, (heads,); infinity for those that are gone."""
    costs = state.weight.new_full((heads,), torch.inf)
    for head in set(range(heads)) - set(gone):
        columns = slice(head * width, (head + 1) * width)
        weight, block = state.weight[:, columns], state.inverse[columns, columns]
        if score == "exact":
            costs[head] = (weight * torch.linalg.solve(block, weight.T).T).sum()
        else:
            lower = torch.linalg.cholesky(block)
            costs[head] = ((weight**2).sum(0) / lower.diagonal() ** 2).sum()
    return costs
