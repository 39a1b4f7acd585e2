"""The world that a painter is taught: which prompts, how often, and their pictures as latents."""

from pathlib import Path

from diffusers import AutoencoderKL

from diorama.draws import Family, available_families
from diorama.vocabulary import Vocabulary
from models.embedded.training.latents import LatentCache
from models.embedded.training.stream import PictureStream
from models.embedded.training.team import Team

SEED = 404
FAMILY_WEIGHTS: dict[Family, float] = {
    "single_object": 1.5,
    "colors": 1.5,
    "two_object": 2.0,
    "counting": 2.0,
    "position": 2.0,
    "depth": 0.75,
    "color_attr": 2.0,
    "patterns": 0.5,
    "dense": 0.5,
    "free": 1.0,
}
"""Shares of the families. With few single things among many crowded scenes a painter learns to crowd: after
96,000 pictures of the world's own mix it painted what was asked, and too much of it."""


def open_latents(
    words: Vocabulary, vae: AutoencoderKL, folder: Path, scenes: int, device: str
) -> tuple[PictureStream, LatentCache]:
    """The painter's world of `words` and its latents by `vae`, made by the whole team where they are missing.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
        ForeignLatents: `folder` holds the pictures of another world or autoencoder.
    """
    weights: dict[Family, float] = {family: FAMILY_WEIGHTS[family] for family in families_of(words)}
    stream = PictureStream(words, SEED, weights, device)
    cache = LatentCache(stream, folder, scenes)
    cache.fill(vae.to(device), device)  # pyright: ignore[reportArgumentType]
    Team.here().wait()
    return stream, cache


def families_of(words: Vocabulary) -> tuple[Family, ...]:
    """The families that a painter of `words` can be taught."""
    return (*available_families(words), "free")
