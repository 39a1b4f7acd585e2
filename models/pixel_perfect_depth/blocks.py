"""The transformer block of the depth networks, image and video: adaLN-Zero around attention and an MLP.

Source: official code (`dit.py`), DiT (arXiv 2212.09748) for adaLN-Zero. Knows nothing of grids and pictures.

Without gradients, on a CPU, the same sums go faster ways (`product`, `attend`, `modulated`): torch's own take
MKL, which has half the speed of oneDNN on AMD's processors. `benchmarks/depth_speed.py` measures the gain.
Where gradients are wanted the layers are plain ones.
"""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pixel_perfect_depth.rotary import Rotation, rotate

NORM_EPS = 1e-6
SCORES = 2**20
"""Attention scores that are held at a time, so that they stay in a core's cache."""
LONG = 512
"""Tokens from which `attend` is faster than torch's attention."""
ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""What torch.compile takes for linear layers on CPUs; None in a torch that was built without oneDNN."""


def direct(x: Tensor) -> bool:
    """Whether x is computed with on a CPU as it stands: no gradients, no autocast, no compiler."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x weight^T + bias; float32 by oneDNN where it may be (bfloat16 goes there by itself)."""
    if ONEDNN is None or not x.dtype == weight.dtype == torch.float32 or not direct(x):
        return F.linear(x, weight, bias)
    # A weight that is a slice of another would take a kernel that is slower by orders of magnitude.
    return ONEDNN(x, weight.contiguous(), bias, "none", [], "")


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(head dim)) v, all (N, heads, tokens, head dim).

    Some rows at a time, scores in float32 whatever v's type, as torch's own attention keeps them.
    """
    n, heads, tokens, width = q.shape
    if ONEDNN is None or tokens < LONG or not direct(q):
        return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
    q, k = q.float() * width**-0.5, k.float()
    y = v.new_empty(n, tokens, heads, width).transpose(1, 2)
    rows = max(16, SCORES // tokens)
    for picture, head in itertools.product(range(n), range(heads)):
        keys, values = k[picture, head], v[picture, head].T.contiguous()
        for start in range(0, tokens, rows):
            part = slice(start, start + rows)
            shares = product(q[picture, head, part], keys).softmax(-1).to(v.dtype)
            y[picture, head, part] = product(shares, values)
    return y


class Linear(nn.Linear):
    """A linear layer of many rows; see `product`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return product(input, self.weight, self.bias)


class PPDAttention(nn.Module):
    """Self-attention with normalised queries and keys; rotated where a table is given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = Linear(width, 3 * width)
        self.norm_q = nn.LayerNorm(width // heads)
        self.norm_k = nn.LayerNorm(width // heads)
        self.to_out = Linear(width, width)

    def forward(self, x: Tensor, table: Rotation | None = None) -> Tensor:
        """(N, tokens, width) to the same."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.norm_q(q), self.norm_k(k)
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        y = attend(q, k, v)
        return self.to_out(y.transpose(1, 2).flatten(2))


class PPDFeedForward(nn.Module):
    """Linear, GELU (tanh), linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = Linear(width, hidden)
        self.outer = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) to the same."""
        return self.outer(F.gelu(self.inner(x), approximate="tanh"))


class PPDBlock(nn.Module):
    """x + g1 Attn(LN(x) (1 + a1) + b1), then x + g2 MLP(LN(x) (1 + a2) + b2)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = PPDAttention(width, heads)
        self.mlp = PPDFeedForward(width, int(width * mlp_ratio))
        self.modulation = nn.Linear(width, 6 * width)

    def modulate(self, time: Tensor) -> Tensor:
        """(N, 1, 6 * width): shift, scale, gate of attention, then of the MLP, for SiLU(time) (N, width)."""
        return self.modulation(time)[:, None]

    def forward(self, x: Tensor, modulation: Tensor, table: Rotation | None = None) -> Tensor:
        """(N, tokens, width) to the same. `modulation` may be one row for the whole batch."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, -1)
        x = x + gate1 * self.attn(modulated(x, shift1, scale1), table)
        return x + gate2 * self.mlp(modulated(x, shift2, scale2))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LN(x) (1 + scale) + shift; the norm has no weights of its own, so one row can be them."""
    if shift.numel() == x.shape[-1] and not torch.is_grad_enabled():
        return F.layer_norm(x, x.shape[-1:], 1 + scale.flatten(), shift.flatten(), NORM_EPS)
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS) * (1 + scale) + shift


def unit(semantics: Tensor) -> Tensor:
    """Semantic tokens (N, tokens, channels) divided by their lengths.

    Training is unstable without it (paper, ablations).
    """
    return F.normalize(semantics.float(), dim=-1, eps=1e-12).to(semantics.dtype)


def start_like_the_paper(network: nn.Module) -> None:
    """Xavier-uniform matrices, zero biases; the caller zeroes modulations and outlet (adaLN-Zero)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.data.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def zero(layer: nn.Linear) -> None:
    """All weights and biases to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def unshuffle(x: Tensor, rows: int, columns: int) -> Tensor:
    """Coarse tokens (N, rows * columns, 4 D) to fine ones (N, 4 * rows * columns, D), row-major.

    Token (i, j) holds the fine tokens (2i + a, 2j + b), with a, then b slowest and channels fastest.
    """
    n, _, width = x.shape
    x = x.view(n, rows, columns, 2, 2, width // 4).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 4 * rows * columns, width // 4)


def unpatchify(x: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """Tokens (N, rows * columns, patch * patch * channels) to pictures (N, channels, H, W)."""
    n, _, values = x.shape
    x = x.view(n, rows, columns, patch, patch, values // patch**2).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(n, -1, rows * patch, columns * patch)


def sinusoid(timestep: Tensor) -> Tensor:
    """Timesteps (N,) in 0..1000 to (N, 256): cosines first, float32."""
    rates = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(128, dtype=torch.float32) / 128).to(
        timestep.device
    )
    angles = timestep.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)
