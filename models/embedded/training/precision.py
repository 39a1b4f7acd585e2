"""Where a network in training may compute in bf16, and where that pays."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def multiplies_bf16(device: str | torch.device) -> bool:
    """Whether a device has units for products in bf16. Cores without work them out number by number."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()  # pyright: ignore


@contextmanager
def mixed(device: str, *, long: bool = False) -> Generator[None]:
    """Autocast to bf16 where the device multiplies bf16 itself; elsewhere nothing changes.

    Weights, gradients and optimisers stay fp32. On a core with AVX512-BF16 matrix products are five times as
    fast, a critic's step twice and a painter's, compiled, 2.7 times; an older core would only be slower.

    `long` is for sequences of a thousand tokens: attention is fused then, and its matrix never written down
    (a depth network's step took 1.3 s instead of 2.3).
    """
    kind = torch.device(device).type
    if not multiplies_bf16(device):
        yield
        return
    with torch.autocast(kind, torch.bfloat16):
        if kind == "cuda":
            # Without cuDNN's kernel, which Hopper would prefer: compiled, its backward pass read memory that
            # was not its own (torch 2.11, H200).
            with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
                yield
            return
        if long:
            yield
            return
        # The fused kernel's backward pass is no faster in bf16: with plain products a painter's step took
        # 1.08 s instead of 1.45.
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            # Norms keep their fp32 weights, and torch says that it has no fused kernel for that.
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
            yield
