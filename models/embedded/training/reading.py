"""The first phase of a painter's training: its encoders learn to read, on prompts alone (see `text`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, T5EncoderModel

from diorama.world import World
from models.embedded.profiles import PainterProfile
from models.embedded.training.captions import CANONICAL, WORDINGS, Captions
from models.embedded.training.crew import Crew
from models.embedded.training.loop import Losses, Training, generator, optimisers, schedule
from models.embedded.training.painters_world import SEED
from models.embedded.training.text import TextReader, said_targets


class Reading(Protocol):
    """What learns here."""

    text_encoder: T5EncoderModel
    pooled_encoder: CLIPTextModel
    reader: TextReader

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `PainterTraining.read`."""
        ...


def draw_reading(world: World, rng: np.random.Generator, count: int) -> list[int]:
    """Entries of which the first three fifths are about several kinds of things: only those have anything to
    bind.
    """
    found: list[int] = []
    while len(found) < count:
        index = int(rng.integers(2**40))
        if len(found) >= 0.6 * count or len(world.graph(index).groups) > 1:
            found.append(index)
    return found


@dataclass(frozen=True, slots=True)
class ReadingBatches:
    """Draw after draw of `size` prompts as ids, and their graphs as `said_targets`."""

    captions: Captions
    size: int

    def __call__(self, draw: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The prompts of one draw."""
        rng, world = generator(SEED, draw, 7), self.captions.world
        indices = draw_reading(world, rng, self.size)
        wordings = [0 if rng.random() < CANONICAL else int(rng.integers(1, WORDINGS)) for _ in indices]
        prompts = [world.prompt(i, w) for i, w in zip(indices, wordings, strict=True)]
        graphs = [world.graph(i) for i in indices]
        wanted = said_targets(graphs, world.vocabulary)
        return self.captions.encode(prompts), {name: value.to(torch.int8) for name, value in wanted.items()}


def learn_to_read(
    network: Reading,
    captions: Captions,
    recipe: PainterProfile,
    out: Path,
    resume: bool,
    crew: int = 0,
) -> None:
    """The text phase: encoders and reader on prompts alone."""

    class Readers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_encoder = network.text_encoder
            self.pooled_encoder = network.pooled_encoder
            self.reader = network.reader

    readers = Readers()
    training = Training(readers, optimisers(readers, recipe.rate), out, decay=0.99)
    if resume:
        training.resume()
    device = captions.device
    make = ReadingBatches(Captions(captions.world, captions.tokenizer, "cpu"), recipe.text_batch)

    def loss_at(draw: int) -> Losses:
        ids, wanted = crewed(draw)
        ids, wanted = ids.to(device), {name: value.to(device).long() for name, value in wanted.items()}
        states, pooled = network.read(ids)
        return network.reader(states, pooled, ids > 0, wanted)

    with Crew(make, -(-crew // 3)) as crewed:  # the others render
        training.run(
            recipe.text_steps,
            loss_at,
            rate_at=lambda step: schedule(step, recipe.text_steps),
            every=min(250, recipe.text_steps),
        )
    # The encoders are frozen next. Their last gradients would count in the norm by which all are clipped,
    # but not in a training that was stopped and goes on.
    readers.zero_grad(set_to_none=True)
