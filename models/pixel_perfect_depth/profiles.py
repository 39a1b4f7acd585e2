"""Sizes and lengths of the depth networks that are trained here. The official size is the network's defaults.

`tiny` is for tests, `cpu` for two cores, `gpu` for one H100.
"""

from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["tiny", "cpu", "gpu"]
Variant = Literal["full", "plain", "flat", "direct", "latent"]
"""What a network is trained as: the method itself ("full"); without semantics ("plain"); without cascade,
all tokens fine ("flat"); regressing depth in one pass ("direct"); painting latents of an autoencoder
("latent")."""
VARIANTS: tuple[Variant, ...] = ("full", "plain", "flat", "direct", "latent")


@dataclass(frozen=True, slots=True)
class DepthProfile:
    """A network's sizes, the world that it sees, and how long it is trained.

    The last `second` share of the steps is the paper's second stage, with the gradient loss; the learning
    rate falls during it. `scenes` pictures are rendered once.

    A coarse token must be at least as wide as it has pixels, better as it has values: its noise has to pass
    through. With 128 channels for 16 x 16 pixels the velocity's error stood still at .51.
    """

    vocabulary: str
    width: int
    layers: int
    coarse: int
    heads: int
    patch: int
    scenes: int
    steps: int
    batch: int
    second: float = 0.4
    rate: float = 1e-3
    muon_rate: float = 3e-3


DEPTH: dict[ProfileName, DepthProfile] = {
    "tiny": DepthProfile("tiny", 64, 2, 1, 2, 4, scenes=16, steps=12, batch=4),
    "cpu": DepthProfile("cpu_names", 128, 8, 5, 2, 4, scenes=12_000, steps=1_600, batch=8),
    "gpu": DepthProfile("full", 256, 12, 6, 4, 4, scenes=200_000, steps=40_000, batch=128),
}
