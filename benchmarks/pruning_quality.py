"""What pruning costs the embedded painter: OBS-Diff against others, as in the paper's tables.

    python -m benchmarks.pruning_quality --out DIR [--count 120] [--calibration 32] [--only unstructured]

Every variant paints the same held-out prompts from the same seeds, one picture each, and the judge, which no
pruning sees, says whether it shows what was asked. Beside it the squared error of the denoiser's output
against the dense one's, on the dense one's path over held-out prompts, as a share of its square. Rows that
DIR holds are not made again. Writes tables.md, a picture for each pattern, and rows.json.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch: batches are only exact, and only then used, with it

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diorama.draws import FAMILIES
from diorama.sheet import labelled_sheet
from evaluation.diorama import Experiment, evaluate
from evaluation.outcome import Outcome
from evaluation.statistics import Interval, bootstrap
from models.backends import keep_backends_in, resolve
from models.obs_diff.order import Order
from models.obs_diff.replay import Recording
from models.painting import Painter
from models.picture_request import GenerateRequest, GenerateResult
from models.pipelines import load_pipeline
from models.prune_backend import PruneBackend, calibration_of
from models.prune_request import PruneRequest
from models.threads import fixed_threads
from serving.assembly import Workshop, open_workshop
from serving.prune import read_prompts
from settings import Settings

WEIGHTS, WHOLE = ("obs", "wanda", "magnitude"), ("obs", "l1")
PLAN: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "unstructured": (WEIGHTS, (0.3, 0.4, 0.5, 0.6, 0.7)),
    "2:4": (WEIGHTS, ()),
    "4:8": (WEIGHTS, ()),
    "structured": (WHOLE, (0.1, 0.2, 0.3, 0.4)),
}
SEED = 11
SHOWN = ("a red car left of a blue cube", "two green spheres", "a purple elephant")
"""Of the sheets: relations, counts, a thing by itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One variant: the judge's verdicts by prompt, and the denoiser's relative squared error."""

    name: str
    pattern: str
    sparsity: float
    method: str
    strict: dict[str, bool]
    lenient: dict[str, bool]
    error: float


def request_of(method: str, pattern: str, shares: Sequence[float], prompts: tuple[str, ...]) -> PruneRequest:
    """Everything that is made of one method and pattern, from one calibration."""
    fields: dict[str, Any] = {"method": method, "pattern": pattern, "packages": 4}
    if len(shares) == 1:
        fields["sparsity"] = shares[0]
    sparsities = tuple(shares) if len(shares) > 1 else ()
    return PruneRequest(
        backend="embedded", prompts=prompts, order=Order(**fields), sparsities=sparsities, batch=8, seed=SEED
    )


async def measure(workshop: Workshop, name: str, out: Path, count: int) -> list[Outcome]:
    """One picture for each held-out prompt, judged."""
    card = resolve("embedded")
    assert card.vocabulary is not None
    experiment = Experiment(
        vocabulary=card.vocabulary,
        families=FAMILIES,
        count=count,
        arms=("single",),
        backend=name,
        seed=SEED,
    )
    rows = await evaluate(experiment, workshop.studio, workshop.home, out / "rows" / name)
    return list(rows.of_arm("single").values())


class DensePath:
    """The dense painter's calls over held-out prompts, and what it answers to them."""

    def __init__(self, prompts: tuple[str, ...], folder: Path) -> None:
        card = resolve("embedded")
        self._painter = Painter(card, load_pipeline(card, "cpu"))
        request = PruneRequest(backend="embedded", prompts=prompts, batch=8, seed=SEED + 1000)
        self._recording = Recording(folder, calibration_of(self._painter, request))
        for batch in range(self._recording.made, len(self._recording)):
            self._recording.record(self._painter.pipeline.transformer, batch)
        self._answers = self._play(self._painter.pipeline.transformer)

    def error(self, name: str) -> float:
        """Squared error of another backend's answers, over the square of the dense ones."""
        other = self._play(load_pipeline(resolve(name), "cpu").transformer)
        lost = sum(float(((a - b) ** 2).sum()) for a, b in zip(other, self._answers, strict=True))
        return lost / sum(float((answer**2).sum()) for answer in self._answers)

    def _play(self, denoiser: Any) -> list[torch.Tensor]:
        with torch.inference_mode(), fixed_threads(1):
            return [denoiser(*call.args, **call.kwargs)[0] for _, call in self._recording.play()]


async def make_rows(out: Path, count: int, calibration: int, only: str | None) -> list[Measured]:
    """Prune, paint and judge all variants of the plan; the dense painter first."""
    settings = Settings(home=out / "home", device="cpu")
    keep_backends_in(out / "home" / "backends")
    prompts = read_prompts("embedded", None, calibration, SEED)
    held_out = read_prompts("embedded", None, 16, SEED + 77)
    with tempfile.TemporaryDirectory() as folder:
        path = DensePath(held_out, Path(folder))
        async with open_workshop(settings, "embedded", "embedded") as workshop:
            rows = [await _row(workshop, "embedded", Order(), out, count, None)]
            for pattern, (methods, shares) in PLAN.items():
                if only not in (None, pattern):
                    continue
                for method in methods:
                    request = request_of(method, pattern, shares, prompts)
                    for order in request.orders:
                        name = request.name_of(order)
                        if not (out / "home" / "backends" / name).exists():
                            one = request.model_copy(update={"order": order, "sparsities": ()})
                            await workshop.executor.submit(PruneBackend.name, one)
                        rows.append(await _row(workshop, name, order, out, count, path))
                        print(_line(rows[-1], rows[0]), flush=True)
            await draw(workshop, out, rows)
    return rows


async def _row(
    workshop: Workshop, name: str, order: Order, out: Path, count: int, path: DensePath | None
) -> Measured:
    outcomes = await measure(workshop, name, out, count)
    return Measured(
        name=name,
        pattern=order.pattern if path else "dense",
        sparsity=order.sparsity if path else 0.0,
        method=order.method if path else "-",
        strict={row.case: row.correct for row in outcomes},
        lenient={row.case: row.lenient for row in outcomes},
        error=path.error(name) if path else 0.0,
    )


async def draw(workshop: Workshop, out: Path, rows: Sequence[Measured]) -> None:
    """A sheet for each pattern and prompt: rows are sparsities, columns methods, all from one seed."""
    for pattern, (methods, _) in PLAN.items():
        own = [row for row in rows if row.pattern == pattern]
        if not own:
            continue
        shares = sorted({row.sparsity for row in own})
        pictures: list[np.ndarray] = []
        labels: list[str] = []
        for share in shares:
            for prompt in SHOWN:
                for method in ("-", *methods):
                    name = next(
                        row.name
                        for row in rows
                        if row.method == method
                        and (method == "-" or (row.pattern == pattern and row.sparsity == share))
                    )
                    request = GenerateRequest(prompt=prompt, backend=name, seed=SEED)
                    result = await workshop.executor.submit("generate_image", request)
                    assert isinstance(result, GenerateResult)
                    picture: Image.Image = workshop.artifacts.load_image(result.picture)
                    pictures.append(np.asarray(picture.convert("RGB")))
                    labels.append("dense" if method == "-" else f"{method} {share * 100:g} %")
        columns = len(SHOWN) * (len(methods) + 1)
        stacked = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2)
        sheet = labelled_sheet(stacked, labels, columns=columns)
        sheet.save(out / f"pruning-{pattern.replace(':', 'of')}.png")


def tables(rows: Sequence[Measured]) -> str:
    """All rows as Markdown, a table for each pattern."""
    dense = rows[0]
    parts = [f"Dense: {_percent(dense.strict)} strict, {_percent(dense.lenient)} by GenEval's rules.\n"]
    for pattern in PLAN:
        own = [row for row in rows if row.pattern == pattern]
        if own:
            parts.append(f"**{pattern}**\n")
            parts.append("| sparsity | method | strict | against dense | GenEval's rules | output error |")
            parts.append("|---|---|---|---|---|---|")
            own.sort(key=lambda row: row.sparsity)
            parts += [f"| {_line(row, dense)} |" for row in own]
            parts.append("")
    return "\n".join(parts)


def _line(row: Measured, dense: Measured) -> str:
    difference = bootstrap([float(row.strict[case]) - float(dense.strict[case]) for case in dense.strict])
    return " | ".join(
        (
            f"{row.sparsity * 100:g} %",
            row.method,
            _percent(row.strict),
            _points(difference),
            _percent(row.lenient),
            f"{row.error:.4f}",
        )
    )


def _percent(verdicts: dict[str, bool]) -> str:
    interval = bootstrap([float(verdict) for verdict in verdicts.values()])
    return f"{interval.mean * 100:.1f} [{interval.low * 100:.0f}, {interval.high * 100:.0f}]"


def _points(interval: Interval) -> str:
    return f"{interval.mean * 100:+.1f} [{interval.low * 100:+.0f}, {interval.high * 100:+.0f}]"


def main(out: Path, count: int, calibration: int, only: str | None) -> None:
    """Measure, and write what was measured."""
    out.mkdir(parents=True, exist_ok=True)
    rows = asyncio.run(make_rows(out, count, calibration, only))
    told = [{key: getattr(row, key) for key in Measured.__slots__} for row in rows]
    (out / "rows.json").write_text(json.dumps(told), "utf-8")
    (out / "tables.md").write_text(tables(rows), "utf-8")
    print(tables(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--calibration", type=int, default=32)
    parser.add_argument("--only", choices=list(PLAN))
    arguments = parser.parse_args()
    main(arguments.out, arguments.count, arguments.calibration, arguments.only)
