"""How well painters denoise scenes that they have never seen: the error of the velocity by noise share.

    python -m benchmarks.velocities PAINTER [OTHER ...] [--count 512] [--seed 9010] [--things]

Latents are each painter's own autoencoder's, so compare painters of one encoder. Scenes, captions and noise
are the same for all. Layouts are decided at shares above .9, and what a thing looks like below .8. With the
seed of a painter's own training the scenes are those it learnt from: what its error is lower by there, it
only remembers. `--things` tells the error of the tokens where each thing stands, in its own colour and in
another. Needs the sprite atlas (`make sprites`) where the painters' vocabulary has names.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from diorama.vocabulary import Vocabulary, load_vocabulary
from models.embedded.painter import image_ids, load_painter
from models.embedded.profiles import TEXT_TOKENS
from models.embedded.training.captions import Captions
from models.embedded.training.latents import TOKENS, encode_pictures, token_classes
from models.embedded.training.loop import generator, torch_generator
from models.embedded.training.painter import pack
from models.embedded.training.painters_world import open_world, own_colour
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.stream import Pictures
from models.threads import fixed_threads

SEED = 9010
SHARES = (0.95, 0.85, 0.7, 0.5)
BATCH = 32


class Denoised(NamedTuple):
    """A batch of scenes, and how far off the velocity is."""

    pictures: Pictures
    errors: Tensor
    """(N, 64, shares): mean squared errors of every token at each of SHARES."""


@torch.inference_mode()
def denoise(pipeline: Any, words: Vocabulary, count: int, name: str, seed: int) -> Iterator[Denoised]:
    """Let a painter denoise `count` scenes of its words in the world of `seed`.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    stream = open_world(words, seed=seed)
    captions = Captions(stream.world, pipeline.tokenizer_2, "cpu")
    for start in track(range(0, count, BATCH), name, console=Console(stderr=True)):
        batch = stream.batch(start, min(BATCH, count - start))
        told = captions.encode(captions.draw(batch.indices, generator(SEED, start)))
        states, pooled = (
            pipeline.text_encoder_2(told).last_hidden_state,
            pipeline.text_encoder(told).pooler_output,
        )
        x = pack(encode_pictures(pipeline.vae, batch.rgb))
        e = torch.randn(x.shape, generator=torch_generator(SEED, start))
        errors: list[Tensor] = []
        for share in SHARES:
            velocity = pipeline.transformer(
                hidden_states=(1 - share) * x + share * e,
                timestep=torch.full((len(x),), share),
                pooled_projections=pooled,
                encoder_hidden_states=states,
                txt_ids=torch.zeros(TEXT_TOKENS, 3),
                img_ids=image_ids(TOKENS),
                return_dict=False,
            )[0]
            errors.append((velocity - (e - x)).square().mean(-1))
        yield Denoised(batch, torch.stack(errors, -1).double())


def compare(folders: Sequence[Path], count: int, seed: int) -> Table:
    """A row per painter: the mean error at each of SHARES.

    Raises:
        LacksWords: nothing beside one of them says which words it was taught.
    """
    table = Table("painter", "weights, millions", *[f"at {share}" for share in SHARES])
    for folder in folders:
        words, pipeline = load_vocabulary(find_vocabulary(folder)), load_painter(folder)
        size = sum(parameter.numel() for parameter in pipeline.transformer.parameters()) / 1e6
        parts = denoise(pipeline, words, count, str(folder), seed)
        errors = torch.cat([part.errors for part in parts]).mean((0, 1))
        table.add_row(str(folder), f"{size:.2f}", *[f"{float(error):.4f}" for error in errors])
    return table


def by_thing(folder: Path, count: int, seed: int) -> Table:
    """A row per thing and look: the mean error, at each of SHARES, of the tokens where it stands.

    Raises:
        LacksWords: nothing beside the painter says which words it was taught.
    """
    words, pipeline = load_vocabulary(find_vocabulary(folder)), load_painter(folder)
    found: dict[tuple[int, bool], list[Tensor]] = {}
    for batch, errors in denoise(pipeline, words, count, str(folder), seed):
        classes = token_classes(words, batch.ids.cpu().long(), batch.seen)
        shape, own = classes["shape"].flatten(1), own_colour(words, classes["shape"], classes["colour"])
        for number in range(len(words.shapes)):
            for look in (True, False):
                here = (shape == number) & (own.flatten(1) == look)
                found.setdefault((number, look), []).append(errors[here])
    table = Table("thing", "colour", "tokens", *[f"at {share}" for share in SHARES])
    for (number, look), parts in sorted(found.items()):
        joined = torch.cat(parts)
        if len(joined):
            figures = [f"{float(error):.3f}" for error in joined.mean(0)]
            table.add_row(
                words.shape_names[number], "its own" if look else "another", str(len(joined)), *figures
            )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("painters", type=Path, nargs="+", metavar="PAINTER")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--seed", type=int, default=SEED, help="of the world that the scenes are from")
    parser.add_argument("--things", action="store_true", help="tell it of each thing by itself")
    asked = parser.parse_args(arguments)
    with fixed_threads(1):
        if asked.things:
            tables = [by_thing(folder, asked.count, asked.seed) for folder in asked.painters]
        else:
            tables = [compare(asked.painters, asked.count, asked.seed)]
        for table in tables:
            Console(width=110).print(table)


if __name__ == "__main__":
    main()
