"""Heads and neurons taken out of one layer that joins both, as in Flux's single blocks."""

from dataclasses import dataclass

import torch

from models.obs_diff.columns import OnlineColumns, PrunedColumns, round_sizes
from models.obs_diff.heads import HeadScore, cheapest_head
from models.obs_diff.inverse import invert


@dataclass(frozen=True, slots=True)
class PrunedParallel:
    """The joining layer, the heads that went, and the neurons that went, counted from the first neuron; each
    in their order.
    """

    joiner: PrunedColumns
    heads: tuple[int, ...]
    neurons: tuple[int, ...]


def prune_parallel(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    heads: int,
    width: int,
    *,
    heads_out: int,
    neurons_out: int,
    score: HeadScore = "official",
    damping: float = 0.01,
    compensate: bool = True,
    name: str = "a layer",
) -> PrunedParallel:
    """Take heads, then neurons, out of weights (out, heads * width + neurons).

    Both share one Hessian, so what goes of either is made up for by all columns that are left.

    Raises:
        ToolError: the Hessian cannot be inverted.
    """
    inverse = invert(hessian, damping, name)
    state = OnlineColumns(weight.to(hessian), inverse.matrix, inverse.dead)
    first = state.scores()
    gone: list[int] = []
    for _ in range(heads_out):
        chosen = cheapest_head([state], heads, gone, score, width)
        columns = torch.arange(chosen * width, (chosen + 1) * width, device=weight.device)
        state.remove(columns, compensate=compensate)
        gone.append(chosen)
    neurons: list[int] = []
    for size in round_sizes(neurons_out):
        scores = state.scores()
        scores[: heads * width] = torch.inf
        chosen_columns = scores.argsort()[:size]
        state.remove(chosen_columns, compensate=compensate)
        neurons += (chosen_columns - heads * width).tolist()
    return PrunedParallel(state.result(weight, hessian, first), tuple(gone), tuple(neurons))
