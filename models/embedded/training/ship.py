"""Puts trained weights where the project ships them, with a card of measured figures, if they measure better.

History keeps every copy of a weight file, so a replacement has to earn its bytes.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from models.embedded.painter import load_painter
from models.embedded.perception import load_perceiver
from models.embedded.training.measure import (
    MEASURE_SEED,
    load_reconstructions,
    measure_painter,
    measure_perception,
    write_card,
)

WEIGHTS = Path(__file__).parents[1] / "weights"
Part = Literal["painter", "critic", "judge"]
Card = dict[str, object]


class NotBetter(RuntimeError):
    """The new weights do not measure better than the shipped ones."""


def ship_perception(
    part: Literal["critic", "judge"],
    source: Path,
    recipe: Mapping[str, object],
    *,
    autoencoder: Path | None,
    pictures: int = 1000,
    weights: Path = WEIGHTS,
) -> Card:
    """Measure the perception model in `source` on held-out renders (and reconstructions) and ship it.

    Raises:
        NotBetter: the shipped one reads as many whole scenes.
    """
    perceiver = load_perceiver(source)
    clean = measure_perception(perceiver, "solids", pictures)
    card: Card = {
        "part": part,
        "score": clean.headline["whole_scene"],
        "recipe": dict(recipe),
        "measured": {"pictures": pictures, "seed": MEASURE_SEED, "renders": _rounded(clean.headline)},
        "confusions": clean.confusions(),
    }
    if autoencoder is not None:
        degrade = load_reconstructions(autoencoder)
        vocabulary = str(recipe.get("autoencoder_vocabulary", "cpu"))
        read = measure_perception(perceiver, vocabulary, pictures // 2, degrade)
        plain = measure_perception(perceiver, vocabulary, pictures // 2)
        card["reconstructions"] = {
            "vocabulary": vocabulary,
            "renders": _rounded(plain.headline),
            "reconstructed": _rounded(read.headline),
            "confusions": read.confusions(),
        }

    def copy(target: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            shutil.copy2(source / name, target / name)

    return _ship(weights / part, card, copy)


def ship_painter(
    source: Path,
    recipe: Mapping[str, object],
    *,
    judge: Path,
    vocabulary: str,
    steps: int,
    guidance: float,
    per_family: int = 50,
    weights: Path = WEIGHTS,
) -> Card:
    """Measure single samples of the pipeline in `source` by the judge, in both wordings, and ship it.

    Raises:
        NotBetter: the shipped one's canonical mean is as high.
    """
    pipeline, eyes = load_painter(source), load_perceiver(judge)
    measured = {
        wording: measure_painter(
            pipeline, eyes, vocabulary, per_family, wording=wording, steps=steps, guidance=guidance
        )
        for wording in ("canonical", "heldout")
    }
    card: Card = {
        "part": "painter",
        "score": measured["canonical"]["mean"]["strict"],
        "vocabulary": vocabulary,
        "steps": steps,
        "guidance": guidance,
        "closed_vocabulary": True,
        "recipe": dict(recipe),
        "measured": {
            "by": "judge",
            "per_family": per_family,
            "seed": MEASURE_SEED,
            **{
                wording: {family: _rounded(row) for family, row in rows.items()}
                for wording, rows in measured.items()
            },
        },
    }

    def copy(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)

    return _ship(weights / "painter", card, copy)


def _ship(target: Path, card: Card, copy: Callable[[Path], None]) -> Card:
    old = target / "card.json"
    if old.exists():
        score = float(json.loads(old.read_text("utf-8"))["score"])
        if score >= float(str(card["score"])):
            raise NotBetter(
                f"{target.name}: the new weights score {card['score']}, the shipped ones {score}; those stay"
            )
        shutil.rmtree(target)
    target.mkdir(parents=True)
    copy(target)
    write_card(target, card)
    return card


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in row.items()}


def main() -> None:
    """Ship one part from the command line; `--recipe` is a JSON object that goes into the card as it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=get_args(Part))
    parser.add_argument("source", type=Path, help="a saved pipeline, or the folder of a perception training")
    parser.add_argument("--recipe", type=json.loads, required=True)
    parser.add_argument("--pictures", type=int, default=500, help="held-out renders, or prompts per family")
    parser.add_argument("--autoencoder", type=Path, default=WEIGHTS / "painter" / "vae")
    parser.add_argument("--vocabulary", default="cpu", help="what the painter was taught")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--guidance", type=float, default=2.5)
    asked = parser.parse_args()
    if asked.part == "painter":
        card = ship_painter(
            asked.source,
            asked.recipe,
            judge=WEIGHTS / "judge",
            vocabulary=asked.vocabulary,
            steps=asked.steps,
            guidance=asked.guidance,
            per_family=asked.pictures,
        )
    else:
        card = ship_perception(
            asked.part, asked.source, asked.recipe, autoencoder=asked.autoencoder, pictures=asked.pictures
        )
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
