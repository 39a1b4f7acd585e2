"""Sizes and lengths of the embedded models per profile: `tiny` for tests, `cpu` for two cores, `gpu` for one
H100.

Every profile names the sub-vocabulary that it teaches. Weights that were trained before say in their own card
or configuration what they know: nothing that reads weights may take it from here.
"""

from dataclasses import dataclass
from typing import Literal

from models.embedded.perception import PerceptionConfig

ProfileName = Literal["tiny", "cpu", "gpu"]

TEXT_TOKENS = 40
"""Padded prompt length in words. Flux has no text mask: training and painting use exactly this length."""


@dataclass(frozen=True, slots=True)
class AutoencoderProfile:
    """`channels` are AutoencoderKL's block_out_channels; four blocks give f8. It sees a sub-vocabulary's
    world.
    """

    vocabulary: str
    channels: tuple[int, ...]
    steps: int
    batch: int
    rate: float = 1e-3
    muon_rate: float = 2e-3


@dataclass(frozen=True, slots=True)
class DecoderProfile:
    """The length of a training of an autoencoder's decoder alone; its widths are given by what it starts
    from.
    """

    vocabulary: str
    steps: int
    batch: int
    rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class PerceptionProfile:
    """The sub-vocabulary, width and depth of the backbone, and the length of its training."""

    vocabulary: str
    width: int
    depth: int
    steps: int
    batch: int
    rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class PainterProfile:
    """The Flux transformer's size, its text encoders' width, and the length of its training.

    `scenes` pictures are rendered and encoded once; every step draws from them with fresh captions and noise.
    Every `look_every` steps samples are painted for the log, `judged` of each family for the judge as well.
    """

    vocabulary: str
    heads: int
    double: int
    single: int
    text_width: int
    text_layers: int
    scenes: int
    text_steps: int
    steps: int
    batch: int
    rate: float = 1e-3
    muon_rate: float = 3e-3
    look_every: int = 1000
    judged: int = 8
    text_batch: int = 64


@dataclass(frozen=True, slots=True)
class GraderProfile:
    """The length of the training of a grader, which a painter is tuned by."""

    steps: int
    batch: int
    rate: float = 1.5e-3


@dataclass(frozen=True, slots=True)
class TuningProfile:
    """How a painter is tuned by its own pictures: `sampled` steps with `guidance` make one, `batch` of them a
    step, beside as many that keep the painter to the world. `graded`, `realism` and `kept` weigh the losses;
    `realism_rate` is that of the heads that tell painted from rendered.
    """

    grader: GraderProfile
    steps: int
    batch: int
    sampled: int = 8
    guidance: float = 5.0
    graded: float = 0.03
    realism: float = 0.1
    kept: float = 1.0
    rate: float = 2e-4
    realism_rate: float = 1e-3
    look_every: int = 100


@dataclass(frozen=True, slots=True)
class SharpeningProfile:
    """How a painter is sharpened: in a step, `batch` of its pictures are looked at, at different steps of a
    sampler of `sampled` with `guidance`, beside `kept` that keep it to the world. `missed` weighs what the
    eyes miss; they have to learn faster than the painter (`eyes_rate`, and `heads_rate` for their heads).
    """

    scenes: int
    steps: int
    batch: int
    kept: int
    sampled: int = 16
    guidance: float = 2.5
    missed: float = 0.2
    rate: float = 3e-5
    eyes_rate: float = 2e-4
    heads_rate: float = 1e-3
    decay: float = 0.99
    look_every: int = 100


AUTOENCODER: dict[ProfileName, AutoencoderProfile] = {
    "tiny": AutoencoderProfile("tiny", (8, 8, 16, 16), steps=30, batch=4),
    "cpu": AutoencoderProfile("cpu_names", (32, 64, 128, 192), steps=9000, batch=16),
    "gpu": AutoencoderProfile("full", (32, 64, 128, 192), steps=9000, batch=16),
}

DECODER: dict[ProfileName, DecoderProfile] = {
    "tiny": DecoderProfile("tiny", steps=20, batch=4),
    "cpu": DecoderProfile("cpu_names", steps=2500, batch=8),
    "gpu": DecoderProfile("full", steps=6000, batch=64),
}

CRITIC: dict[ProfileName, PerceptionProfile] = {
    "tiny": PerceptionProfile("tiny", 16, 1, steps=30, batch=8),
    "cpu": PerceptionProfile("cpu_names", 96, 3, steps=1500, batch=32, rate=2e-3),
    "gpu": PerceptionProfile("full", 128, 4, steps=6000, batch=128, rate=2e-3),
}

JUDGE: dict[ProfileName, PerceptionProfile] = {
    "tiny": PerceptionProfile("tiny", 16, 1, steps=30, batch=8),
    "cpu": PerceptionProfile("cpu_names", 96, 4, steps=1500, batch=32, rate=2e-3),
    "gpu": PerceptionProfile("full", 128, 6, steps=6000, batch=128, rate=2e-3),
}

PAINTER: dict[ProfileName, PainterProfile] = {
    "tiny": PainterProfile("tiny", 2, 1, 1, 32, 1, scenes=64, text_steps=10, steps=40, batch=8, judged=0),
    "cpu": PainterProfile(
        "cpu_names", 6, 2, 6, 128, 2, scenes=32_000, text_steps=3000, steps=6_000, batch=64
    ),
    "gpu": PainterProfile(
        "full",
        8,
        3,
        9,
        192,
        3,
        scenes=200_000,
        text_steps=2500,
        text_batch=256,
        steps=60_000,
        batch=1024,
        look_every=4000,
    ),
}

TUNING: dict[ProfileName, TuningProfile] = {
    "tiny": TuningProfile(GraderProfile(steps=20, batch=8), steps=3, batch=4, sampled=2),
    "cpu": TuningProfile(GraderProfile(steps=1500, batch=64), steps=700, batch=32),
    "gpu": TuningProfile(GraderProfile(steps=6000, batch=512), steps=1500, batch=256, look_every=400),
}

SHARPENING: dict[ProfileName, SharpeningProfile] = {
    "tiny": SharpeningProfile(scenes=64, steps=3, batch=4, kept=4, sampled=2),
    "cpu": SharpeningProfile(scenes=12_000, steps=600, batch=24, kept=16),
    "gpu": SharpeningProfile(scenes=200_000, steps=4000, batch=512, kept=512, look_every=400),
}


def vocabulary_for(part: str, profile: ProfileName) -> str:
    """What a profile teaches the "autoencoder", "decoder", "critic", "judge", "painter", "tuning" or
    "sharpening".
    """
    profiles = {
        "autoencoder": AUTOENCODER,
        "decoder": DECODER,
        "critic": CRITIC,
        "judge": JUDGE,
        "painter": PAINTER,
        "tuning": PAINTER,
        "sharpening": PAINTER,
    }
    return profiles[part][profile].vocabulary


def perception_config(
    part: Literal["critic", "judge"], profile: PerceptionProfile, words: dict[str, tuple[str, ...]]
) -> PerceptionConfig:
    """The configuration of one perception network over the given class names."""
    architecture = "centre" if part == "critic" else "votes"
    return PerceptionConfig(architecture=architecture, width=profile.width, depth=profile.depth, **words)
