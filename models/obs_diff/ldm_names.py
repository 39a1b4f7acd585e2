"""The layers of Stable Diffusion's U-Nets (1.x, 2.x, XL) by the names of the original checkpoints.

Those number blocks along the data flow, where diffusers numbers resolutions: `input_blocks` are the first
convolution, then every residual block, with its attention, and every downsampling; `output_blocks` are
residual blocks with the attention and the upsampling behind them. Source: the names in CompVis' and
Stability's checkpoints, as diffusers reads them.
"""

import re
from typing import Any

Rule = tuple[str, str]
"""(pattern of a layer's name in diffusers, original name)."""

_ENDS: tuple[Rule, ...] = (
    ("conv_in", "input_blocks.0.0"),
    (r"time_embedding\.linear_1", "time_embed.0"),
    (r"time_embedding\.linear_2", "time_embed.2"),
    (r"(?:add|class)_embedding\.linear_1", "label_emb.0.0"),
    (r"(?:add|class)_embedding\.linear_2", "label_emb.0.2"),
    ("class_embedding", "label_emb"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
)
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def unet_rules(unet: Any) -> tuple[Rule, ...]:
    """What the layers of this U-Net are called. Layers of other kinds than Stable Diffusion's get no rule."""
    rules = list(_ENDS)
    count = 1  # the first convolution is an input block
    for level, block in enumerate(unet.down_blocks):
        name = f"down_blocks.{level}"
        for layer in range(len(block.resnets)):
            rules += _layer(name, layer, f"input_blocks.{count}")
            count += 1
        if getattr(block, "downsamplers", None):
            rules.append((re.escape(f"{name}.downsamplers.0.conv"), f"input_blocks.{count}.0.op"))
            count += 1
    rules += _residual(r"mid_block\.resnets\.0", "middle_block.0")
    rules.append(_attention(r"mid_block\.attentions\.0", "middle_block.1"))
    rules += _residual(r"mid_block\.resnets\.1", "middle_block.2")
    count = 0
    for level, block in enumerate(unet.up_blocks):
        name = f"up_blocks.{level}"
        for layer in range(len(block.resnets)):
            rules += _layer(name, layer, f"output_blocks.{count}")
            count += 1
        if getattr(block, "upsamplers", None):
            place = 2 if getattr(block, "attentions", None) else 1
            theirs = f"output_blocks.{count - 1}.{place}.conv"
            rules.append((re.escape(f"{name}.upsamplers.0.conv"), theirs))
    return tuple(rules)


def _layer(block: str, layer: int, theirs: str) -> list[Rule]:
    """A residual block and the attention behind it, which may be missing."""
    residual = _residual(re.escape(f"{block}.resnets.{layer}"), f"{theirs}.0")
    return [*residual, _attention(re.escape(f"{block}.attentions.{layer}"), f"{theirs}.1")]


def _residual(ours: str, theirs: str) -> list[Rule]:
    return [(rf"{ours}\.{layer}", f"{theirs}.{original}") for layer, original in _RESIDUAL.items()]


def _attention(ours: str, theirs: str) -> Rule:
    """Within a transformer diffusers kept the names."""
    return rf"{ours}\.(norm|proj_in|proj_out|transformer_blocks\..+)", rf"{theirs}.\1"
