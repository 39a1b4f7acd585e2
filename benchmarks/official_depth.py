"""Pixel-Perfect Depth computed as the official code computes it: what ours is measured against.

Source: sections 2, 4 and 10 of shared/specs/pixel_perfect_depth.md, not the code itself. It takes the weights
of one of our networks with cascade and semantics, and does anew at every step what the official one does: the
whole patch embedding and fusion, every modulation, in each attention a copy of the positions, and cosines and
sines made and gathered for queries and for keys. Knows no encoder.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Positions = dict[tuple[int, int], Tensor]
TIMESTEPS = 1000


class OfficialDepth:
    """A network of ours, computed in the official way.

    Args:
        network: a `PixelPerfectTransformer2DModel` with cascade and semantics; its weights are shared.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.heads: int = network.config["num_heads"]
        self.patch: int = network.config["patch_size"]
        self.positions: Positions = {}

    def forward(self, x: Tensor, timestep: Tensor, semantics: Tensor) -> Tensor:
        """The velocity (N, 1, H, W).

        Args:
            x: (N, 4, H, W): noisy depth, then the picture in -0.5..0.5.
            timestep: () or (N,) in 0..1000.
            semantics: (N, T, C), of any length each.
        """
        network: Any = self.network
        rows, columns = (side // (2 * self.patch) for side in x.shape[-2:])
        inlet = network.patch_embed
        tokens = F.conv2d(x, inlet.weight, inlet.bias, inlet.stride).flatten(2).transpose(1, 2)
        time = self._time(timestep.reshape(-1))
        grid = (rows, columns)
        for number, block in enumerate(network.blocks):
            tokens = self._block(block, tokens, time, grid)
            if number == len(network.blocks) // 2 - 1:
                tokens = self._fuse(tokens, semantics, rows, columns)
                grid = (2 * rows, 2 * columns)
        shift, scale = _linear(network.norm_out, F.silu(time)).chunk(2, -1)
        tokens = _linear(network.proj_out, _modulate(tokens, shift, scale))
        tokens = tokens.reshape(len(x), *grid, self.patch, self.patch, -1)
        return torch.einsum("nhwpqc->nchpwq", tokens).reshape(len(x), -1, *x.shape[-2:])

    def sample(self, image: Tensor, semantics: Tensor, noise: Tensor, steps: int = 4) -> Tensor:
        """Relative depth (N, 1, H, W) of pictures in 0..1, by Euler steps from noise in float32."""
        grid = torch.arange(TIMESTEPS, -1, -(TIMESTEPS + 1) / steps, device=image.device)
        grid = grid[:steps].round().int()
        state, condition = noise, image - 0.5
        for timestep in grid:
            velocity = self.forward(torch.cat([state, condition], 1), timestep, semantics).float()
            index = int(grid.eq(timestep).nonzero())
            after = grid[index + 1] if index + 1 < len(grid) else torch.zeros_like(timestep)
            state = state + (after - timestep) / TIMESTEPS * velocity
        return state + 0.5

    def _time(self, timestep: Tensor) -> Tensor:
        half = torch.arange(128, dtype=torch.float32)
        rates = torch.exp(-torch.log(torch.tensor(10000.0)) * half / 128).to(timestep.device)
        angles = timestep[:, None].float() * rates[None]
        embedded = torch.cat([angles.cos(), angles.sin()], -1)
        layers = self.network.time_embed
        return _linear(layers.linear_2, F.silu(_linear(layers.linear_1, embedded)))

    def _fuse(self, tokens: Tensor, semantics: Tensor, rows: int, columns: int) -> Tensor:
        unit = F.normalize(semantics, dim=-1, eps=1e-12)
        first, _, second, _, third = self.network.fusion
        y = F.silu(_linear(first, torch.cat([tokens, unit], -1)))
        y = _linear(third, F.silu(_linear(second, y)))
        y = y.reshape(len(y), rows, columns, 2, 2, -1)
        return torch.einsum("nhwabc->nhawbc", y).reshape(len(y), 4 * rows * columns, -1)

    def _block(self, block: Any, x: Tensor, time: Tensor, grid: tuple[int, int]) -> Tensor:
        parts = _linear(block.modulation, F.silu(time)).chunk(6, -1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        attended = self._attend(block.attn, _modulate(x, shift1, scale1), grid)
        x = x + gate1[:, None] * attended
        hidden = F.gelu(_linear(block.mlp.inner, _modulate(x, shift2, scale2)), approximate="tanh")
        return x + gate2[:, None] * _linear(block.mlp.outer, hidden)

    def _attend(self, attention: Any, x: Tensor, grid: tuple[int, int]) -> Tensor:
        n, count, width = x.shape
        whole = _linear(attention.to_qkv, x).reshape(n, count, 3, self.heads, width // self.heads)
        q, k, v = whole.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = (_norm(layer, y) for layer, y in ((attention.norm_q, q), (attention.norm_k, k)))
        positions = self._positions(grid, x.device).expand(n, -1, -1).clone()
        theta = self.network.config["rope_theta"]
        q, k = _rotary(q, positions, theta), _rotary(k, positions, theta)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return _linear(attention.to_out, y.transpose(1, 2).reshape(n, count, width))

    def _positions(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """(1, tokens, 2) of (row, column): kept by the grid's size."""
        if grid not in self.positions:
            axes = (torch.arange(side, device=device) for side in grid)
            self.positions[grid] = torch.cartesian_prod(*axes)[None]
        return self.positions[grid]


def _linear(layer: Any, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def _norm(layer: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, layer.eps)


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


def _rotary(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """(N, heads, tokens, d), each half turned by its coordinate; angles are in x's type, as theirs are."""
    by_row, by_column = x.chunk(2, -1)
    width = by_row.shape[-1]
    rates = 1.0 / theta ** (torch.arange(0, width, 2, device=x.device).float() / width)
    indices = torch.arange(int(positions.max()) + 1, device=x.device).float()
    angles = torch.einsum("i,j->ij", indices, rates).to(x.dtype)
    angles = torch.cat([angles, angles], -1)
    cos, sin = angles.cos(), angles.sin()
    by_row = _turn(by_row, positions[..., 0], cos, sin)
    return torch.cat([by_row, _turn(by_column, positions[..., 1], cos, sin)], -1)


def _turn(x: Tensor, positions: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    turned = torch.cat([-second, first], -1)
    return x * F.embedding(positions, cos)[:, None] + turned * F.embedding(positions, sin)[:, None]
