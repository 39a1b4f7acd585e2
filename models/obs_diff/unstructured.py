"""Single weights taken out of a linear layer, the others moved to make up for them: unstructured and N:M.

The column sweep of SparseGPT, which OBS-Diff uses: with U the upper Cholesky factor of H^-1, taking w_j out
costs w_j^2 / U_jj^2 and moves the weights after it by -(w_j / U_jj) U_j. Blocks of columns are swept
together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from models.obs_diff.inverse import Inverse, invert, relative_errors
from models.tool import ToolError

CountRule = Literal["official", "exact"]
Choose = Callable[[torch.Tensor, int], torch.Tensor]
"""(scores of a block (rows, columns), its first column) -> its mask."""


@dataclass(frozen=True, slots=True)
class PrunedWeights:
    """A layer's weights (out, in) with zeros where `mask` is True. Errors are relative squared output errors
    on the calibration inputs: of the same zeros without compensation, and with it. `row_losses` (out,) is
    1/2 dW (H + damping) dW^T by row.
    """

    weight: torch.Tensor
    mask: torch.Tensor
    row_losses: torch.Tensor
    error_before: float
    error: float


def prune_unstructured(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    sparsity: float,
    *,
    block_size: int = 128,
    damping: float = 0.01,
    count_rule: CountRule = "exact",
    name: str = "a layer",
    inverse: Inverse | None = None,
) -> PrunedWeights:
    """Take the share `sparsity` of the weights (out, in) out, by blocks of columns over all rows.

    "official" takes `int(n * sparsity) + 1` of a block's n weights, as the published code does (and more at
    ties); "exact" makes the layer's count the rounded share. `inverse` is that of `hessian`, where another
    layer with the same input has needed it.

    Raises:
        ToolError: the sparsity is not between 0 and 1, or the Hessian cannot be inverted.
    """
    check_sparsity(sparsity)
    rows, columns = weight.shape
    done = 0

    def choose(scores: torch.Tensor, start: int) -> torch.Tensor:
        nonlocal done
        if count_rule == "official":
            return scores <= scores.flatten().kthvalue(int(scores.numel() * sparsity) + 1).values
        # Shares are rounded over the whole layer, so that blocks do not add up their fractions.
        count = round(rows * min(columns, start + scores.shape[1]) * sparsity) - done
        done += count
        return smallest(scores, count)

    inverse = inverse or invert(hessian, damping, name)
    return _sweep(weight, hessian, inverse, block_size, choose, None)


def prune_n_m(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    n: int,
    m: int,
    *,
    block_size: int = 128,
    damping: float = 0.01,
    name: str = "a layer",
    inverse: Inverse | None = None,
) -> PrunedWeights:
    """Take N of every M neighbouring weights of a row out (N zeros among M), along the inputs. `inverse` as
    in `prune_unstructured`.

    Raises:
        ToolError: not 0 < N < M, or M does not divide the number of inputs.
    """
    if not 0 < n < m:
        raise ToolError(f"{n}:{m} is no pattern: it takes N of M weights out, with 0 < N < M")
    if weight.shape[1] % m:
        raise ToolError(
            f"{name} has {weight.shape[1]} inputs, which {m} does not divide: leave it out, or use another "
            "pattern"
        )
    inverse = inverse or invert(hessian, damping, name)
    return _sweep(weight, hessian, inverse, max(m, block_size - block_size % m), None, (n, m))


def check_sparsity(sparsity: float) -> None:
    """Refuse a share that takes nothing, or all.

    Raises:
        ToolError: it is not between 0 and 1.
    """
    if not 0 < sparsity < 1:
        raise ToolError(f"sparsity is {sparsity}: use a share between 0 and 1, such as 0.3")


def smallest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Mask of the `count` smallest; of equals the first ones."""
    if not count:
        return torch.zeros_like(scores, dtype=torch.bool)
    limit = scores.flatten().kthvalue(count).values  # far cheaper than sorting
    mask = scores < limit
    ties = (scores == limit).flatten().nonzero().flatten()
    mask.view(-1)[ties[: count - int(mask.sum())]] = True
    return mask


def _sweep(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    inverse: Inverse,
    block_size: int,
    choose: Choose | None,
    group: tuple[int, int] | None,
) -> PrunedWeights:
    """From the first column to the last: choose, take out, move what is to the right."""
    upper = inverse.factor
    work = weight.to(hessian).clone()
    work[:, inverse.dead] = 0
    mask = torch.zeros_like(work, dtype=torch.bool)
    losses = work.new_zeros(len(work))
    for start in range(0, work.shape[1], block_size):
        end = min(start + block_size, work.shape[1])
        own, chosen = upper[start:end, start:end], mask[:, start:end]
        block = work[:, start:end].T.contiguous()  # a column at a time is then one piece of memory
        costs = own.diagonal()[:, None] ** 2
        if choose is not None:
            chosen[:] = choose((block**2 / costs).T.contiguous(), start)
        errors = torch.zeros_like(block)
        for j in range(end - start):
            if group is not None and j % group[1] == 0:
                part = slice(j, j + group[1])
                taken = (block[part] ** 2 / costs[part]).topk(group[0], dim=0, largest=False).indices
                chosen[:, part].scatter_(1, taken.T, True)
            torch.mul(block[j] / own[j, j], chosen[:, j], out=errors[j])
            block[j + 1 :].addr_(own[j, j + 1 :], errors[j], alpha=-1)
        losses += (errors**2).sum(0) / 2
        work[:, start:end] = block.T.masked_fill(chosen, 0)
        work[:, end:] -= errors.T @ upper[start:end, end:]
    plain = weight.to(hessian).masked_fill(mask, 0)
    before, after = relative_errors(weight, (plain, work), hessian)
    return PrunedWeights(
        weight=work.to(weight.dtype) if weight.dtype != work.dtype else work,
        mask=mask,
        row_losses=losses,
        error_before=before,
        error=after,
    )
