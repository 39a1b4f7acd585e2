"""The world that a painter is taught: which prompts, how often, and their pictures as latents."""

import multiprocessing
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from diorama.draws import Family, available_families
from diorama.vocabulary import Vocabulary
from models.embedded.training.autoencoder import load_autoencoder
from models.embedded.training.captions import Captions
from models.embedded.training.latents import NONE, LatentCache
from models.embedded.training.rows import Rows
from models.embedded.training.stream import PictureStream
from models.embedded.training.team import Team

SEED = 404
FAMILY_WEIGHTS: dict[Family, float] = {
    "single_object": 1.0,
    "colors": 1.5,
    "two_object": 2.0,
    "counting": 2.5,
    "position": 2.0,
    "depth": 0.75,
    "color_attr": 3.0,
    "patterns": 0.5,
    "dense": 0.5,
    "free": 1.5,
}
"""Shares of the families. With few single things among many crowded scenes a painter learns to crowd: after
96,000 pictures of the world's own mix it painted what was asked, and too much of it. Now that lone things are
right, what is not has the larger shares: several of a kind, and two colours.
"""
RECOLOURED = 2.5
"""How many times as often a picture is drawn that shows a cut-out or a composite in another colour than its
own. Of each such thing there are nine or ten, all together as often in the world as the one look that it has
by itself. After 9,130,000 pictures a painter's error at a share of .7 was 1.30 on cars in another colour and
1.04 on others, .89 and .76 on elephants (`python -m benchmarks.velocities PAINTER --things`).
"""
ARTIST = "fluent"
"""Whose drawings a painter is taught: one of each class, and one way round.

A prompt says neither which drawing nor which way, and what a velocity is taught to point at is the mean of
all that fit: of an elephant that faces left and one that faces right it has an ear in its middle and no head,
of five cars a lump. Models that look are shown all drawings, both ways round.
"""


def open_world(
    words: Vocabulary,
    device: str = "cpu",
    seed: int = SEED,
    shares: Mapping[Family, float] = FAMILY_WEIGHTS,
) -> PictureStream:
    """The scenes that a painter of `words` is taught, rendered on `device`; with another seed others of their
    kind, with other `shares` of the families more of some.

    Cut-outs are `ARTIST`'s, never mirrored.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    weights: dict[Family, float] = {family: shares[family] for family in families_of(words)}
    return PictureStream(words, seed, weights, device, artist=ARTIST)


def open_rows(
    stream: PictureStream,
    captions: Captions,
    autoencoder: Path,
    folder: Path,
    scenes: int,
    device: str,
    crew: int = 0,
) -> Rows:
    """The scenes of `stream` as latents by the autoencoder in `autoencoder`, made where they are missing.

    The whole team makes them, and they are all there on return; or so many processes of a `crew`, which draw
    captions too, and go on while a training begins.

    Raises:
        ForeignLatents: `folder` holds the pictures of another world or autoencoder.
    """
    weigh = partial(weigh_rows, stream.vocabulary)
    if not crew:
        cache = LatentCache(stream, folder, scenes)
        _fill(cache, autoencoder, device)
        Team.here().wait()
        return Rows(cache, device, weigh=weigh)
    cache = LatentCache(stream, folder, scenes, Captions(stream.world, captions.tokenizer, "cpu").tell)
    makers = [
        multiprocessing.get_context("spawn").Process(
            target=_fill, args=(cache, autoencoder, device), daemon=True
        )
        for _ in range(crew)
    ]
    for maker in makers:
        maker.start()
    return Rows(cache, device, tuple(makers), weigh)


def _fill(cache: LatentCache, autoencoder: Path, device: str) -> None:
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
    # In bf16 kernels are twice as fast on channels that lie last.
    vae = load_autoencoder(autoencoder).to(device, memory_format=torch.channels_last)  # pyright: ignore
    cache.fill(vae, device)


def weigh_rows(words: Vocabulary, rows: Mapping[str, Tensor]) -> Tensor:
    """How often each picture (N,) is drawn, from the things (N, T, 9) in it; see `list_things` and
    `RECOLOURED`.
    """
    shape, colour = rows["things"][:, :, 0], rows["things"][:, :, 1]
    recoloured = (shape >= 0) & ~own_colour(words, shape, colour)
    return torch.where(recoloured.any(1), RECOLOURED, 1.0)


def own_colour(words: Vocabulary, shape: Tensor, colour: Tensor) -> Tensor:
    """Whether things of these classes have the colour that they have by themselves. Solids have any."""
    solid, natural = torch.ones_like(shape, dtype=torch.bool), torch.full_like(colour, NONE)
    for number, word in enumerate(words.shapes):
        if word.kind != "solid":
            solid &= shape != number
        if word.natural in words.colour_names:
            natural[shape == number] = words.colour_names.index(word.natural)
    return solid | (colour == natural) | (colour == NONE)


def families_of(words: Vocabulary) -> tuple[Family, ...]:
    """The families that a painter of `words` can be taught."""
    return (*available_families(words), "free")
