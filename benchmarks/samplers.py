"""Ways of sampling from one painter: what is right, how near the pictures come to real ones, and time.

    python -m benchmarks.samplers PAINTER 16:3 24:3 16:2 12:3:kept [--count 20]

A way is STEPS:GUIDANCE, with fresh noise in each step or, with `:kept`, without. All ways paint the same
held-out prompts with the same seeds, `count` of each family in GenEval's own wording, less those that the
world has no room for. Right is what shows exactly what was asked, by the judge. The distance is the kernel
distance (arXiv 1801.01401, section 4) of the pictures to renders of the very same prompts, in the judge's
last features, times 1,000: 0 for pictures that it cannot tell apart. The first row, other renders of those
prompts, says what that looks like. Needs the sprite atlas (`make sprites`) where the painter's vocabulary has
names.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from diorama.families import Case, available_families, cases
from diorama.place import Unplaceable, complete
from diorama.render import render
from diorama.scene import Scene
from diorama.vocabulary import Vocabulary, load_vocabulary
from models.backends import WEIGHTS
from models.embedded.painter import load_painter
from models.embedded.perception import Perceiver, load_perceiver, stack_pictures
from models.embedded.training.measure import paint_cases
from models.embedded.training.painters_world import ARTIST
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.samples import score_pictures
from models.step_noise import own_noise
from models.threads import fixed_threads

SEED = 9011
BATCH = 32
TRIES = 64
"""At places for a case's things."""


class Way(NamedTuple):
    """How pictures are sampled."""

    steps: int
    guidance: float
    fresh: bool

    def __str__(self) -> str:
        return f"{self.steps} steps, guidance {self.guidance:g}" + ("" if self.fresh else ", noise kept")


def read_way(text: str) -> Way:
    """A way as the command takes it.

    Raises:
        ValueError: it is not STEPS:GUIDANCE, or that with `:kept`.
    """
    steps, guidance, *rest = text.split(":")
    if rest not in ([], ["kept"]):
        raise ValueError(f"{text!r} is not STEPS:GUIDANCE or STEPS:GUIDANCE:kept, as 16:3 is")
    return Way(int(steps), float(guidance), not rest)


def kernel_distance(ours: Tensor, theirs: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of features (N, D) and (M, D) under the cubic kernel of
    arXiv 1801.01401; 0 on average where both are drawn from one distribution.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        same = kernel(a, a)
        return (same.sum() - same.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(ours) + within(theirs) - 2 * kernel(ours, theirs).mean())


@torch.inference_mode()
def read_features(judge: Perceiver, pictures: Tensor) -> Tensor:
    """The judge's last features of uint8 pictures (N, 3, 128, 128) as (N, 2 * width): their mean over the
    picture, and their largest values.
    """
    found: list[Tensor] = []
    for start in range(0, len(pictures), BATCH):
        maps = judge.network.backbone(pictures[start : start + BATCH].float() / 127.5 - 1)
        found.append(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
    return torch.cat(found).double()


def place(case: Case, words: Vocabulary, rng: np.random.Generator) -> tuple[Scene, Scene] | None:
    """Two scenes that show the case, or None where the world has no room for it."""
    found: list[Scene] = []
    for _ in range(TRIES):
        try:
            found.append(complete(case.graph, rng, words, artist=ARTIST))  # as the painter was taught
        except Unplaceable:
            continue
        if len(found) == 2:
            return found[0], found[1]
    return None


def draw_cases(words: Vocabulary, count: int, seed: int) -> list[tuple[Case, tuple[Scene, Scene]]]:
    """`count` held-out cases of each family with two scenes that show each, less those without room."""
    families = available_families(words)
    drawn = [case for family in families for case in cases("heldout", [family], count, seed, words)]
    rng = np.random.default_rng(seed)
    return [(case, scenes) for case in drawn if (scenes := place(case, words, rng)) is not None]


def render_all(scenes: Sequence[Scene]) -> Tensor:
    """uint8 (N, 3, 128, 128)."""
    parts = [scenes[start : start + BATCH] for start in range(0, len(scenes), BATCH)]
    return torch.cat([render(part, truth=False).rgb for part in parts])


class Real:
    """Renders as the judge sees them: what the distance of other pictures is measured to."""

    def __init__(self, judge: Perceiver, pictures: Tensor) -> None:
        self._judge = judge
        features = read_features(judge, pictures)
        self._mean, self._spread = features.mean(0), features.std(0) + 1e-6
        self._features = self._scale(features)

    def distance(self, pictures: Tensor) -> float:
        """The kernel distance of pictures, uint8 (N, 3, 128, 128), to the renders, times 1,000."""
        return 1000 * kernel_distance(self._scale(read_features(self._judge, pictures)), self._features)

    def _scale(self, features: Tensor) -> Tensor:
        return (features - self._mean) / self._spread


def compare(folder: Path, ways: Sequence[Way], judge: Path, count: int) -> Table:
    """A row for other renders, and one per way.

    Raises:
        LacksWords: nothing beside the painter says which words it was taught.
        ArtError: its vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    words, pipeline = load_vocabulary(find_vocabulary(folder)), load_painter(folder)
    eyes = load_perceiver(judge)
    families = available_families(words)
    placed = draw_cases(words, count, SEED)
    asked = [case for case, _ in placed]
    real = Real(eyes, render_all([scenes[0] for _, scenes in placed]))
    table = Table("way", *families, "mean", "distance", "s a picture")

    def add(name: str, pictures: Tensor, seconds: str) -> None:
        right = score_pictures(asked, eyes.perceive_tensor(pictures))
        shares = [f"{right[key]['strict']:.2f}" for key in families]
        mean, distance = right["mean"]["strict"], real.distance(pictures)
        table.add_row(name, *shares, f"{mean:.3f}", f"{distance:.1f}", seconds)

    add("rendered", render_all([scenes[1] for _, scenes in placed]), "")
    for way in track(ways, str(folder), console=Console(stderr=True)):
        _sample_so(pipeline, way)
        began = time.perf_counter()
        pictures = paint_cases(pipeline, asked, "canonical", SEED, way.steps, way.guidance)
        seconds = (time.perf_counter() - began) / len(asked)
        add(str(way), stack_pictures(pictures), f"{seconds:.2f}")
    return table


def _sample_so(pipeline: Any, way: Way) -> None:
    own = pipeline.scheduler
    pipeline.scheduler = own.from_config(own.config, stochastic_sampling=way.fresh)
    own_noise(pipeline)


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("painter", type=Path)
    parser.add_argument("ways", type=read_way, nargs="+", metavar="STEPS:GUIDANCE")
    parser.add_argument("--judge", type=Path, default=WEIGHTS / "judge")
    parser.add_argument("--count", type=int, default=20)
    asked = parser.parse_args(arguments)
    with fixed_threads(1):
        Console(width=160).print(compare(asked.painter, asked.ways, asked.judge, asked.count))


if __name__ == "__main__":
    main()
