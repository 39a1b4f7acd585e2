"""Two painters on the same held-out prompts and seeds, single samples, by the judge.

    python -m benchmarks.painters PAINTER [OTHER] [--count 50] [--steps 12] [--guidance 5]

Each family's graphs are asked for twice, in the canonical wording and in held-out ones. Right is what shows
exactly what was asked. With OTHER the differences are paired by prompt, with 95 % bootstrap intervals; dense
prompts, which no embedded painter can paint, are left out of the means.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import track
from rich.table import Table

from diorama.families import Family, available_families, cases
from diorama.vocabulary import load_vocabulary
from evaluation.statistics import bootstrap
from models.backends import WEIGHTS
from models.embedded.painter import load_painter
from models.embedded.perception import load_perceiver
from models.embedded.training.measure import Wording, paint_cases
from models.embedded.training.replacing import find_vocabulary
from models.embedded.training.samples import judge_picture
from models.threads import fixed_threads

SEED = 9009
WORDINGS: tuple[Wording, ...] = get_args(Wording)
Verdicts = dict[tuple[Wording, Family], list[float]]
"""By wording and family, 1.0 for every picture that shows exactly what was asked."""


def count_right(painter: Path, judge: Path, count: int, steps: int, guidance: float) -> Verdicts:
    """The judge's verdicts on `count` single samples per family and wording.

    Raises:
        LacksWords: nothing beside `painter` says which words it was taught.
    """
    words, pipeline = load_vocabulary(find_vocabulary(painter)), load_painter(painter)
    eyes = load_perceiver(judge)
    found: Verdicts = {}
    rows = list(product(WORDINGS, available_families(words)))
    for wording, family in track(rows, str(painter), console=Console(stderr=True)):
        asked = cases("heldout", [family], count, SEED, words)
        pictures = paint_cases(pipeline, asked, wording, SEED, steps, guidance)
        found[wording, family] = [
            float(judge_picture(case, report)[0])
            for case, report in zip(asked, eyes.perceive(pictures), strict=True)
        ]
    return found


def compare(painters: Sequence[Path], judge: Path, count: int, steps: int, guidance: float) -> Table:
    """A row per family and wording, and the means of each wording and of both."""
    told = [count_right(painter, judge, count, steps, guidance) for painter in painters]
    table = Table("wording", "family", *[str(painter) for painter in painters])
    if len(painters) > 1:
        table.add_column("difference, in points")
    for key in told[0]:
        table.add_row(*key, *_cells([verdicts[key] for verdicts in told]))
    for name, wordings in (*[(wording, (wording,)) for wording in WORDINGS], ("both", WORDINGS)):
        table.add_row(name, "all but dense", *_cells([_join(verdicts, wordings) for verdicts in told]))
    return table


def _join(verdicts: Verdicts, wordings: Sequence[str]) -> list[float]:
    """One list of the families in these wordings, dense prompts left out."""
    counted = [key for key in verdicts if key[0] in wordings and key[1] != "dense"]
    return [one for key in counted for one in verdicts[key]]


def _cells(verdicts: Sequence[Sequence[float]]) -> list[str]:
    cells = [f"{sum(own) / len(own):.3f}" for own in verdicts]
    if len(verdicts) > 1:
        change = bootstrap([b - a for a, b in zip(*verdicts, strict=True)])
        cells.append(f"{change.mean * 100:+.1f} [{change.low * 100:+.1f}, {change.high * 100:+.1f}]")
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark's command; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("painters", type=Path, nargs="+", metavar="PAINTER")
    parser.add_argument("--judge", type=Path, default=WEIGHTS / "judge")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=5.0)
    asked = parser.parse_args(arguments)
    if len(asked.painters) > 2:
        parser.error(f"one painter, or two to compare, not {len(asked.painters)}")
    with fixed_threads(1):
        Console(width=110).print(
            compare(asked.painters, asked.judge, asked.count, asked.steps, asked.guidance)
        )


if __name__ == "__main__":
    main()
