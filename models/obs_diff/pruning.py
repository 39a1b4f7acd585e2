"""Prunes the layers of a unit by their Hessians, and puts the result into the denoiser."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from models.obs_diff.baselines import ColumnBaseline, WeightBaseline, prune_parts_by, prune_weights_by
from models.obs_diff.columns import PrunedColumns, take_columns
from models.obs_diff.families import Heads, Inlet, Neurons, Parallel, Part, Unit
from models.obs_diff.heads import take_heads
from models.obs_diff.hessian import LayerHessian
from models.obs_diff.inverse import Inverse, invert
from models.obs_diff.narrowing import glu_rows, set_heads, set_linear
from models.obs_diff.order import Order
from models.obs_diff.parallel import prune_parallel
from models.obs_diff.unstructured import PrunedWeights, prune_n_m, prune_unstructured
from models.tool import ToolError

Linear = tuple[torch.Tensor, torch.Tensor | None]
"""(weight, bias)"""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What a layer lost: weights or columns that went, of how many; relative squared output error on the
    calibration inputs without compensation, and with it.
    """

    name: str
    removed: int
    of: int
    error_before: float
    error: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What pruning a package does to a denoiser."""

    linears: dict[str, Linear] = field(default_factory=dict[str, Linear])
    heads: dict[str, int] = field(default_factory=dict[str, int])
    masks: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    """True where a weight went; of single weights alone."""
    reports: list[LayerReport] = field(default_factory=list[LayerReport])

    def apply(self, denoiser: Any) -> None:
        """Put them into the denoiser."""
        for name, (weight, bias) in self.linears.items():
            old = denoiser.get_submodule(name).weight
            set_linear(denoiser, name, weight.to(old), None if bias is None else bias.to(old))
        for name, heads in self.heads.items():
            set_heads(denoiser, name, heads)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many heads and neurons go from a part."""

    heads: int = 0
    neurons: int = 0


def count_parts(denoiser: Any, units: Sequence[Unit], order: Order) -> dict[Part, Counts]:
    """What goes from each part. Few heads do not divide well: by the exact rule the rounded shares add up
    over the denoiser, so that the whole has the sparsity that was asked for.
    """
    counts: dict[Part, Counts] = {}
    sums = {"heads": [0, 0], "neurons": [0, 0]}  # (seen, taken)

    def take(kind: str, number: int) -> int:
        seen, taken = sums[kind]
        seen += number
        exact = round(seen * order.sparsity) - taken
        count = min(exact if order.count_rule == "exact" else round(number * order.sparsity), number - 1)
        sums[kind] = [seen, taken + count]
        return count

    for unit in units:
        for part in unit.parts:
            heads = _heads_of(part)
            neurons = _neurons_of(part)
            counts[part] = Counts(
                heads=take("heads", Grid.of(denoiser, heads).groups) if heads else 0,
                neurons=take("neurons", _count_neurons(denoiser, part, neurons)) if neurons else 0,
            )
    return counts


def check_layers(denoiser: Any, units: Sequence[Unit], order: Order) -> None:
    """Refuse, before any work, what the pattern cannot do with these layers.

    Raises:
        ToolError: M does not divide a layer's inputs.
    """
    if order.group is None:
        return
    for unit in units:
        for name in unit.layers:
            inputs = denoiser.get_submodule(name).in_features
            if inputs % order.group[1]:
                raise ToolError(
                    f"{name} has {inputs} inputs, which {order.group[1]} does not divide: use another "
                    f"pattern than {order.pattern}"
                )


def prune_unit(
    denoiser: Any,
    unit: Unit,
    hessians: Mapping[str, LayerHessian],
    order: Order,
    counts: Mapping[Part, Counts],
    tick: Callable[[], None] = lambda: None,
) -> Changes:
    """Prune a unit's layers; the denoiser stays as it is. `tick` is called between layers.

    Raises:
        NeverRan: a layer got no inputs.
        ToolError: a Hessian cannot be inverted.
    """
    changes = Changes()
    if unit.parts:
        for part in unit.parts:
            tick()
            _prune_part(denoiser, part, hessians, order, counts[part], changes)
    else:
        for inlet in unit.inlets:
            _prune_inlet(denoiser, inlet, hessians[inlet[0]].matrix, order, changes, tick)
    return changes


@dataclass(frozen=True, slots=True)
class Grid:
    """An attention's heads as they go: in groups, where several share keys and values."""

    heads: int
    groups: int
    width: int
    """Columns of a group in the joining layers."""

    @classmethod
    def of(cls, denoiser: Any, part: Heads) -> "Grid":
        """Read from the modules, since widths differ."""
        heads = int(denoiser.get_submodule(part.attention).heads)
        rows = [denoiser.get_submodule(name).out_features for name in part.makers]
        width = max(rows) // heads
        groups = min(rows) // width
        return cls(heads, groups, max(rows) // groups)


def _heads_of(part: Part) -> Heads | None:
    return part.heads if isinstance(part, Parallel) else part if isinstance(part, Heads) else None


def _neurons_of(part: Part) -> Neurons | None:
    return part.neurons if isinstance(part, Parallel) else part if isinstance(part, Neurons) else None


def _count_neurons(denoiser: Any, part: Part, neurons: Neurons) -> int:
    columns = denoiser.get_submodule(neurons.joiner).in_features
    if isinstance(part, Parallel):
        grid = Grid.of(denoiser, part.heads)
        columns -= grid.groups * grid.width
    return columns


def _prune_inlet(
    denoiser: Any,
    inlet: Inlet,
    hessian: torch.Tensor,
    order: Order,
    changes: Changes,
    tick: Callable[[], None],
) -> None:
    inverse = invert(hessian, order.damping, inlet[0]) if order.method == "obs" else None
    for name in inlet:
        tick()
        layer = denoiser.get_submodule(name)
        pruned = _prune_weights(layer.weight.detach(), hessian, inverse, order, name)
        changes.linears[name] = (pruned.weight.to(layer.weight.dtype), layer.bias)
        changes.masks[name] = pruned.mask
        changes.reports.append(
            LayerReport(name, int(pruned.mask.sum()), pruned.mask.numel(), pruned.error_before, pruned.error)
        )


def _prune_weights(
    weight: torch.Tensor, hessian: torch.Tensor, inverse: Inverse | None, order: Order, name: str
) -> PrunedWeights:
    weight = weight.to(hessian)
    if inverse is None:
        method = cast(WeightBaseline, order.method)
        return prune_weights_by(
            method, weight, hessian, order.sparsity, group=order.group, seed=_seed(order, name)
        )
    if order.group is not None:
        return prune_n_m(
            weight, hessian, *order.group, block_size=order.block_size, inverse=inverse, name=name
        )
    return prune_unstructured(
        weight,
        hessian,
        order.sparsity,
        block_size=order.block_size,
        count_rule=order.count_rule,
        inverse=inverse,
        name=name,
    )


def _prune_part(
    denoiser: Any,
    part: Part,
    hessians: Mapping[str, LayerHessian],
    order: Order,
    counts: Counts,
    changes: Changes,
) -> None:
    heads, neurons = _heads_of(part), _neurons_of(part)
    grid = Grid.of(denoiser, heads) if heads else Grid(0, 0, 0)
    joiners = heads.joiners if heads else (cast(Neurons, neurons).joiner,)
    layers = [denoiser.get_submodule(name) for name in joiners]
    matrices = [hessians[name].matrix for name in joiners]
    weights = [layer.weight.detach().to(matrix) for layer, matrix in zip(layers, matrices, strict=True)]
    streams = list(zip(weights, matrices, strict=True))
    if order.method == "obs":
        results, gone_heads, gone_neurons = _by_obs(part, streams, grid, order, counts, joiners[0])
    else:
        results, gone_heads, gone_neurons = prune_parts_by(
            cast(ColumnBaseline, order.method),
            streams,
            (grid.groups, grid.width),
            (counts.heads, counts.neurons),
            seed=_seed(order, joiners[0]),
        )
    for name, layer, result in zip(joiners, layers, results, strict=True):
        weight = result.weight[:, result.kept].to(layer.weight.dtype)
        changes.linears[name] = (weight, layer.bias)
        changes.reports.append(
            LayerReport(name, len(result.removed), layer.in_features, result.error_before, result.error)
        )
    if heads:
        _drop_heads(denoiser, heads, grid, gone_heads, changes)
    if neurons:
        columns = layers[0].in_features - grid.groups * grid.width
        _drop_neurons(denoiser, neurons.maker, columns, gone_neurons, changes)


def _by_obs(
    part: Part,
    streams: Sequence[tuple[torch.Tensor, torch.Tensor]],
    grid: Grid,
    order: Order,
    counts: Counts,
    name: str,
) -> tuple[Sequence[PrunedColumns], Sequence[int], Sequence[int]]:
    """The joining layers by stream, the head groups and the neurons that went."""
    how: dict[str, Any] = {"damping": order.damping, "compensate": order.compensate, "name": name}
    match part:
        case Heads():
            pruned = take_heads(streams, grid.groups, counts.heads, score=order.head_score, **how)
            return pruned.streams, pruned.heads, ()
        case Neurons():
            columns = take_columns(*streams[0], counts.neurons, **how)
            return (columns,), (), columns.removed.tolist()
        case Parallel():
            both = prune_parallel(
                *streams[0],
                grid.groups,
                grid.width,
                heads_out=counts.heads,
                neurons_out=counts.neurons,
                score=order.head_score,
                **how,
            )
            return (both.joiner,), both.heads, both.neurons


def _drop_heads(denoiser: Any, heads: Heads, grid: Grid, gone: Sequence[int], changes: Changes) -> None:
    left = [group for group in range(grid.groups) if group not in gone]
    for name in heads.makers:
        rows = denoiser.get_submodule(name).out_features // grid.groups
        kept = [group * rows + row for group in left for row in range(rows)]
        changes.linears[name] = _rows(denoiser.get_submodule(name), kept)
    changes.heads[heads.attention] = grid.heads // grid.groups * len(left)


def _drop_neurons(denoiser: Any, maker: str, neurons: int, gone: Sequence[int], changes: Changes) -> None:
    layer = denoiser.get_submodule(maker)
    lost = set(gone)
    left = [neuron for neuron in range(neurons) if neuron not in lost]
    gated = layer.out_features == 2 * neurons
    changes.linears[maker] = _rows(layer, glu_rows(left, neurons) if gated else left)


def _rows(layer: Any, kept: list[int]) -> Linear:
    return layer.weight.detach()[kept], None if layer.bias is None else layer.bias.detach()[kept]


def _seed(order: Order, name: str) -> int:
    """Another one for each layer, so that "random" does not take the same places everywhere."""
    return order.seed + sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
