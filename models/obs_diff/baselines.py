"""What OBS-Diff is compared with: magnitude, Wanda and random for single weights, L1 and random for neurons
and heads. None of them moves the weights that are left.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from models.obs_diff.columns import PrunedColumns
from models.obs_diff.heads import fuse
from models.obs_diff.inverse import relative_error
from models.obs_diff.unstructured import PrunedWeights, check_sparsity
from models.tool import ToolError

WeightBaseline = Literal["magnitude", "wanda", "random"]
ColumnBaseline = Literal["l1", "random"]


def prune_weights_by(
    method: WeightBaseline,
    weight: torch.Tensor,
    hessian: torch.Tensor,
    sparsity: float,
    *,
    group: tuple[int, int] | None = None,
    seed: int = 0,
) -> PrunedWeights:
    """Take the weights (out, in) with the smallest scores out: |w| over the layer ("magnitude"), |w| times
    the norm of its input by row ("wanda", arXiv 2306.11695), or any ("random"); with `group` (N, M) N of
    every M neighbours of a row instead, whatever `sparsity` says.

    Raises:
        ToolError: the sparsity is not between 0 and 1, or M does not divide the inputs.
    """
    scores = _scores(method, weight, hessian, seed)
    if group is not None:
        n, m = group
        if weight.shape[1] % m:
            raise ToolError(
                f"{weight.shape[1]} inputs are not divided by {m}: use another pattern than {n}:{m}"
            )
        taken = scores.view(len(weight), -1, m).topk(n, dim=2, largest=False).indices
        mask = torch.zeros(len(weight), weight.shape[1] // m, m, dtype=torch.bool).scatter_(2, taken, True)
        mask = mask.view_as(weight)
    else:
        check_sparsity(sparsity)
        rows = scores if method == "wanda" else scores.view(1, -1)
        taken = rows.argsort(dim=1, stable=True)[:, : round(rows.shape[1] * sparsity)]
        mask = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, taken, True).view_as(weight)
    pruned = weight.masked_fill(mask, 0)
    error = relative_error(weight, pruned, hessian)
    change = (pruned - weight).to(hessian)
    return PrunedWeights(pruned, mask, ((change @ hessian) * change).sum(1) / 2, error, error)


def prune_columns_by(
    method: ColumnBaseline,
    weight: torch.Tensor,
    hessian: torch.Tensor,
    sparsity: float,
    *,
    width: int = 1,
    seed: int = 0,
) -> PrunedColumns:
    """Take the share `sparsity` of the units of `width` input columns out of weights (out, in): those with
    the smallest sum of |w| ("l1"), or any ("random").

    Raises:
        ToolError: the sparsity is not between 0 and 1.
    """
    check_sparsity(sparsity)
    units = weight.shape[1] // width
    count = min(round(units * sparsity), units - 1)
    return prune_parts_by(method, [(weight, hessian)], (units, width), (count, 0), seed=seed)[0][0]


def prune_parts_by(
    method: ColumnBaseline,
    streams: Sequence[tuple[torch.Tensor, torch.Tensor]],
    heads: tuple[int, int],
    counts: tuple[int, int],
    *,
    seed: int = 0,
) -> tuple[list[PrunedColumns], list[int], list[int]]:
    """Take (heads, neurons) `counts` out of layers (weight, Hessian) that join (heads, columns of a head)
    and, in the columns after them, neurons. Several streams agree by reciprocal rank, as in
    `prune_joint_heads`.

    Returns the layers, the heads that went, and the neurons that went.
    """
    number, width = heads
    inside = number * width
    generator = torch.Generator().manual_seed(seed)
    columns = [weight.abs().sum(0).cpu() for weight, _ in streams]
    if method == "random":
        columns = [torch.rand(len(columns[0]), generator=generator)] * len(streams)
    by_head = [scores[:inside].view(number, width).sum(1) for scores in columns]
    gone = fuse([scores.argsort(stable=True).tolist() for scores in by_head])[: counts[0]]
    neurons = columns[0][inside:].argsort(stable=True)[: counts[1]]
    of_heads = (torch.tensor(gone, dtype=torch.long)[:, None] * width + torch.arange(width)).flatten()
    removed = torch.cat([of_heads, neurons + inside])
    cut = [
        _without(weight, hessian, removed, scores)
        for (weight, hessian), scores in zip(streams, columns, strict=True)
    ]
    return cut, gone, neurons.tolist()


def _without(
    weight: torch.Tensor, hessian: torch.Tensor, removed: torch.Tensor, scores: torch.Tensor
) -> PrunedColumns:
    left = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
    left[removed.to(weight.device)] = False
    pruned = weight * left
    error = relative_error(weight, pruned, hessian)
    return PrunedColumns(pruned, removed, left.nonzero().flatten(), error, error, scores)


def _scores(method: WeightBaseline, weight: torch.Tensor, hessian: torch.Tensor, seed: int) -> torch.Tensor:
    match method:
        case "magnitude":
            return weight.abs()
        case "wanda":
            # The norm of an input is the root of H's diagonal, but for a factor that is the same for all.
            return weight.abs() * hessian.diagonal().clamp(min=0).sqrt().to(weight)
        case "random":
            generator = torch.Generator().manual_seed(seed)
            return torch.rand(math.prod(weight.shape), generator=generator).view_as(weight).to(weight.device)
