"""An endless, reproducible stream of scene graphs and of prompts that say them.

Entry `index` of a world depends on (vocabulary, seed, split, weights, pairs, index) alone, so any worker can
make any entry. It knows nothing about rendering.
"""

from collections.abc import Mapping
from random import Random

from diorama.families import (
    FAMILIES,
    HELD_OUT_STYLE_SHARE,
    Family,
    Split,
    available_families,
    draw_graph,
    word,
)
from diorama.graph import SceneGraph
from diorama.vocabulary import Vocabulary
from diorama.wording import HELD_OUT_STYLES, TRAINING_STYLES, say

WEIGHTS: dict[Family, float] = {
    "single_object": 0.5,
    "two_object": 1.0,
    "counting": 1.5,
    "colors": 1.0,
    "position": 1.5,
    "depth": 0.75,
    "color_attr": 1.5,
    "patterns": 1.0,
    "dense": 1.0,
    "free": 3.0,
}
"""Shares of the families in training: more of what painters find hard."""

WORLD = 2
"""Which world this is: counted up when scenes begin to look otherwise, so that models of an earlier one see
or paint something else. 2: the camera comes near.
"""

SETTING_SHARE = 0.2
"""Share of the graphs of families without settings that are given one, so that every family learns them."""


class World:
    """The graphs and prompts of one split, by index."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        seed: int,
        split: Split = "train",
        weights: Mapping[Family, float] | None = None,
        every_pair: bool = False,
    ) -> None:
        """Prepare the stream.

        Args:
            vocabulary: the words to use.
            seed: another seed is another world.
            split: "train" never names held-out pairs, nor uses held-out styles.
            weights: relative shares of the families, in any order; None takes `WEIGHTS` for those that the
                vocabulary has.
            every_pair: draw every other graph as the held-out split's are drawn, so that all pairs of colours
                and shapes are shown: for models that look. Wordings stay those of `split`.

        Raises:
            ValueError: the vocabulary has too few words for a family in `weights`, or no weight is positive.
        """
        possible: tuple[Family, ...] = (*available_families(vocabulary), "free")
        if weights is None:
            weights = {family: WEIGHTS[family] for family in possible}
        if missing := [family for family, weight in weights.items() if weight > 0 and family not in possible]:
            raise ValueError(f"this vocabulary has too few words for the families {', '.join(missing)}")
        if sum(weights.values()) <= 0:
            raise ValueError(
                f"no family has a positive weight: {dict(weights)}; choose from {', '.join(FAMILIES)}"
            )
        self.vocabulary = vocabulary
        self.seed = seed
        self.split: Split = split
        self.every_pair = every_pair
        # Equal weights are one world, whatever order a caller wrote them in.
        self._families: tuple[Family, ...] = tuple(family for family in possible if family in weights)
        self._weights = tuple(weights[family] for family in self._families)

    def family(self, index: int) -> Family:
        """The family that entry `index` was drawn from."""
        return self._draw(index)[0]

    def graph(self, index: int) -> SceneGraph:
        """The scene graph of entry `index`."""
        family, rng = self._draw(index)
        pairs: Split = "heldout" if self.every_pair and index % 2 else self.split
        graph = draw_graph(family, rng, self.vocabulary, pairs)
        settings = self.vocabulary.setting_names
        if family not in ("dense", "free") and len(settings) > 1 and rng.random() < SETTING_SHARE:
            return graph.model_copy(update={"setting": rng.choice(settings)})
        return graph

    def prompt(self, index: int, wording: int = 0) -> str:
        """Entry `index` in words: wording 0 is the canonical caption, all others are draws of a style.

        Drawn wordings fit the painter's text length wherever a style allows it.
        """
        graph = self.graph(index)
        if wording == 0:
            return say(graph)
        rng = Random(f"{self.seed}/{self.split}/{index}/{wording}")
        clumsy = self.split == "heldout" and rng.random() < HELD_OUT_STYLE_SHARE
        return word(graph, rng, HELD_OUT_STYLES if clumsy else TRAINING_STYLES)[1]

    def _draw(self, index: int) -> tuple[Family, Random]:
        rng = Random(f"{self.seed}/{self.split}/{index}")
        return rng.choices(self._families, self._weights)[0], rng
