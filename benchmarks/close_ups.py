"""Which things the shipped painter paints better close up: how near they come to renders, before and after.

    python -m benchmarks.close_ups [NAME ...] [--count 12] [--judge JUDGE]

Two of each thing are painted `count` times, in the colours that it may take. Where the critic sees them, each
is brought near and painted anew, as touching up does. The distance of a close-up is that to the five nearest
of 48 renders of such a thing in such a colour, as a painter is taught it, in the judge's last features, each
divided by its spread over the renders. A thing gains where that falls by more than two standard errors: those
belong under `gains_near` in the painter's card. Needs the sprite atlas (`make sprites`).
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.samplers import read_features, render_all
from diorama.graph import Group, SceneGraph
from diorama.place import Unplaceable, complete
from diorama.scene import Scene
from diorama.vocabulary import Shape, Vocabulary, load_vocabulary
from diorama.wording import say, say_group
from graphs.nodes_touching import STRENGTH
from models.backdrops import NotPlain
from models.backends import WEIGHTS, resolve
from models.close_ups import take_close_ups
from models.editing import image_to_image
from models.embedded.painter import load_painter
from models.embedded.perception import Perceiver, load_perceiver, stack_pictures
from models.embedded.training.painters_world import ARTIST
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.samples import paint
from models.threads import fixed_threads

SEED = 9015
RENDERS = 48
NEAREST = 5


def colours_of(word: Shape, words: Vocabulary) -> Sequence[str | None]:
    """The colours to ask for: none, which shows a name's own look, and all that it may take."""
    allowed = [name for name in words.colour_names if word.colours is None or name in word.colours]
    return allowed if word.kind == "solid" else [None, *allowed]


def render_alone(word: Shape, colour: str | None, words: Vocabulary) -> Tensor:
    """RENDERS pictures (N, 3, 128, 128) of one such thing."""
    rng, scenes = np.random.default_rng(SEED), list[Scene]()
    graph = SceneGraph(groups=(Group(shape=word.name, colour=colour),))
    while len(scenes) < RENDERS:
        try:
            scenes.append(complete(graph, rng, words, artist=ARTIST))
        except Unplaceable:
            continue
    return render_all(scenes)


def paint_near(
    pipeline: Any, editor: Any, eyes: Perceiver, graph: SceneGraph, seed: int
) -> list[tuple[Image.Image, Image.Image]]:
    """Close-ups of the things of one painted picture, before and after they were painted anew."""
    card = resolve("embedded")
    [picture] = paint(pipeline, [say(graph)], [seed], card.steps or 16, card.guidance or 1.0)
    [seen] = eyes.perceive([picture])
    try:
        near = take_close_ups(picture, [thing.box for thing in seen.things])
    except NotPlain:
        return []
    shape = graph.groups[0].shape
    before = [
        close_up.picture
        for close_up, thing in zip(near, seen.things, strict=True)
        if close_up is not None and thing.shape == shape
    ]
    if not before:
        return []
    prompt = f"a photo of {say_group(graph.groups[0].model_copy(update={'count': 1}))}"
    after = editor(
        prompt=[prompt] * len(before),
        negative_prompt=[""] * len(before),
        image=before,
        width=card.width,
        height=card.height,
        strength=STRENGTH,
        true_cfg_scale=card.guidance,
        num_inference_steps=card.steps,
        generator=[torch.Generator().manual_seed(seed + k) for k in range(len(before))],
        max_sequence_length=pipeline.tokenizer_2.model_max_length,
    ).images
    return list(zip(before, after, strict=True))


def measure(
    word: Shape, words: Vocabulary, pipeline: Any, eyes: Perceiver, judge: Perceiver, count: int
) -> Tensor:
    """(N, 2): the distances of every close-up of such things, before and after."""
    editor = image_to_image(resolve("embedded"), pipeline)
    found: list[Tensor] = []
    colours = colours_of(word, words)
    for number, colour in enumerate(colours):
        real = read_features(judge, render_alone(word, colour, words))
        spread = real.std(0) + 0.05 * real.std()
        for turn in range(number, count, len(colours)):
            graph = SceneGraph(groups=(Group(shape=word.name, colour=colour, count=2),))
            for pair in paint_near(pipeline, editor, eyes, graph, SEED + turn):
                features = read_features(judge, stack_pictures(list(pair)))
                apart = torch.cdist(features / spread, real / spread)
                found.append(apart.topk(NEAREST, largest=False).values.mean(1))
    return torch.stack(found) if found else torch.empty(0, 2, dtype=torch.float64)


def describe(apart: Tensor) -> tuple[str, ...]:
    """The cells of a row: how many close-ups, their distance before and after, its change, and whether the
    thing gains.
    """
    count = len(apart)
    if count < 2:
        return str(count), "", "", "too few to tell", ""
    before, after = (float(column.mean()) for column in apart.T)
    error = float((apart[:, 1] - apart[:, 0]).std()) / count**0.5
    gains = "yes" if after - before < -2 * error else ""
    return str(count), f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f} ± {error:.2f}", gains


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--judge", type=Path, default=WEIGHTS / "judge")
    parser.add_argument("--count", type=int, default=12)
    asked = parser.parse_args(arguments)
    words = load_vocabulary(find_vocabulary(WEIGHTS / "painter"))
    if unknown := sorted(set(asked.names) - set(words.shape_names)):
        parser.error(f"the painter does not know {unknown[0]!r}: name some of {', '.join(words.shape_names)}")
    table = Table("thing", "close-ups", "before", "after", "change", "gains")
    with fixed_threads(1):
        pipeline, eyes = load_painter(WEIGHTS / "painter"), load_perceiver(WEIGHTS / "critic")
        judge = load_perceiver(asked.judge)
        chosen = [word for word in words.shapes if word.name in (asked.names or words.shape_names)]
        for word in track(chosen, "things", console=Console(stderr=True)):
            table.add_row(word.name, *describe(measure(word, words, pipeline, eyes, judge, asked.count)))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
