"""Takes neurons and attention heads out of a denoiser, so that it computes less; and gives a fresh one the
widths that a pruned one has.

Knows neither how they were chosen nor how weights make up for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from models.tool import ToolError


@dataclass(frozen=True, slots=True)
class Widths:
    """What a narrowed denoiser has: (out_features, in_features) by linear layer and heads by attention, of
    those that changed alone.
    """

    linears: dict[str, tuple[int, int]]
    heads: dict[str, int]


def set_heads(module: Any, name: str, heads: int) -> None:
    """Tell an attention how many heads its layers have left. Its heads keep their width.

    Raises:
        ToolError: there would be none.
    """
    attention = module.get_submodule(name)
    if heads < 1:
        raise ToolError(f"{name} would be left with {heads} heads: prune less, or leave it out")
    width = attention.inner_dim // attention.heads
    for attribute in ("inner_dim", "inner_kv_dim"):
        if hasattr(attention, attribute):
            setattr(attention, attribute, heads * width)
    attention.heads = heads
    if hasattr(attention, "sliceable_head_dim"):
        attention.sliceable_head_dim = heads


def differing_widths(module: Any, dense: Any) -> Widths:
    """What a denoiser has otherwise than a dense one of the same class."""
    import torch

    linears: dict[str, tuple[int, int]] = {}
    heads: dict[str, int] = {}
    for name, part in module.named_modules():
        other = dense.get_submodule(name)
        if isinstance(part, torch.nn.Linear):
            if part.weight.shape != other.weight.shape:
                linears[name] = (part.out_features, part.in_features)
        elif hasattr(part, "heads") and part.heads != other.heads:
            heads[name] = part.heads
    return Widths(linears, heads)


def narrow(module: Any, widths: Widths) -> None:
    """Give a dense denoiser these widths. Its narrowed layers hold no weights that mean anything yet."""
    import torch

    for name, (outputs, inputs) in widths.linears.items():
        old = module.get_submodule(name)
        bias = None if old.bias is None else old.bias.new_empty(outputs)
        set_linear(module, name, cast(torch.Tensor, old.weight).new_empty(outputs, inputs), bias)
    for name, heads in widths.heads.items():
        set_heads(module, name, heads)


def glu_rows(kept: Sequence[int], inner: int) -> list[int]:
    """The rows of a gated layer (GEGLU and its kin) for the neurons `kept` of `inner`: value and gate."""
    return [*kept, *(index + inner for index in kept)]


def set_linear(module: Any, name: str, weight: Any, bias: Any) -> None:
    """Put another weight (out, in) and bias (out) or none in the place of a linear layer's."""
    import torch

    outputs, inputs = weight.shape
    with torch.device("meta"):
        new = torch.nn.Linear(inputs, outputs, bias=bias is not None)
    new.weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        new.bias = torch.nn.Parameter(bias.detach().clone(), requires_grad=False)
    parent, _, own = name.rpartition(".")
    holder = module.get_submodule(parent)
    if own.isdigit():
        holder[int(own)] = new
    else:
        setattr(holder, own, new)
