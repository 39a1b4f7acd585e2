"""Puts trained weights where the project ships them, with a card of measured figures, if they measure better.

By which rules is in `replacing`. What a model knows is read from its own configuration or card.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from diorama.atlas import ArtError, check_art
from diorama.vocabulary import load_vocabulary
from models.embedded.painter import load_painter
from models.embedded.perception import load_perceiver
from models.embedded.shards import FILE, weight_files
from models.embedded.training.geneval import FIGURES, find_figures, measure_geneval
from models.embedded.training.measure import (
    MEASURE_SEED,
    load_reconstructions,
    measure_painter,
    measure_perception,
)
from models.embedded.training.measure_depth import measure_depth
from models.embedded.training.replacing import (
    Card,
    LacksWords,
    NotBetter,
    check_covers,
    find_vocabulary,
    replace_shipped,
)
from models.embedded.training.taught import lacking_names
from models.estimate_depth import read_card
from models.pixel_perfect_depth.folders import load_pipeline
from models.tool import ToolError

WEIGHTS = Path(__file__).parents[1] / "weights"
Part = Literal["painter", "critic", "judge", "depth"]


def ship_perception(
    part: Literal["critic", "judge"],
    source: Path,
    recipe: Mapping[str, object],
    *,
    autoencoder: Path | None,
    pictures: int = 1000,
    weights: Path = WEIGHTS,
) -> Card:
    """Measure the perception model in `source` on held-out renders of its words (and on reconstructions, of
    those that the autoencoder was taught) and ship it.

    Raises:
        NotBetter: the shipped one reads as many whole scenes in a world of every pair of colour and shape, or
            names as many things of another vocabulary.
        LacksWords: it does not know all words of the shipped painter.
        ArtError: its words have cut-outs, and there is no whole sprite atlas.
    """
    known = find_vocabulary(source)
    painter = weights / "painter"
    if painter.is_dir():
        check_covers(part, known, find_vocabulary(painter))
    check_art(load_vocabulary(known))
    perceiver = load_perceiver(source)
    clean = measure_perception(perceiver, known, pictures)
    measured: dict[str, object] = {
        "pictures": pictures,
        "seed": MEASURE_SEED,
        "renders": _rounded(clean.headline),
    }
    pairs = measure_perception(perceiver, known, pictures, every_pair=True)
    measured["every_pair"] = _rounded(pairs.headline)
    if lacking_names("solids", known):
        unseen = measure_perception(perceiver, known, pictures, splits=("held_out",))
        measured["held_out_drawings"] = _rounded(unseen.headline)
    card: Card = {
        "part": part,
        "score": pairs.headline["whole_scene"],
        "vocabulary": known,
        "recipe": dict(recipe),
        "measured": measured,
        "confusions": clean.confusions(),
        "name_confusions": clean.confusions(attribute="shape"),
        "classes": {name: [round(share, 4), number] for name, (share, number) in clean.classes().items()},
    }
    if autoencoder is not None:
        degrade = load_reconstructions(autoencoder)
        vocabulary = str(recipe.get("autoencoder_vocabulary") or find_vocabulary(autoencoder))
        read = measure_perception(perceiver, vocabulary, pictures // 2, degrade)
        plain = measure_perception(perceiver, vocabulary, pictures // 2)
        card["reconstructions"] = {
            "vocabulary": vocabulary,
            "renders": _rounded(plain.headline),
            "reconstructed": _rounded(read.headline),
            "confusions": read.confusions(),
        }

    def copy(target: Path) -> None:
        index = source / f"{FILE}.index.json"
        for file in (source / "config.json", *weight_files(source), *([index] if index.is_file() else [])):
            shutil.copy2(file, target / file.name)

    return replace_shipped(weights / part, source, card, copy)


def ship_painter(
    source: Path,
    recipe: Mapping[str, object],
    *,
    judge: Path,
    vocabulary: str,
    steps: int,
    guidance: float,
    per_family: int = 50,
    official: int = 4,
    weights: Path = WEIGHTS,
    loss: float = 0.0,
) -> Card:
    """Measure single samples of the pipeline in `source` by the judge, in both wordings and of GenEval's own
    prompts (`official` samples of each that it has the words for), and ship it. No scene is rendered for
    that, so no atlas is needed. What `geneval` measured of these very weights is taken over. A `loss` of so
    much of the canonical mean is borne.

    Raises:
        NotBetter: the shipped one's canonical mean is as high, or it names as many things of another
        vocabulary. LacksWords: the judge, or the shipped critic, does not know all words of `vocabulary`.
    """
    for eyes in (judge, weights / "critic"):
        if eyes.is_dir():
            check_covers(eyes.name, find_vocabulary(eyes), vocabulary)
    pipeline, perceiver = load_painter(source), load_perceiver(judge)
    measured = {
        wording: measure_painter(
            pipeline, perceiver, vocabulary, per_family, wording=wording, steps=steps, guidance=guidance
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

    told = find_figures(source) or measure_geneval(
        pipeline, perceiver, vocabulary, samples=official, steps=steps, guidance=guidance
    )
    if told is not None:
        card["geneval"] = told

    def copy(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FIGURES))

    return replace_shipped(weights / "painter", source, card, copy, loss=loss)


def ship_depth(
    source: Path,
    recipe: Mapping[str, object],
    *,
    pictures: int = 500,
    weights: Path = WEIGHTS,
) -> Card:
    """Measure the depth pipeline in `source` on held-out renders, by the shipped critic's boxes, and ship it.

    Raises:
        NotBetter: the shipped one's error is as small, or it names as many things of another vocabulary.
        LacksWords: nothing says which words it was taught.
        ToolError: `source` is no depth pipeline, or has no card with its lines.
        ArtError: its words have cut-outs, and there is no whole sprite atlas.
    """
    known, lines = find_vocabulary(source), read_card(source)
    if lines is None:
        raise LacksWords(f"{source / 'card.json'} is missing: train the network again")
    perceiver = load_perceiver(weights / "critic")
    pipeline = load_pipeline(source)
    figures = measure_depth(pipeline, lines, perceiver, known, pictures)
    asked = measure_depth(pipeline, lines, perceiver, known, pictures, families={"depth": 1.0})
    card: Card = {
        "part": "depth",
        "score": round(1 - figures.headline["abs_rel"], 4),
        "vocabulary": known,
        "scale": lines.scale,
        "shift": lines.shift,
        "view": lines.view,
        "recipe": dict(recipe),
        "measured": {
            "pictures": pictures,
            "seed": MEASURE_SEED,
            "unfit": figures.unfit,
            "all": figures.headline,
            "depth": asked.headline,
        },
    }

    def copy(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)

    return replace_shipped(weights / "depth", source, card, copy)


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in row.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Ship one part from the command line; `--recipe` is a JSON object that goes into the card as it is. The
    shipped weights, as a source, are measured again, and keep their recipe.

    Exit status 0, or 2 with one line on standard error.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=get_args(Part))
    parser.add_argument("source", type=Path, help="a saved pipeline, or the folder of a perception training")
    parser.add_argument("--recipe", type=json.loads)
    parser.add_argument("--pictures", type=int, default=500, help="held-out renders, or prompts per family")
    parser.add_argument("--autoencoder", type=Path, default=WEIGHTS / "painter" / "vae")
    parser.add_argument("--vocabulary", help="what the painter was taught, where its folder does not say so")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--loss", type=float, default=0.0, help="share right that a nearer painter may lose")
    asked = parser.parse_args(arguments)
    if asked.loss and asked.part != "painter":
        parser.error(f"--loss {asked.loss:g} goes only with the painter, not with the {asked.part}")
    if not 0 <= asked.loss < 1:
        parser.error(f"--loss is a share of prompts, at least 0 and below 1, not {asked.loss:g}")
    if asked.recipe is None:
        if asked.source.resolve() != (WEIGHTS / asked.part).resolve():
            parser.error(f"--recipe is missing: say how {asked.source} was trained, as a JSON object")
        asked.recipe = json.loads((asked.source / "card.json").read_text("utf-8"))["recipe"]
    try:
        card = _ship_part(asked)
    except (ArtError, NotBetter, LacksWords, ToolError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(card, indent=2))
    return 0


def _ship_part(asked: argparse.Namespace) -> Card:
    if asked.part == "depth":
        return ship_depth(asked.source, asked.recipe, pictures=asked.pictures)
    if asked.part == "painter":
        return ship_painter(
            asked.source,
            asked.recipe,
            judge=WEIGHTS / "judge",
            vocabulary=asked.vocabulary or find_vocabulary(asked.source),
            steps=asked.steps,
            guidance=asked.guidance,
            per_family=asked.pictures,
            loss=asked.loss,
        )
    return ship_perception(
        asked.part, asked.source, asked.recipe, autoencoder=asked.autoencoder, pictures=asked.pictures
    )


if __name__ == "__main__":
    sys.exit(main())
