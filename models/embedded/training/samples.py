"""Samples of a painter in training: a picture to look at, and how many of them the critic finds right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline
from PIL import Image

from diorama.families import Case, available_families, cases
from diorama.truth import Seen, geneval_correct, mismatches
from diorama.vocabulary import load_vocabulary
from diorama.wording import say
from models.embedded.perception import load_perceiver
from models.embedded.profiles import TEXT_TOKENS
from models.perception import Perception


def paint(
    pipeline: FluxPipeline, prompts: list[str], seeds: list[int], steps: int, guidance: float, batch: int = 16
) -> list[Image.Image]:
    """One 128x128 picture per prompt and seed."""
    pictures: list[Image.Image] = []
    pipeline.set_progress_bar_config(disable=True)
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        guided: dict[str, Any] = {"negative_prompt": [""] * len(part)} if guidance > 1 else {}
        with torch.inference_mode():
            result = pipeline(
                prompt=part,
                true_cfg_scale=guidance,
                guidance_scale=1.0,
                height=128,
                width=128,
                num_inference_steps=steps,
                max_sequence_length=TEXT_TOKENS,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch]],
                **guided,
            )
        pictures += result.images  # pyright: ignore[reportAttributeAccessIssue]
    return pictures


def draw_samples(
    pipeline: FluxPipeline,
    vocabulary: str,
    critic: Path | None,
    sheet: Path,
    *,
    judge: Path | None = None,
    judged: int = 8,
    per_family: int = 8,
    guidance: float = 3.0,
    steps: int = 16,
    device: str = "cpu",
) -> dict[str, float]:
    """Paint `per_family` canonical prompts of every family, save them as a sheet, and score them by family.

    A `critic` or `judge` that is still learning beside the painter, and not there yet, is not asked.

    Returns the share of pictures per family in which the critic finds what was asked: exactly, under
    GenEval's leniency (keys `<family>` and `<family>_lenient`; the family "mean" is all of them). A `judge`
    is shown the first `judged` of each family, and what it finds exactly right has the keys `judge_<family>`.
    """
    words = load_vocabulary(vocabulary)
    families = available_families(words)
    asked = [case for family in families for case in cases("train", [family], per_family, 31, words)]
    prompts = [say(case.graph) for case in asked]
    pictures = paint(pipeline.to(device), prompts, [1000 + i for i in range(len(prompts))], steps, guidance)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        np.concatenate([np.array(p) for p in pictures[i : i + per_family]], 1)
        for i in range(0, len(pictures), per_family)
    ]
    Image.fromarray(np.concatenate(rows, 0)).save(sheet)
    sheet.with_suffix(".txt").write_text("\n".join(prompts) + "\n", "utf-8")
    result: dict[str, float] = {}
    if critic is not None and (critic / "config.json").is_file():
        scores = score_pictures(asked, load_perceiver(critic, device).perceive(pictures))
        result |= {family: row["strict"] for family, row in scores.items()}
        result |= {f"{family}_lenient": row["lenient"] for family, row in scores.items()}
    if judge is not None and (judge / "config.json").is_file():
        rows = [number for number in range(len(asked)) if number % per_family < judged]
        found = load_perceiver(judge, device).perceive([pictures[row] for row in rows])
        scores = score_pictures([asked[row] for row in rows], found)
        result |= {f"judge_{family}": row["strict"] for family, row in scores.items()}
    return result


def judge_picture(case: Case, report: Perception) -> tuple[bool, bool]:
    """Whether a picture shows what `case` asks for: exactly, and under GenEval's leniency."""
    found = mismatches(case.graph, [Seen.of(thing) for thing in report.things], report.setting)
    return not found, geneval_correct(found, case.family)


def score_pictures(asked: Sequence[Case], reports: Sequence[Perception]) -> dict[str, dict[str, float]]:
    """The shares of pictures, by family and as the mean of the families, that were found to show what was
    asked: `strict` exactly, `lenient` under GenEval's leniency.
    """
    verdicts: dict[str, list[tuple[bool, bool]]] = {}
    for case, report in zip(asked, reports, strict=True):
        verdicts.setdefault(case.family, []).append(judge_picture(case, report))
    result = {
        family: {
            "strict": sum(strict for strict, _ in rows) / len(rows),
            "lenient": sum(lenient for _, lenient in rows) / len(rows),
        }
        for family, rows in verdicts.items()
    }
    result["mean"] = {
        kind: sum(row[kind] for row in result.values()) / len(result) for kind in ("strict", "lenient")
    }
    return result
