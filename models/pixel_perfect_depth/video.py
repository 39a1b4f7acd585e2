"""The video network (arXiv 2601.05246): frames of one clip together, held to three frames of reference.

Source: official code (`DiT_Video`, `ppvd`). Its block numbers 18 and 21 of 24 are six and three from the end
here, so that other depths can be trained. The batch dimension is the frames of one clip.
"""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from models.pixel_perfect_depth.blocks import (
    PPDBlock,
    modulated,
    sinusoid,
    start_like_the_paper,
    unit,
    unpatchify,
    unshuffle,
    zero,
)
from models.pixel_perfect_depth.rotary import sine_positions

REFERENCES = 3
"""The first so many frames of a window are seen by all others."""
POOL = 4
"""Reference tokens are averaged over squares of this side."""


class VideoDepthTransformer(ModelMixin, ConfigMixin):
    """Velocity of the noisy, normalised log depths of a clip's frames.

    Args:
        in_channels, out_channels, hidden_size, num_layers, num_heads, patch_size, mlp_ratio, semantic_dim: as
            in `PixelPerfectTransformer2DModel`.
        sample_size: side of the square frames in pixels; positions are fixed for it.
        num_reference_layers: so many blocks at the end see the reference frames.
        num_temporal_layers: before so many blocks at the end, tokens attend over the frames.

    Raises:
        ValueError: sizes that do not divide.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 1,
        hidden_size: int = 1024,
        num_layers: int = 24,
        num_heads: int = 16,
        patch_size: int = 8,
        mlp_ratio: float = 4.0,
        semantic_dim: int = 2048,
        sample_size: int = 512,
        num_reference_layers: int = 6,
        num_temporal_layers: int = 3,
    ) -> None:
        super().__init__()
        if sample_size % (patch_size * POOL):
            raise ValueError(f"frames of {sample_size} pixels do not divide into reference tokens")
        side = sample_size // (2 * patch_size)
        self.side = side
        self.coarse_layers = num_layers // 2
        self.patch_embed: Any = nn.Conv2d(in_channels, hidden_size, 2 * patch_size, 2 * patch_size)
        self.register_buffer("pos_embed", sine_positions(side, side, hidden_size))
        self.time_embed: Any = TimestepEmbedding(256, hidden_size)
        self.blocks: Any = nn.ModuleList(
            PPDBlock(hidden_size, num_heads, mlp_ratio) for _ in range(num_layers)
        )
        self.temporal_blocks: Any = nn.ModuleList(
            PPDBlock(hidden_size, num_heads, mlp_ratio) for _ in range(num_temporal_layers)
        )
        wide = 4 * hidden_size
        self.fusion: Any = nn.Sequential(
            nn.Linear(hidden_size + semantic_dim, wide),
            nn.SiLU(),
            nn.Linear(wide, wide),
            nn.SiLU(),
            nn.Linear(wide, wide),
        )
        self.norm_out: Any = nn.Linear(hidden_size, 2 * hidden_size)
        self.proj_out: Any = nn.Linear(hidden_size, patch_size**2 * out_channels)
        start_like_the_paper(self)
        for block in (*self.blocks, *self.temporal_blocks):
            zero(block.modulation)
        zero(self.norm_out)
        zero(self.proj_out)

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """The velocities of all frames at one timestep.

        Args:
            hidden_states: (frames, in_channels, S, S): noisy depth, then the frame in -0.5..0.5.
            timestep: one number in 0..1000.
            encoder_hidden_states: (frames, T, semantic_dim) on the grid of 2p pixels.
            return_dict: False gives a tuple.

        Returns:
            sample (frames, out_channels, S, S).

        Raises:
            ValueError: the frames have another size, or are fewer than the references.
        """
        size = self.config["sample_size"]
        if hidden_states.shape[-2:] != (size, size) or len(hidden_states) < REFERENCES:
            raise ValueError(
                f"{REFERENCES} or more frames of {size}x{size} are wanted, not {tuple(hidden_states.shape)}"
            )
        time = torch.as_tensor(timestep, device=hidden_states.device).reshape(-1)
        time = F.silu(self.time_embed(sinusoid(time).to(self.dtype)))
        x = self.patch_embed(hidden_states).flatten(2).transpose(1, 2) + self.pos_embed.to(self.dtype)
        for block in self.blocks[: self.coarse_layers]:
            x = block(x, block.modulate(time))
        x = self.fusion(torch.cat([x, unit(encoder_hidden_states)], -1))
        x = unshuffle(x, self.side, self.side)
        for number, block in enumerate(self.blocks[self.coarse_layers :], self.coarse_layers):
            x = self._fine(x, number - len(self.blocks), block, time)
        shift, scale = self.norm_out(time)[:, None].chunk(2, -1)
        x = self.proj_out(modulated(x, shift, scale))
        sample = unpatchify(x, 2 * self.side, 2 * self.side, self.config["patch_size"])
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _fine(self, x: Tensor, from_end: int, block: Any, time: Tensor) -> Tensor:
        """One block of the fine grid; `from_end` is its number minus the number of blocks."""
        if from_end >= -self.config["num_temporal_layers"]:
            over_time = self.temporal_blocks[from_end]
            x = over_time(x.transpose(0, 1), over_time.modulate(time)).transpose(0, 1)
        if from_end < -self.config["num_reference_layers"]:
            return block(x, block.modulate(time))
        tokens = x.shape[1]
        references = self._references(x[:REFERENCES]).expand(len(x), -1, -1)
        return block(torch.cat([x, references], 1), block.modulate(time))[:, :tokens]

    def _references(self, x: Tensor) -> Tensor:
        """Tokens (frames, T, D) of the reference frames, averaged over squares: (1, frames * T / 16, D)."""
        side = 2 * self.side
        grid = F.avg_pool2d(x.transpose(1, 2).unflatten(2, (side, side)), POOL)
        return grid.flatten(2).transpose(1, 2).flatten(0, 1)[None]

    @classmethod
    def from_official(cls, path: Any) -> "VideoDepthTransformer":
        """The network of an official checkpoint; see `convert.read_official`."""
        from models.pixel_perfect_depth.convert import read_official

        network = read_official(path)
        if not isinstance(network, cls):
            raise ValueError(
                f"{path} holds the image network: load it by PixelPerfectTransformer2DModel.from_official"
            )
        return network
