"""A painter's single samples of GenEval's own prompts, by the judge: per tag, and over all tags.

A tag's figure is the share of its pictures that are right, and the overall one the mean of the tags, as
GenEval computes it (Ghosh et al. 2023, section 4).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import FluxPipeline
from rich.console import Console
from rich.table import Table

from diorama.families import geneval_cases
from diorama.vocabulary import load_vocabulary
from models.embedded.painter import load_painter
from models.embedded.perception import Perceiver, load_perceiver
from models.embedded.training.measure import MEASURE_SEED
from models.embedded.training.replacing import LacksWords, find_vocabulary
from models.embedded.training.samples import paint, score_pictures
from models.weights_hash import hash_denoiser

FIGURES = "geneval.json"
"""Beside a painter's weights, what they were measured to do: figures from an accelerator travel so."""


def measure_geneval(
    pipeline: FluxPipeline,
    judge: Perceiver,
    vocabulary: str,
    *,
    samples: int,
    steps: int,
    guidance: float,
    batch: int = 16,
) -> dict[str, Any] | None:
    """The figures of `samples` pictures of each of GenEval's prompts that `vocabulary` has the words for.

    Returns:
        How they were made, and under "tags" the shares of right pictures by tag and as "mean": `strict`
        exactly as asked, `lenient` as GenEval counts. None where no prompt has these words alone.
    """
    prompts = geneval_cases(load_vocabulary(vocabulary))
    if not prompts:
        return None
    began = time.monotonic()
    asked = [case for case in prompts for _ in range(samples)]
    seeds = [MEASURE_SEED + number for number in range(len(asked))]
    pictures = paint(pipeline, [case.prompt for case in asked], seeds, steps, guidance, batch)
    rows = score_pictures(asked, judge.perceive(pictures))
    return {
        "prompts": len(prompts),
        "samples": samples,
        "steps": steps,
        "guidance": guidance,
        "seed": MEASURE_SEED,
        "device": str(pipeline.device),
        "seconds_per_picture": round((time.monotonic() - began) / len(asked), 3),
        "tags": {tag: {kind: round(share, 4) for kind, share in row.items()} for tag, row in rows.items()},
    }


def find_figures(painter: Path) -> dict[str, Any] | None:
    """What was measured of the painter saved in `painter`, if its weights are still those."""
    file = painter / FIGURES
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found["figures"] if found.get("weights") == hash_denoiser(painter) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a saved painter: prints a table, and leaves the figures beside its weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("painter", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(arguments)
    try:
        vocabulary = find_vocabulary(asked.painter)
    except LacksWords as error:
        print(error, file=sys.stderr)
        return 2
    figures = measure_geneval(
        load_painter(asked.painter, asked.device),
        load_perceiver(asked.judge, asked.device),
        vocabulary,
        samples=asked.samples,
        steps=asked.steps,
        guidance=asked.guidance,
        batch=16 if asked.device == "cpu" else 128,
    )
    if figures is None:
        print(f"none of GenEval's prompts is in the words of {vocabulary!r}", file=sys.stderr)
        return 2
    weights = hash_denoiser(asked.painter)
    told = json.dumps({"weights": weights, "figures": figures}, indent=2)
    (asked.painter / FIGURES).write_text(told + "\n", "utf-8")
    table = Table("tag", "as GenEval counts", "exactly")
    for tag, row in figures["tags"].items():
        table.add_row(tag, f"{row['lenient']:.3f}", f"{row['strict']:.3f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
