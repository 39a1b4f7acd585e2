"""The figures on the cards: what the critic and the judge read, what the autoencoder keeps, what the painter
gets right.

Every figure comes from draws that no training saw. Perception is measured on the drawings that the painter
learns from, for those it will be asked to read; how it reads drawings that the critic never saw is a figure
of its own.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import diffusers
import torch
from diffusers import AutoencoderKL, FluxPipeline
from PIL.Image import Image
from torch import Tensor

from diorama.drawings import Split
from diorama.families import FAMILIES, Case, Family, available_families, cases
from diorama.vocabulary import load_vocabulary
from diorama.wording import say
from models.embedded.perception import Perceiver
from models.embedded.training.accuracy import Accuracy, score_perceptions
from models.embedded.training.autoencoder import load_autoencoder, reconstruct
from models.embedded.training.samples import paint, score_pictures
from models.embedded.training.stream import PictureStream

MEASURE_SEED = 7001
Wording = Literal["canonical", "heldout"]


def measure_perception(
    perceiver: Perceiver,
    vocabulary: str,
    pictures: int,
    degrade: Callable[[Tensor], Tensor] | None = None,
    splits: Sequence[Split] = ("train",),
    every_pair: bool = False,
) -> Accuracy:
    """Read `pictures` held-out renders, or what `degrade` makes of them.

    Cut-outs show drawings of `splits`; ("held_out",) gives those that only a judge has seen, as far as a
    class has any. With `every_pair` many pictures show a pair of colour and shape that painters never see.

    Raises:
        ArtError: the vocabulary has cut-outs, and there is no whole sprite atlas.
    """
    stream = PictureStream(load_vocabulary(vocabulary), MEASURE_SEED, splits=splits, every_pair=every_pair)
    total = Accuracy()
    for start in range(0, pictures, 50):
        batch = stream.batch(start, min(50, pictures - start))
        rgb = batch.rgb if degrade is None else degrade(batch.rgb)
        total.add(score_perceptions(perceiver.perceive_tensor(rgb), batch.seen))
    return total


def load_reconstructions(folder: Path, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """The autoencoder saved in `folder` as something that degrades pictures on `device`."""
    return reconstructions(load_autoencoder(folder).to(device))  # pyright: ignore[reportArgumentType]


def reconstructions(autoencoder: AutoencoderKL) -> Callable[[Tensor], Tensor]:
    """The autoencoder as something that degrades pictures."""

    def degrade(rgb: Tensor) -> Tensor:
        return reconstruct(autoencoder, rgb)

    return degrade


def measure_painter(
    pipeline: FluxPipeline,
    judge: Perceiver,
    vocabulary: str,
    per_family: int,
    *,
    wording: Wording,
    steps: int,
    guidance: float,
    families: tuple[Family, ...] = FAMILIES,
) -> dict[str, dict[str, float]]:
    """Single samples per family: the share that the judge finds right, strictly and under GenEval's leniency.

    "canonical" asks held-out graphs in GenEval's own wording, "heldout" in the wordings of the held-out
    split.
    """
    words = load_vocabulary(vocabulary)
    asked: list[Case] = []
    pictures: list[Image] = []
    for family in available_families(words):
        if family in families:
            own = cases("heldout", [family], per_family, MEASURE_SEED, words)
            pictures += paint_cases(pipeline, own, wording, MEASURE_SEED, steps, guidance)
            asked += own
    return score_pictures(asked, judge.perceive(pictures))


def paint_cases(
    pipeline: FluxPipeline,
    asked: Sequence[Case],
    wording: Wording,
    seed: int,
    steps: int,
    guidance: float,
) -> list[Image]:
    """One picture of each case, said in `wording`, with seeds from `seed` on."""
    prompts = [say(case.graph) if wording == "canonical" else case.prompt for case in asked]
    return paint(pipeline, prompts, [seed + number for number in range(len(prompts))], steps, guidance)


def write_card(folder: Path, card: Mapping[str, object]) -> None:
    """`card.json` beside the weights: the given facts, the hash of every weight file, the commit and the
    versions.
    """
    files = sorted(folder.rglob("*.safetensors"))
    facts = {
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        "sha256": {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
        },
        "bytes": sum(file.stat().st_size for file in files),
    }
    (folder / "card.json").write_text(json.dumps({**card, **facts}, indent=2) + "\n", "utf-8")


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return found.stdout.strip() or "unknown"
