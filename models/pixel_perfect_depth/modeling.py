"""The network of Pixel-Perfect Depth: a diffusion transformer that paints depth in pixels.

Source: arXiv 2510.07316 and the official code. Coarse blocks see the whole picture on a grid of 2p pixels;
then normalised tokens of a vision model are joined in, every token becomes 2x2 finer ones, and the rest of
the blocks draws the edges on a grid of p pixels (SP-DiT with cascade, paper sections 3.2 and 3.3).

What a picture gives is computed once (`prepare`), what a timestep gives once a schedule (`modulate`), and
`denoise` is the rest. `forward` is all three, so there is one path and one result. Knows no scheduler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from models.pixel_perfect_depth.blocks import (
    Linear,
    PPDBlock,
    modulated,
    product,
    sinusoid,
    start_like_the_paper,
    unit,
    unpatchify,
    unshuffle,
    zero,
)
from models.pixel_perfect_depth.rotary import Rotation, rotation

PREDICTIONS = ("velocity", "sample")


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What one batch of pictures gives to every step.

    `tokens` is the pictures' half of the patch embedding (N, T, D), `semantics` the semantic half of the
    fusion's first layer (N, T, .), None for a network without; the tables are those of the two grids.
    """

    tokens: Tensor
    semantics: Tensor | None
    rows: int
    columns: int
    coarse: Rotation
    fine: Rotation


@dataclass(frozen=True, slots=True)
class Modulation:
    """What one timestep gives to every block and to the outlet."""

    blocks: tuple[Tensor, ...]
    outlet: Tensor


class PixelPerfectTransformer2DModel(ModelMixin, ConfigMixin):
    """Velocity of a noisy, normalised log depth, given the picture and its semantic tokens.

    Args:
        in_channels: of depth and picture together; the depth's come first.
        out_channels: of the depth.
        hidden_size: width D, a multiple of `num_heads`.
        num_layers: blocks in all.
        num_coarse_layers: blocks before the grid gets finer (None: half, rounded down).
        num_heads: heads; each is a multiple of 4 wide.
        patch_size: side of a fine token in pixels; coarse ones are twice that.
        mlp_ratio: hidden width of the MLPs over D.
        semantic_dim: width of the semantic tokens; 0 is a network without them (the paper's plain DiT).
        rope_theta: base of the rotary angles.
        cascade: whether the grid gets finer. Without, all tokens are fine ones, and semantic tokens are
            resized to their grid (the paper's SP-DiT without cascade).
        semantic_encoder: which vision model the weights were trained with; a pipeline refuses another.
        prediction: what the network says: the "velocity", as in the paper, or the clean depth itself, the
            "sample", in one pass from no noise at the last timestep (the variant "direct").

    Raises:
        ValueError: sizes that do not divide, no block on one of the two grids, or an unknown prediction.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["PPDBlock"]  # noqa: RUF012 - diffusers reads it so

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 1,
        hidden_size: int = 1024,
        num_layers: int = 24,
        num_coarse_layers: int | None = None,
        num_heads: int = 16,
        patch_size: int = 8,
        mlp_ratio: float = 4.0,
        semantic_dim: int = 1024,
        rope_theta: float = 100.0,
        cascade: bool = True,
        semantic_encoder: str | None = None,
        prediction: str = "velocity",
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"a network predicts {' or '.join(PREDICTIONS)}, not {prediction!r}")
        if hidden_size % num_heads or (hidden_size // num_heads) % 4:
            raise ValueError(
                f"hidden_size {hidden_size} with {num_heads} heads: heads are whole multiples of 4 wide"
            )
        coarse = num_layers // 2 if num_coarse_layers is None else num_coarse_layers
        if not 0 < coarse < num_layers:
            raise ValueError(
                f"{coarse} of {num_layers} blocks before the fusion: both sides need one at least"
            )
        self.coarse_layers = coarse
        self.depth_channels = out_channels
        inlet = 2 * patch_size if cascade else patch_size
        self.patch_embed: Any = nn.Conv2d(in_channels, hidden_size, inlet, inlet)
        self.time_embed: Any = TimestepEmbedding(256, hidden_size)
        self.blocks: Any = nn.ModuleList(
            PPDBlock(hidden_size, num_heads, mlp_ratio) for _ in range(num_layers)
        )
        wide = 4 * hidden_size if cascade else hidden_size
        self.fusion: Any = nn.Sequential(
            Linear(hidden_size + semantic_dim, wide),
            nn.SiLU(),
            Linear(wide, wide),
            nn.SiLU(),
            Linear(wide, wide),
        )
        self.norm_out: Any = nn.Linear(hidden_size, 2 * hidden_size)
        self.proj_out: Any = nn.Linear(hidden_size, patch_size**2 * out_channels)
        self.gradient_checkpointing = False
        self._start()

    def _start(self) -> None:
        start_like_the_paper(self)
        for layer in (self.time_embed.linear_1, self.time_embed.linear_2):
            nn.init.normal_(layer.weight, std=0.02)
        for block in self.blocks:
            zero(block.modulation)
        zero(self.norm_out)
        zero(self.proj_out)

    @property
    def token_size(self) -> int:
        """Side of the tokens that semantics are given for, in pixels: pictures are multiples of it."""
        return self.patch_embed.kernel_size[0]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of those tokens.

        Raises:
            ValueError: a side is no multiple of `token_size`.
        """
        size = self.token_size
        if height % size or width % size or not height or not width:
            raise ValueError(f"pictures have sides that are multiples of {size} pixels, not {width}x{height}")
        return height // size, width // size

    def prepare(self, image: Tensor, semantics: Tensor | None) -> Conditioning:
        """What does not change over the steps.

        Args:
            image: (N, 3, H, W) in -0.5..0.5.
            semantics: (N, T, semantic_dim), row-major on the grid of `token_size`; a network without cascade
                takes any grid of the picture's proportions. None for a network without semantics.

        Raises:
            ValueError: the sizes do not fit.
        """
        rows, columns = self.grid(*image.shape[-2:])
        inlet = self.patch_embed
        tokens = F.conv2d(image, inlet.weight[:, self.depth_channels :], None, inlet.stride)
        half = self._semantic_half(semantics, rows, columns)
        head = self.config["hidden_size"] // self.config["num_heads"]
        coarse = rotation(rows, columns, head, self.config["rope_theta"], image.device)
        fine = coarse
        if self.config["cascade"]:
            fine = rotation(2 * rows, 2 * columns, head, self.config["rope_theta"], image.device)
        return Conditioning(tokens.flatten(2).transpose(1, 2), half, rows, columns, coarse, fine)

    def _semantic_half(self, semantics: Tensor | None, rows: int, columns: int) -> Tensor | None:
        width = self.config["semantic_dim"]
        if (semantics is None) != (width == 0):
            told = "none were given" if semantics is None else f"got {tuple(semantics.shape)}"
            raise ValueError(f"this network takes semantic tokens of {width} channels; {told}")
        if semantics is None:
            return None
        if semantics.shape[-1] != width:
            raise ValueError(
                f"this network was made for semantic tokens of {width} channels, not {semantics.shape[-1]}: "
                "use the encoder that it was trained with"
            )
        tokens = unit(semantics)
        if semantics.shape[1] != rows * columns:
            if self.config["cascade"]:
                raise ValueError(f"{semantics.shape[1]} semantic tokens for a grid of {rows}x{columns}")
            tokens = _resize(tokens, rows, columns)
        return product(tokens, self.fusion[0].weight[:, self.config["hidden_size"] :])

    def modulate(self, timesteps: Sequence[float] | Tensor) -> list[Modulation]:
        """What each timestep, in 0..1000, gives to all blocks: rows of one, for a whole batch."""
        times = torch.as_tensor(timesteps, dtype=torch.float32, device=self.device)
        together = self._modulation(times)  # a third of the weights: read once
        rows = zip(*(part.split(1) for part in (*together.blocks, together.outlet)), strict=True)
        return [Modulation(row[:-1], row[-1]) for row in rows]

    def _modulation(self, timestep: Tensor) -> Modulation:
        time = F.silu(self.time_embed(sinusoid(timestep).to(self.dtype)))
        return Modulation(tuple(block.modulate(time) for block in self.blocks), self.norm_out(time)[:, None])

    def denoise(self, latent: Tensor, given: Conditioning, modulation: Modulation) -> Tensor:
        """The velocity (N, out_channels, H, W) at a noisy depth of the same shape."""
        inlet = self.patch_embed
        x = F.conv2d(latent, inlet.weight[:, : self.depth_channels], inlet.bias, inlet.stride)
        x = x.flatten(2).transpose(1, 2) + given.tokens
        for number, block in enumerate(self.blocks):
            table = given.coarse if number < self.coarse_layers else given.fine
            x = self._run(block, x, modulation.blocks[number], table)
            if number == self.coarse_layers - 1:
                x = self._fuse(x, given)
        shift, scale = modulation.outlet.chunk(2, -1)
        x = self.proj_out(modulated(x, shift, scale))
        finer = 2 if self.config["cascade"] else 1
        return unpatchify(x, finer * given.rows, finer * given.columns, self.config["patch_size"])

    def _run(self, block: Any, *inputs: Any) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            assert self._gradient_checkpointing_func is not None
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _fuse(self, x: Tensor, given: Conditioning) -> Tensor:
        first, *rest = self.fusion
        y = product(x, first.weight[:, : self.config["hidden_size"]], first.bias)
        if given.semantics is not None:
            y = y + given.semantics
        for layer in rest:
            y = layer(y)
        return unshuffle(y, given.rows, given.columns) if self.config["cascade"] else y

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """The velocity at one step.

        Args:
            hidden_states: (N, in_channels, H, W): noisy depth, then the picture in -0.5..0.5.
            timestep: 0..1000, for all or (N,).
            encoder_hidden_states: the semantic tokens; see `prepare`.
            return_dict: False gives a tuple.

        Returns:
            sample (N, out_channels, H, W).
        """
        latent, image = hidden_states.split(
            [self.depth_channels, hidden_states.shape[1] - self.depth_channels], dim=1
        )
        given = self.prepare(image, encoder_hidden_states)
        times = torch.as_tensor(timestep, device=hidden_states.device).reshape(-1)
        sample = self.denoise(latent, given, self._modulation(times))
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    @classmethod
    def from_official(cls, path: Any) -> "PixelPerfectTransformer2DModel":
        """The network of an official checkpoint; see `convert.read_official`."""
        from models.pixel_perfect_depth.convert import read_official

        network = read_official(path)
        if not isinstance(network, cls):
            raise ValueError(
                f"{path} holds the video network: load it by VideoDepthTransformer.from_official"
            )
        return network


def _resize(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Square or equally proportioned grids of tokens (N, T, C), bilinearly, to rows * columns."""
    n, count, channels = tokens.shape
    own_rows = round((count * rows / columns) ** 0.5)
    if not own_rows or count % own_rows:
        raise ValueError(f"{count} semantic tokens make no grid of the proportions {rows}x{columns}")
    grid = tokens.transpose(1, 2).reshape(n, channels, own_rows, count // own_rows)
    resized = F.interpolate(grid.float(), (rows, columns), mode="bilinear", align_corners=False)
    return resized.to(tokens.dtype).flatten(2).transpose(1, 2)
