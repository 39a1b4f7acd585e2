"""The figures on the depth network's card: how far off its depths are, and whether what stands before what is
told rightly, beside what the critic guesses without it.

Every figure comes from scenes that no training saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import expm1
from typing import Any

import numpy as np
import torch

from diorama.draws import Family
from diorama.render import render, seen
from diorama.truth import APART, Seen
from diorama.vocabulary import load_vocabulary
from models.embedded.perception import Perceiver
from models.embedded.training.accuracy import find_things
from models.embedded.training.measure import MEASURE_SEED
from models.embedded.training.stream import PictureStream
from models.estimate_depth import DepthCard
from models.perception import Perception
from models.pixel_perfect_depth.alignment import AlignmentError, align
from models.pixel_perfect_depth.geometry import Intrinsics
from models.pixel_perfect_depth.metrics import depth_errors, edge_chamfer
from models.pixel_perfect_depth.regions import region_depths, within_picture


@dataclass(slots=True)
class DepthFigures:
    """What was measured; each list holds one value for a picture, or for a pair of things."""

    abs_rel: list[float] = field(default_factory=list[float])
    delta1: list[float] = field(default_factory=list[float])
    edges: list[float] = field(default_factory=list[float])
    unfit: int = 0
    """Pictures whose depth falls where the true one rises; they have no errors."""
    ordered: list[bool] = field(default_factory=list[bool])
    """Pairs more than `APART`: whether the nearer thing has the nearer depth."""
    guessed: list[bool] = field(default_factory=list[bool])
    """The same by the perception model's own distances."""
    placed: list[bool] = field(default_factory=list[bool])
    """All pairs: whether before, behind or neither is told rightly, by the measure of `APART`."""
    placed_guessed: list[bool] = field(default_factory=list[bool])
    unseen: int = 0
    """Pairs of which a thing was not found in the picture; they are in no list."""

    @property
    def headline(self) -> dict[str, float]:
        """Means, and how many pairs they are of."""
        lists = ("abs_rel", "delta1", "edges", "ordered", "guessed", "placed", "placed_guessed")
        means = {name: round(float(np.mean(getattr(self, name))), 4) for name in lists if getattr(self, name)}
        return means | {"pairs_apart": len(self.ordered), "pairs": len(self.placed), "unseen": self.unseen}


def measure_depth(
    pipeline: Any,
    card: DepthCard,
    perceiver: Perceiver,
    vocabulary: str,
    pictures: int,
    *,
    pairs: int | None = None,
    families: Mapping[Family, float] | None = None,
    steps: int | None = None,
    seed: int = MEASURE_SEED,
) -> DepthFigures:
    """Estimate depth of held-out renders, and find things in it by the perception model's boxes.

    Args:
        pipeline: the depth pipeline.
        card: whose scale and shift make distances of its depths.
        perceiver: finds the things.
        vocabulary: of the scenes.
        pictures: how many.
        pairs: stop when so many pairs of `ordered` are there (None: never).
        families: shares of the families that scenes are of (None: the world's). In those of "depth" things
            stand on the floor, one before the other; elsewhere some float, and only sizes and shadows tell.
        steps: denoising steps (None: the network's).
        seed: of the scenes.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    stream = PictureStream(load_vocabulary(vocabulary), seed, families)
    figures = DepthFigures()
    for start in range(0, pictures, 24):
        scenes = [stream.scene(index)[0] for index in range(start, min(start + 24, pictures))]
        rendering = render(scenes)
        assert rendering.depth is not None
        reports = perceiver.perceive_tensor(rendering.rgb)
        for number, (truth, report) in enumerate(zip(seen(scenes, rendering), reports, strict=True)):
            relative = _relative(pipeline, rendering.rgb[number], steps, start + number)
            focal = scenes[number].camera.focal * relative.shape[1]
            _judge_depth(figures, relative, rendering.depth[number].numpy(), focal)
            _judge_pairs(figures, relative, card, truth, report)
            if pairs is not None and len(figures.ordered) >= pairs:
                return figures
    return figures


def _relative(pipeline: Any, rgb: torch.Tensor, steps: int | None, seed: int) -> np.ndarray:
    noise = torch.randn(1, 1, *rgb.shape[-2:], generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return pipeline.denoise(rgb[None].float() / 255, noise, steps or pipeline.default_steps)[0, 0].numpy()


def _judge_depth(figures: DepthFigures, relative: np.ndarray, true: np.ndarray, focal: float) -> None:
    mask = np.ones(true.shape, bool)
    try:
        metric = align(relative, true).metric(relative).clip(1e-3)
    except AlignmentError:
        figures.unfit += 1
        return
    errors = depth_errors(metric, true, mask)
    figures.abs_rel.append(errors.abs_rel)
    figures.delta1.append(errors.delta1)
    side = true.shape[0] / 2
    try:
        figures.edges.append(edge_chamfer(metric, true, mask, Intrinsics(focal, focal, side, side)))
    except ValueError:
        return  # a scene without an edge has none to measure


def _judge_pairs(
    figures: DepthFigures, relative: np.ndarray, card: DepthCard, truth: list[Seen], report: Perception
) -> None:
    boxes = [within_picture(thing.box) for thing in report.things]
    depths = region_depths(relative, boxes)
    found = dict(find_things(report.things, truth)[0])
    for one, other in combinations(range(len(truth)), 2):
        if one not in found or other not in found:
            figures.unseen += 1
            continue
        a, b = found[one], found[other]
        apart = truth[one].distance - truth[other].distance
        measured = _metric(card, depths[a]) - _metric(card, depths[b])
        guessed = report.things[a].distance - report.things[b].distance
        figures.placed.append(_place(apart) == _place(measured))
        figures.placed_guessed.append(_place(apart) == _place(guessed))
        if _place(apart):
            figures.ordered.append((measured > 0) == (apart > 0))
            figures.guessed.append((guessed > 0) == (apart > 0))


def _metric(card: DepthCard, relative: float) -> float:
    return expm1(card.scale * relative + card.shift)


def _place(apart: float) -> int:
    """Before (-1), behind (1) or neither."""
    return 0 if abs(apart) <= APART else (1 if apart > 0 else -1)
