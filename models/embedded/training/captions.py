"""What the painter is told about a picture while it learns: what was asked for, and often more of what is
there.

A scene that was drawn for "a sphere left of a cone" shows some colours too. Noise hides shapes long before it
hides colours, so a painter that is told shapes and places alone learns places last: while it can still move a
thing it cannot see which one it is. Told that the red one is on the left, it can.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import hypot
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from diorama.draws import held_out_pairs
from diorama.families import word
from diorama.graph import Group, Predicate, Relation, SceneGraph
from diorama.vocabulary import Vocabulary
from diorama.wording import TRAINING_STYLES, say
from diorama.world import World
from models.embedded.profiles import TEXT_TOKENS
from models.embedded.training.loop import uniform

CANONICAL = 0.35
"""Share of captions in the canonical wording."""
EMPTY = 0.1
"""Share of captions that are dropped, so that classifier-free guidance has an unconditional model to start
from.
"""
WORDINGS = 64
"""Different wordings drawn per scene over a training."""
TELLING = 0.6
"""Share of the captions of two different things that tell more than was asked."""
CLEAR = 0.8
"""A place is told where this much of the way from one thing to the other goes in its direction."""

TOLD = 16
"""Captions drawn per scene where an accelerator would wait for fresh ones."""

Classes = NDArray[np.integer]
"""Per token of the painter's grid (8, 8) the index of a shape or colour; 255 where nothing stands."""


class Captions:
    """Token ids for entries of a world, with a fresh wording each time."""

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        self.world = world
        self.tokenizer = tokenizer
        self.device = device

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Prompts as ids (N, TEXT_TOKENS), cut only here: painting refuses what is too long."""
        ids = self.tokenizer(
            list(prompts), padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.device)  # pyright: ignore[reportAttributeAccessIssue]

    def draw(
        self,
        indices: Sequence[int],
        rng: np.random.Generator,
        shapes: Tensor | None = None,
        colours: Tensor | None = None,
        *,
        empty: float = EMPTY,
    ) -> list[str]:
        """One prompt per entry: canonical, some other wording, or nothing (a share `empty` of them).

        With `shapes` and `colours` (N, 8, 8), the classes that stand at the pictures' tokens, prompts for two
        different things often tell more than was asked.
        """
        kinds = rng.random(len(indices))
        wordings = rng.integers(1, WORDINGS, size=len(indices))
        tellings = rng.random(len(indices))
        # Once for all: from an accelerator every transfer waits for it.
        classes = None if shapes is None or colours is None else (shapes.cpu().numpy(), colours.cpu().numpy())
        prompts: list[str] = []
        for row, (index, kind, wording) in enumerate(zip(indices, kinds, wordings, strict=True)):
            number = 0 if kind < empty + CANONICAL else int(wording)
            if kind < empty:
                prompts.append("")
            elif classes is None or tellings[row] >= TELLING:
                prompts.append(self.world.prompt(index, number))
            else:
                prompts.append(self._tell(index, number, classes[0][row], classes[1][row]))
        return prompts

    def tell(self, rows: Mapping[str, Tensor], rng: np.random.Generator) -> Tensor:
        """int16 (N, TOLD, TEXT_TOKENS): captions of cached pictures as ids, none of them empty."""
        indices = rows["index"].tolist()
        drawn = [
            self.encode(self.draw(indices, rng, rows["shape"], rows["colour"], empty=0.0))
            for _ in range(TOLD)
        ]
        return torch.stack(drawn, 1).to(torch.int16)

    def of(
        self,
        rows: Mapping[str, Tensor],
        rng: np.random.Generator,
        noise: torch.Generator,
        *,
        empty: float = EMPTY,
    ) -> Tensor:
        """Ids (N, TEXT_TOKENS) of a caption of each cached picture, or of nothing (a share `empty` of them):
        one that was drawn with the picture, where some were, else a fresh one.
        """
        if "captions" in rows:
            return self.pick(rows["captions"], noise, empty=empty)
        return self.encode(self.draw(rows["index"].tolist(), rng, rows["shape"], rows["colour"], empty=empty))

    def pick(self, told: Tensor, noise: torch.Generator, *, empty: float = EMPTY) -> Tensor:
        """Ids (N, TEXT_TOKENS) of one of each picture's captions, `told` (N, K, TEXT_TOKENS), or of none."""
        n, k, _ = told.shape
        chosen = torch.randint(k, (n,), generator=noise, device=noise.device)
        ids = told[torch.arange(n, device=told.device), chosen.to(told.device)].long()
        silent = uniform(noise, n, 1).to(told.device) < empty
        return torch.where(silent, self._silence, ids)

    @cached_property
    def _silence(self) -> Tensor:
        return self.encode([""])

    def _tell(self, index: int, wording: int, shapes: Classes, colours: Classes) -> str:
        rng = Random(f"{self.world.seed}/told/{index}/{wording}")
        graph = tell_more(self.world.graph(index), shapes, colours, self.world.vocabulary, rng)
        return say(graph) if wording == 0 else word(graph, rng, TRAINING_STYLES)[1]


def tell_more(
    graph: SceneGraph, shapes: Classes, colours: Classes, words: Vocabulary, rng: Random
) -> SceneGraph:
    """`graph` with colours, or a place, or both, that it leaves open and its picture shows.

    Only two single things of different shapes are told more about, and no held-out pair is ever named.
    """
    if len(graph.groups) != 2 or any(group.count > 1 for group in graph.groups):
        return graph
    first, second = graph.groups
    places = [shapes == words.shape_names.index(group.shape) for group in graph.groups]
    if first.shape == second.shape or not all(place.any() for place in places):
        return graph
    what = rng.choice(("colours", "place", "both", "both"))
    groups, relations = graph.groups, graph.relations
    if what != "place":
        seen = [_name_colour(colours[place], words) for place in places]
        groups = tuple(_colour(group, colour, words) for group, colour in zip(groups, seen, strict=True))
    if what != "colours" and not relations and (predicate := _find_predicate(*places)):
        relations = (Relation(subject=0, predicate=predicate, object=1),)
    return graph.model_copy(update={"groups": groups, "relations": relations})


def _name_colour(classes: Classes, words: Vocabulary) -> str | None:
    """The colour of most tokens; None for a natural look, which has no word."""
    most = int(np.bincount(classes).argmax())
    return words.colour_names[most] if most < len(words.colours) else None


def _colour(group: Group, colour: str | None, words: Vocabulary) -> Group:
    if group.colour is not None or (colour, group.shape) in held_out_pairs(words):
        return group
    return group.model_copy(update={"colour": colour})


def _find_predicate(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Predicate | None:
    """How a stands to b in the picture, if it does so clearly."""
    down, right = (
        np.mean(here) - np.mean(there) for here, there in zip(a.nonzero(), b.nonzero(), strict=True)
    )
    length = hypot(down, right)
    if length < 1.5:
        return None
    if abs(right) >= CLEAR * length:
        return "left of" if right < 0 else "right of"
    if abs(down) >= CLEAR * length:
        return "above" if down < 0 else "below"
    return None
