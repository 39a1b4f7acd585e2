"""How perception networks read pairs of colour and thing that no painter is taught, beside all the others.

    python -m benchmarks.withheld_pairs models/embedded/weights/critic models/embedded/weights/judge

A painter is measured by the pairs that it was never shown. Eyes that were not shown them either see something
else in them, and say that the painter is wrong. The same scenes for all networks, as the cards measure them
(`every_pair`). Needs the sprite atlas (`make sprites`) where a network's vocabulary has names.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track
from rich.table import Table

from diorama.draws import held_out_pairs
from diorama.truth import Seen
from diorama.vocabulary import load_vocabulary
from models.embedded.perception import load_perceiver
from models.embedded.training.accuracy import Accuracy, score_perceptions
from models.embedded.training.measure import MEASURE_SEED
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.stream import PictureStream
from models.threads import fixed_threads

BATCH = 50
SHOWN = ("recall", "shape", "colour", "count", "whole_scene")
Kind = Literal["with", "without"]


def read(folder: Path, count: int) -> dict[Kind, Accuracy]:
    """What the network in `folder` reads right of the scenes with a withheld pair, and of those without.

    Raises:
        LacksWords: nothing beside it says which words it was taught.
        ArtError: its vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    words, eyes = load_vocabulary(find_vocabulary(folder)), load_perceiver(folder)
    withheld = held_out_pairs(words)
    stream = PictureStream(words, MEASURE_SEED, every_pair=True)
    totals: dict[Kind, Accuracy] = {"with": Accuracy(), "without": Accuracy()}
    for start in track(range(0, count, BATCH), str(folder), console=Console(stderr=True)):
        batch = stream.batch(start, min(BATCH, count - start))
        perceived = eyes.perceive_tensor(batch.rgb)
        for kind, total in totals.items():
            chosen = [n for n, things in enumerate(batch.seen) if _kind(things, withheld) == kind]
            total.add(score_perceptions([perceived[n] for n in chosen], [batch.seen[n] for n in chosen]))
    return totals


def _kind(things: Sequence[Seen], withheld: frozenset[tuple[str, str]]) -> Kind:
    return "with" if any((thing.colour, thing.shape) in withheld for thing in things) else "without"


def compare(folders: Sequence[Path], count: int) -> Table:
    """Two rows per network: scenes with a withheld pair, and scenes without."""
    table = Table("network", "withheld pairs", "scenes", *SHOWN)
    for folder in folders:
        for kind, total in read(folder, count).items():
            figures = [f"{total.headline[name]:.3f}" for name in SHOWN]
            table.add_row(str(folder), kind, str(total.pictures), *figures)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=500)
    asked = parser.parse_args(arguments)
    with fixed_threads(1):
        Console(width=140).print(compare(asked.networks, asked.count))


if __name__ == "__main__":
    main()
