"""Draws what the shipped painter makes of each family of prompts, with the words below each picture.

    python -m models.embedded.training.show [--out docs/images/samples.webp]

Canonical wording, the card's steps and guidance; seeds count up. Measures nothing.
"""

import argparse
import json
from pathlib import Path
from random import Random
from textwrap import wrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from diorama.families import available_families, draw_graph
from diorama.vocabulary import Vocabulary, load_vocabulary
from diorama.wording import say
from models.backends import WEIGHTS
from models.embedded.painter import load_painter
from models.embedded.training.samples import paint

PER_FAMILY = 8
FIRST_SEED = 40
SIDE, CAPTION, MARGIN = 152, 44, 4
"""Pixels."""


def draw_prompts(vocabulary: Vocabulary) -> list[str]:
    """PER_FAMILY canonical prompts of each family that the vocabulary can make."""
    prompts: list[str] = []
    for family in available_families(vocabulary):
        for number in range(PER_FAMILY):
            graph = draw_graph(family, Random(f"{family}/{number}"), vocabulary, "heldout")
            prompts.append(say(graph, "geneval", Random(number)))
    return prompts


def draw_sheet(pictures: list[Image.Image], prompts: list[str]) -> Image.Image:
    """One row per family, each picture above its prompt."""
    width, height = SIDE + 2 * MARGIN, SIDE + CAPTION + MARGIN
    sheet = Image.new("RGB", (PER_FAMILY * width, len(pictures) // PER_FAMILY * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(9)
    for index, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = index % PER_FAMILY * width + MARGIN, index // PER_FAMILY * height + MARGIN
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
        lines = wrap(prompt.removeprefix("a photo of "), 32, max_lines=3, placeholder=" ...")
        pen.text((left, top + SIDE + 2), "\n".join(lines), "black", font)
    return sheet


def main(out: Path) -> None:
    """Paint and save the sheet."""
    card: dict[str, Any] = json.loads((WEIGHTS / "painter" / "card.json").read_text("utf-8"))
    prompts = draw_prompts(load_vocabulary(card["vocabulary"]))
    seeds = [FIRST_SEED + number for number in range(len(prompts))]
    pipeline = load_painter(WEIGHTS / "painter", "cpu")
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet = draw_sheet(paint(pipeline, prompts, seeds, card["steps"], card["guidance"]), prompts)
    # All colours in few bytes (WebP): a palette lays bands over whatever is shaded softly.
    sheet.save(out, quality=90, method=6)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images/samples.webp"))
    main(parser.parse_args().out)
