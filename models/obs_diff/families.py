"""Which layers of a denoiser are pruned, family by family: a table of names.

A block is taken apart into units in the order of its data flow. The layers of a unit are calibrated in one
pass; those of an inlet have the very same input, so they share a Hessian. Where a block lacks a layer that
the table names (the last block of SD3 has no context output, only SD3.5-medium has a second attention), the
others stand for themselves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.tool import ToolError

Inlet = tuple[str, ...]
"""Layers with one input."""


@dataclass(frozen=True, slots=True)
class Heads:
    """An attention whose heads may go: the layers that make them (rows) and those that join them (columns),
    one a stream.
    """

    attention: str
    makers: tuple[str, ...]
    joiners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Neurons:
    """A feed-forward layer whose neurons may go: its first linear layer (rows; two a neuron where it is
    gated) and its last (columns).
    """

    maker: str
    joiner: str


@dataclass(frozen=True, slots=True)
class Parallel:
    """Heads and neurons side by side, joined by one layer whose columns are heads, then neurons."""

    heads: Heads
    neurons: Neurons


Part = Heads | Neurons | Parallel


@dataclass(frozen=True, slots=True)
class Unit:
    """What is calibrated and pruned together in one block. Names are those within the denoiser."""

    block: str
    inlets: tuple[Inlet, ...]
    parts: tuple[Part, ...] = ()
    """What goes in structured pruning; none in that of single weights."""

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, in order."""
        return tuple(name for inlet in self.inlets for name in inlet)


@dataclass(frozen=True, slots=True)
class BlockKind:
    """A kind of block: its inlets by unit for single weights, its parts by unit for structured pruning."""

    inlets: tuple[tuple[Inlet, ...], ...]
    parts: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Denoisers of one class: which blocks they have, in the order of the data flow, and what stays."""

    name: str
    denoiser: str
    """The class in diffusers."""
    blocks: tuple[tuple[str, BlockKind], ...]
    """(pattern of a block's name, its kind)."""
    chained: bool
    """Whether a block's output is all that later blocks hear of the blocks up to it."""
    spared: tuple[tuple[str, str], ...]
    """(what is never pruned, why)."""
    spares_last: str = ""
    """Why structured pruning leaves the last block alone, where it does."""


def _attention(name: str) -> Heads:
    return Heads(name, (f"{name}.to_q", f"{name}.to_k", f"{name}.to_v"), (f"{name}.to_out.0",))


_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_JOINT = BlockKind(
    inlets=(
        (_QKV, _ADDED),
        (("attn.to_out.0",), ("attn.to_add_out",)),
        (("attn2.to_q", "attn2.to_k", "attn2.to_v"),),
        (("attn2.to_out.0",),),
        (("ff.net.0.proj",), ("ff_context.net.0.proj",)),
        (("ff.net.2",), ("ff_context.net.2",)),
    ),
    parts=(
        (Heads("attn", (*_QKV, *_ADDED), ("attn.to_out.0", "attn.to_add_out")),),
        (_attention("attn2"),),
        (Neurons("ff.net.0.proj", "ff.net.2"), Neurons("ff_context.net.0.proj", "ff_context.net.2")),
    ),
)
"""Two streams, image and text, that meet in one attention (MMDiT)."""
_SINGLE = BlockKind(
    inlets=(((*_QKV, "proj_mlp"),), (("proj_out",),)),
    parts=((Parallel(Heads("attn", _QKV, ("proj_out",)), Neurons("proj_mlp", "proj_out")),),),
)
"""One stream; attention and feed-forward side by side, joined by one layer."""
_CROSS = BlockKind(
    inlets=(
        (("attn1.to_q", "attn1.to_k", "attn1.to_v"),),
        (("attn1.to_out.0",),),
        (("attn2.to_q",), ("attn2.to_k", "attn2.to_v")),
        (("attn2.to_out.0",),),
        (("ff.net.0.proj",),),
        (("ff.net.2",),),
    ),
    parts=((_attention("attn1"),), (_attention("attn2"),), (Neurons("ff.net.0.proj", "ff.net.2"),)),
)
"""Self-attention, attention to the text, feed-forward."""
_CROSS_CONVOLVED = BlockKind(inlets=_CROSS.inlets[:4], parts=_CROSS.parts[:2])

_CONDITIONING = (
    ("adaptive norms and embedders of time and text", "small, and every block hears them"),
    ("inlet and outlet of the denoiser", "their widths belong to the latents"),
)

FAMILIES = (
    Family(
        name="flux",
        denoiser="FluxTransformer2DModel",
        blocks=((r"transformer_blocks\.\d+", _JOINT), (r"single_transformer_blocks\.\d+", _SINGLE)),
        chained=True,
        spared=_CONDITIONING,
    ),
    Family(
        name="sd3",
        denoiser="SD3Transformer2DModel",
        blocks=((r"transformer_blocks\.\d+", _JOINT),),
        chained=True,
        spared=_CONDITIONING,
        spares_last="its text stream ends there; the published code leaves it alone, too",
    ),
    Family(
        name="unet",
        denoiser="UNet2DConditionModel",
        blocks=(
            (r"down_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.\d+", _CROSS),
            (r"mid_block\.attentions\.\d+\.transformer_blocks\.\d+", _CROSS),
            (r"up_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.\d+", _CROSS),
        ),
        chained=False,
        spared=(
            *_CONDITIONING,
            (
                "convolutions, and the projections around the transformers",
                "the method is for linear layers; skip connections fix their widths",
            ),
        ),
    ),
    Family(
        name="pixart",
        denoiser="PixArtTransformer2DModel",
        blocks=((r"transformer_blocks\.\d+", _CROSS),),
        chained=True,
        spared=_CONDITIONING,
    ),
    Family(
        name="sana",
        denoiser="SanaTransformer2DModel",
        blocks=((r"transformer_blocks\.\d+", _CROSS_CONVOLVED),),
        chained=True,
        spared=(*_CONDITIONING, ("feed-forward layers", "they are convolutions in this family")),
    ),
)


def find_family(denoiser: Any) -> Family:
    """The table's entry for a denoiser.

    Raises:
        ToolError: there is none.
    """
    kind = type(denoiser).__name__
    for family in FAMILIES:
        if family.denoiser == kind:
            return family
    known = ", ".join(f"{family.name} ({family.denoiser})" for family in FAMILIES)
    raise ToolError(f"a {kind} is of no family that can be pruned; known: {known}")


def find_blocks(denoiser: Any, family: Family) -> list[tuple[str, BlockKind]]:
    """The denoiser's blocks in the order of the data flow.

    Raises:
        ToolError: it has none.
    """
    names = [name for name, _ in denoiser.named_modules()]
    found: list[tuple[str, BlockKind]] = []
    for pattern, kind in family.blocks:
        matching = [name for name in names if re.fullmatch(pattern, name)]
        found += [(name, kind) for name in sorted(matching, key=_numbers)]
    if not found:
        raise ToolError(f"this {family.denoiser} has no blocks of the family {family.name}: nothing to prune")
    return found


def find_units(denoiser: Any, *, structured: bool, blocks: tuple[int, int] | None = None) -> list[Unit]:
    """What is pruned, in order. `blocks` (first, end) leaves blocks outside of it dense, counted from 0.

    Raises:
        ToolError: the family is unknown, `blocks` holds none, or a layer is not a plain linear one.
    """
    family = find_family(denoiser)
    found = find_blocks(denoiser, family)
    first, end = blocks or (0, len(found))
    if not 0 <= first < end <= len(found):
        raise ToolError(f"blocks {first}:{end} are not among the {len(found)} of this denoiser")
    if structured and family.spares_last:
        end = min(end, len(found) - 1)
    units: list[Unit] = []
    for name, kind in found[first:end]:
        block = denoiser.get_submodule(name)
        units += _structured(name, block, kind) if structured else _unstructured(name, block, kind)
    if not units:
        raise ToolError(
            f"nothing is left to prune: the last block of {family.name} stays, {family.spares_last}"
        )
    for unit in units:
        _check_plain(denoiser, unit)
    return units


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _unstructured(name: str, block: Any, kind: BlockKind) -> list[Unit]:
    units: list[Unit] = []
    for inlets in kind.inlets:
        present = [tuple(f"{name}.{layer}" for layer in inlet if _has(block, layer)) for inlet in inlets]
        if any(present):
            units.append(Unit(name, tuple(inlet for inlet in present if inlet)))
    return units


def _structured(name: str, block: Any, kind: BlockKind) -> list[Unit]:
    units: list[Unit] = []
    for parts in kind.parts:
        present = [_prefixed(part, name, block) for part in parts]
        kept = tuple(part for part in present if part is not None)
        inlets = tuple((joiner,) for part in kept for joiner in joiners_of(part))
        if kept:
            units.append(Unit(name, inlets, kept))
    return units


def joiners_of(part: Part) -> tuple[str, ...]:
    """The layers whose columns go."""
    match part:
        case Heads():
            return part.joiners
        case Neurons():
            return (part.joiner,)
        case Parallel():
            return part.heads.joiners


def _prefixed(part: Part, name: str, block: Any) -> Part | None:
    """The part with names within the denoiser, without layers that the block lacks; None without any."""

    def present(layers: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{name}.{layer}" for layer in layers if _has(block, layer))

    match part:
        case Heads():
            joiners = present(part.joiners)
            return Heads(f"{name}.{part.attention}", present(part.makers), joiners) if joiners else None
        case Neurons():
            whole = _has(block, part.maker) and _has(block, part.joiner)
            return (
                replace(part, maker=f"{name}.{part.maker}", joiner=f"{name}.{part.joiner}") if whole else None
            )
        case Parallel():
            heads, neurons = _prefixed(part.heads, name, block), _prefixed(part.neurons, name, block)
            assert isinstance(heads, Heads) and isinstance(neurons, Neurons)
            return Parallel(heads, neurons)


def _has(block: Any, layer: str) -> bool:
    """Whether the block has this layer; diffusers sets layers that it leaves out to None."""
    part: Any = block
    for attribute in layer.split("."):
        try:
            part = part[int(attribute)] if attribute.isdigit() else getattr(part, attribute, None)
        except (IndexError, TypeError):
            return False
        if part is None:
            return False
    return True


def _check_plain(denoiser: Any, unit: Unit) -> None:
    import torch

    makers = [name for part in unit.parts for name in makers_of(part)]
    for name in (*unit.layers, *makers):
        layer = denoiser.get_submodule(name)
        if type(layer) is not torch.nn.Linear:
            raise ToolError(
                f"{name} is a {type(layer).__name__}, not a plain linear layer: prune without adapters and "
                "quantisation, and put them on the pruned backend"
            )


def makers_of(part: Part) -> tuple[str, ...]:
    """The layers whose rows go."""
    match part:
        case Heads():
            return part.makers
        case Neurons():
            return (part.maker,)
        case Parallel():
            return (*part.heads.makers, part.neurons.maker)
