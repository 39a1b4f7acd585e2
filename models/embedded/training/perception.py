"""Recipe of the critic and the judge: rendered pictures in, boxes and attributes out.

The two never share a picture: each has its own seed, and so its own world. Both also see what an autoencoder
makes of a picture once there is one, for what they will be asked to read is painted, not rendered. Of a class
with several drawings the critic sees those for training, as the painter does; the judge sees all of them.
Both see every pair of a colour and a shape: what a painter makes of one that it never saw is theirs to read.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diorama.drawings import Split
from diorama.truth import Seen
from diorama.vocabulary import load_vocabulary
from models.embedded.perception import (
    ATTRIBUTES,
    GRID,
    Perceiver,
    PerceptionConfig,
    PerceptionNetwork,
    load_perceiver,
    save_perceiver,
)
from models.embedded.profiles import CRITIC, JUDGE, ProfileName, perception_config
from models.embedded.training.accuracy import score_perceptions
from models.embedded.training.crew import Crew
from models.embedded.training.loop import (
    IGNORED,
    ForeignTraining,
    Losses,
    Training,
    generator,
    mean_cross_entropy,
    optimisers,
    schedule,
    torch_generator,
)
from models.embedded.training.precision import mixed
from models.embedded.training.stream import Pictures, PictureStream, augment
from models.embedded.training.taught import words_of

SEEDS = {"critic": 101, "judge": 202}
"""Seeds of the two training draws; measuring uses seeds of its own."""
SPLITS: dict[str, tuple[Split, ...]] = {"critic": ("train",), "judge": ("train", "held_out")}
"""The drawings that each of the two learns from."""
HELD_OUT_SEED = 909
ECHOES, KEPT = 2, 150
"""Where an accelerator learns faster than a crew renders, a batch is followed by others of the last `KEPT`,
noised and blurred anew (data echoing, arXiv 1907.05550), so that there are `ECHOES` steps to each.
"""

Degrade = Callable[[Tensor], Tensor]
"""uint8 pictures (N, 3, S, S) to what an autoencoder or a painter would make of them."""


def train(
    part: Literal["critic", "judge"],
    profile: ProfileName,
    out: Path,
    *,
    start: Path | None = None,
    steps: int | None = None,
    stop_at: int | None = None,
    resume: bool = True,
    device: str = "cpu",
    degrade: Degrade | None = None,
    vocabulary: str | None = None,
    crew: int = 0,
    minutes: float | None = None,
) -> Path:
    """Train one perception network and save it in `out`; returns the folder.

    Args:
        part: which of the two.
        profile: size and length.
        out: receives training.pt, log.jsonl, config.json and model.safetensors or its shards.
        start: the folder of a trained one, of this size and these words, to go on from.
        steps: overrides the profile's length.
        stop_at: pause after this step; nothing but the checkpoint is written then.
        resume: go on from `out/training.pt` if it is there.
        device: "cpu" or "cuda:0".
        degrade: makes reconstructions; a third of every batch goes through it.
        vocabulary: sub-vocabulary of the world (None: the profile's own).
        crew: how many processes render, on CPUs, ahead of the training (0: it renders itself, on `device`).
        minutes: end after so long instead of after so many steps.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignTraining: `out` holds the training of something else, or `start` is no network of these sizes
            and words.
    """
    recipe = (CRITIC if part == "critic" else JUDGE)[profile]
    length = steps or recipe.steps
    words = load_vocabulary(vocabulary or recipe.vocabulary)
    config = perception_config(part, recipe, words_of(words))
    torch.manual_seed(SEEDS[part])
    network = (PerceptionNetwork(config) if start is None else _go_on_from(start, config)).to(device)
    training = Training(network, optimisers(network, recipe.rate), out, decay=0.995, clip=5.0)
    if resume:
        training.resume()
    stream = PictureStream(
        words, SEEDS[part], device="cpu" if crew else device, splits=SPLITS[part], every_pair=True
    )
    held_out = PictureStream(words, HELD_OUT_SEED, device=stream.device, splits=SPLITS[part], every_pair=True)
    looked_at = cache(lambda: held_out.batch(0, 4 * recipe.batch))
    crewed = Crew(TaughtBatches(config, stream, recipe.batch), crew)
    kept: deque[tuple[Tensor, dict[str, Tensor]]] = deque(maxlen=KEPT)

    def draw(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        number, again = divmod(step, ECHOES if crew else 1)
        if not again or not kept:
            rgb, wanted = crewed(number)
            kept.append((rgb.to(device), {name: value.to(device) for name, value in wanted.items()}))
            return kept[-1]
        return kept[int(generator(SEEDS[part], step, 2).integers(len(kept)))]

    def loss_at(step: int) -> Losses:
        rgb, wanted = draw(step)
        if degrade is not None:
            third = len(rgb) // 3
            with mixed(device):
                degraded = degrade(rgb[:third])
            rgb = torch.cat([degraded, rgb[third:]])
        pictures = augment(rgb, torch_generator(SEEDS[part], step, 1, device))
        with mixed(device):
            maps = network(pictures)
        maps = {name: value.float() for name, value in maps.items()}
        return losses(config, network, maps, wanted)

    def look(_step: int) -> Mapping[str, float]:
        copy = PerceptionNetwork(config)
        copy.load_state_dict({name: value.cpu() for name, value in training.average.state.items()})
        batch = looked_at()
        return score_perceptions(Perceiver(copy, device).perceive_tensor(batch.rgb), batch.seen).headline

    with crewed:
        training.run(
            min(length, stop_at or length),
            loss_at,
            rate_at=lambda step: schedule(step, length),
            minutes=minutes,
            every=min(200, length),
            look=look,
            look_every=min(200, length) * (5 if crew else 1),
        )
    if not training.ended(length, minutes):
        return out
    training.load_average()
    save_perceiver(network, out)
    return out


def _go_on_from(folder: Path, config: PerceptionConfig) -> PerceptionNetwork:
    try:
        network = load_perceiver(folder).network
    except (FileNotFoundError, ValueError) as error:
        raise ForeignTraining(f"{folder} holds no trained critic or judge: name one with --start") from error
    if network.config != config:
        raise ForeignTraining(
            f"{folder} holds a network of other sizes or words than the profile and vocabulary ask for: "
            f"{network.config.architecture}, {network.config.width} wide, with {len(network.config.shapes)} "
            "shapes; choose the profile and vocabulary that it was trained with, or begin without --start"
        )
    return network.train()


@dataclass(frozen=True, slots=True)
class TaughtBatches:
    """Batch after batch of a stream: pictures uint8 (N, 3, S, S), and what the heads should say of them."""

    config: PerceptionConfig
    stream: PictureStream
    size: int

    def __call__(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Batch `number`."""
        batch = self.stream.batch(number * self.size, self.size)
        return batch.rgb, targets(self.config, batch, str(batch.rgb.device))


def targets(config: PerceptionConfig, batch: Pictures, device: str) -> dict[str, Tensor]:
    """What the heads should say.

    Returns:
        presence (N, 16, 16): a Gaussian bump at each centre for the centre detector, 0 or 1 for voting cells;
        cells (M, 3): picture, row and column of every cell that predicts a thing; and per such cell box (M,
        4) as corners in fractions, distance (M,) as a logarithm, and a class index (M,) per attribute;
        setting (N,). A class index is IGNORED where no word of the configuration names the thing's look.
    """
    count = len(batch.seen)
    presence = torch.zeros(count, GRID, GRID)
    cells: list[tuple[int, int, int]] = []
    things: list[Seen] = []
    steps = torch.arange(GRID) + 0.5
    centres = (steps / GRID * batch.ids.shape[-1]).long()
    grid_ids = batch.ids.cpu()[:, centres][:, :, centres]
    for picture, scene in enumerate(batch.seen):
        for index, thing in enumerate(scene):
            left, top, right, bottom = thing.box
            x, y = (left + right) / 2 * GRID, (top + bottom) / 2 * GRID
            column, row = min(GRID - 1, max(0, int(x))), min(GRID - 1, max(0, int(y)))
            if config.architecture == "centre":
                sigma_x, sigma_y = max(0.5, (right - left) * GRID / 6), max(0.5, (bottom - top) * GRID / 6)
                bump = torch.exp(
                    -(((steps - 0.5 - column) / sigma_x) ** 2)[None, :] / 2
                    - (((steps - 0.5 - row) / sigma_y) ** 2)[:, None] / 2
                )
                presence[picture] = torch.maximum(presence[picture], bump)
                cells.append((picture, row, column))
                things.append(thing)
            else:
                own = (grid_ids[picture] == index).nonzero().tolist() or [[row, column]]
                for cell_row, cell_column in own:
                    presence[picture, cell_row, cell_column] = 1.0
                    cells.append((picture, cell_row, cell_column))
                    things.append(thing)
    result = {
        "presence": presence,
        "cells": torch.tensor(cells, dtype=torch.long).reshape(-1, 3),
        "box": torch.tensor([thing.box for thing in things]).reshape(-1, 4),
        "distance": torch.tensor([thing.distance for thing in things]).log(),
        "setting": torch.tensor([config.settings.index(scene.setting) for scene in batch.scenes]),
    }
    for name in ATTRIBUTES:
        index = {word: i for i, word in enumerate(config.names(name))}
        classes = [index.get(getattr(thing, name), IGNORED) for thing in things]
        result[name] = torch.tensor(classes, dtype=torch.long)
    return {name: value.to(device) for name, value in result.items()}


def losses(
    config: PerceptionConfig, network: PerceptionNetwork, maps: dict[str, Tensor], wanted: dict[str, Tensor]
) -> Losses:
    """Penalty-reduced focal loss for presence, cross-entropy for classes, smooth L1 for box and distance."""
    picture, row, column = wanted["cells"].unbind(1)
    scale = 20.0
    logits = maps["presence"][:, 0]
    result = {"presence": _focal(logits, wanted["presence"]) / max(1, len(wanted["presence"])) * 0.5}
    boxes = network.boxes(maps["box"])[picture, :, row, column]
    result["box"] = F.smooth_l1_loss(boxes * scale, wanted["box"] * scale, beta=0.2)
    result["distance"] = 2 * F.smooth_l1_loss(
        maps["distance"][picture, 0, row, column], wanted["distance"], beta=0.05
    )
    for name in ATTRIBUTES:
        logits = maps[name][picture, :, row, column]
        result[name] = mean_cross_entropy(logits, wanted[name])
    result["setting"] = 0.3 * F.cross_entropy(maps["setting"], wanted["setting"])
    return result


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """CenterNet's focal loss (alpha 2, beta 4), summed; cells that are wholly present count as positive."""
    chance = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = wanted > 0.999
    gain = torch.where(
        positive,
        (1 - chance) ** 2 * chance.log(),
        (1 - wanted) ** 4 * chance**2 * (1 - chance).log(),
    )
    return -gain.sum()
