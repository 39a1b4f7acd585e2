"""Endless rendered pictures with their truth, deterministic from (seed, index)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diorama.atlas import check_art
from diorama.drawings import Split
from diorama.draws import Family
from diorama.graph import SceneGraph
from diorama.place import Unplaceable, complete
from diorama.render import render, seen
from diorama.scene import Scene
from diorama.truth import Seen
from diorama.vocabulary import Vocabulary
from diorama.world import World
from models.embedded.training.loop import normal, uniform


@dataclass(frozen=True, slots=True)
class Pictures:
    """A rendered batch: `rgb` uint8 (N, 3, S, S), `ids` int16 (N, S, S) with -1 for background, and its
    truth.

    `indices` are the world's entries that the pictures show: captions belong to them.
    """

    scenes: list[Scene]
    graphs: list[SceneGraph]
    indices: list[int]
    rgb: Tensor
    ids: Tensor
    seen: list[list[Seen]]


class PictureStream:
    """Scenes of a world, drawn and rendered on demand.

    Index i always gives the same scene; where its graph cannot be placed, another entry's, far away.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        seed: int,
        weights: Mapping[Family, float] | None = None,
        device: str = "cpu",
        splits: Sequence[Split] = ("train",),
        every_pair: bool = False,
        artist: str | None = None,
    ) -> None:
        """Prepare the stream.

        Args:
            vocabulary: the words of the world.
            seed: another seed is another world.
            weights: relative shares of the families (None: the world's own).
            device: where pictures are rendered, "cpu" or "cuda:0".
            splits: which drawings cut-outs show. Painter, critic and autoencoder learn from "train" alone;
                a judge, which must not share their habits, from "train" and "held_out". Solids and composites
                have no drawings and look the same in all.
            every_pair: show the pairs of colours and shapes too that a painter never sees; see `World`.
            artist: show one drawing of each class, by this source where it has one, and never mirrored.

        Raises:
            ArtError: the vocabulary has cut-outs, and the sprite atlas is missing, damaged or lacks one.
        """
        check_art(vocabulary)
        self.vocabulary = vocabulary
        self.seed = seed
        self.splits, self.artist = tuple(splits), artist
        self.device = device
        self.world = World(vocabulary, seed, split="train", weights=weights, every_pair=every_pair)

    def scene(self, index: int) -> tuple[Scene, SceneGraph, int]:
        """The scene at `index`, its graph, and the entry of the world that it shows: mostly `index`
        itself.
        """
        graph = self.world.graph(index)
        for attempt in range(8):
            try:
                rng = np.random.default_rng((self.seed, index, attempt))
                scene = complete(graph, rng, self.vocabulary, self.splits, self.artist)
                return scene, graph, index
            except Unplaceable:
                continue
        return self.scene(index + 2**40)

    def batch(self, start: int, count: int) -> Pictures:
        """Pictures `start` to `start + count`."""
        entries = [self.scene(index) for index in range(start, start + count)]
        scenes = [scene for scene, _, _ in entries]
        rendering = render(scenes, device=self.device)
        assert rendering.ids is not None
        return Pictures(
            scenes,
            [graph for _, graph, _ in entries],
            [index for _, _, index in entries],
            rendering.rgb,
            rendering.ids,
            seen(scenes, rendering),
        )


def augment(rgb: Tensor, generator: torch.Generator) -> Tensor:
    """Noise, blur and brightness on uint8 pictures (N, 3, S, S); gives floats in -1..1.

    A detector that only ever saw clean renders reads generated pictures badly (embedded_world: .975 against
    .82).
    """
    count = len(rgb)
    x = rgb.float() / 127.5 - 1

    def per_picture(low: float, high: float) -> Tensor:
        return (uniform(generator, count, 1, 1, 1) * (high - low) + low).to(rgb.device)

    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, per_picture(-0.4, 1.0))
    small = torch.nn.functional.avg_pool2d(x, 2)
    coarse = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    x = torch.where(per_picture(0, 1) < 0.25, coarse, x)
    x = x * per_picture(0.9, 1.1) + per_picture(-0.08, 0.08)
    noise = normal(generator, *x.shape).to(x.device)
    return (x + noise * per_picture(0, 0.08)).clamp(-1, 1)
