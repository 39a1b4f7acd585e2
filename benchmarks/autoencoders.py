"""What autoencoders give back of held-out scenes: the PSNR of pictures and of the things in them.

    python -m benchmarks.autoencoders VAE [OTHER ...] [--count 200] [--vocabulary cpu_names]

Things are a tenth of a picture and all of what it shows. Needs the sprite atlas (`make sprites`) where the
vocabulary has names.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from diorama.vocabulary import load_vocabulary
from models.embedded.training.autoencoder import SEED, load_autoencoder, psnr, squared_errors
from models.embedded.training.stream import PictureStream
from models.threads import fixed_threads


def compare(folders: Sequence[Path], vocabulary: str, count: int) -> Table:
    """A row per autoencoder, in dB.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    batch = PictureStream(load_vocabulary(vocabulary), SEED + 1).batch(0, count)
    things = batch.ids >= 0
    table = Table("autoencoder", "weights, millions", "pictures, dB", "things, dB")
    for folder in folders:
        autoencoder = load_autoencoder(folder)
        size = sum(parameter.numel() for parameter in autoencoder.parameters()) / 1e6
        errors = squared_errors(autoencoder, batch.rgb)
        table.add_row(str(folder), f"{size:.2f}", f"{psnr(errors):.2f}", f"{psnr(errors[things]):.2f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("autoencoders", type=Path, nargs="+", metavar="VAE")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--vocabulary", default="cpu_names")
    asked = parser.parse_args(arguments)
    with fixed_threads(1):
        Console(width=110).print(compare(asked.autoencoders, asked.vocabulary, asked.count))


if __name__ == "__main__":
    main()
