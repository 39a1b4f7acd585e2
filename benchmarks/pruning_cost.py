"""What pruning takes: time and memory, against the official procedure done the straightforward way.

    python -m benchmarks.pruning_cost procedures [--count 32] [--runs 2]
    python -m benchmarks.pruning_cost ablations [--count 32]
    python -m benchmarks.pruning_cost widths [--largest 4096]

`procedures`: the embedded painter, pruned by both, turn by turn, each in a process of its own. Memory is how
much the process grew at its largest while it pruned. `ablations`: schedules of timestep weights, and
packages, against the denoiser's error on held-out prompts, time and memory. `widths`: one random layer at a
time (`benchmarks/pruning_widths.py`).
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.official_pruning import prune_officially
from benchmarks.pruning_widths import widths
from models.backends import resolve
from models.obs_diff import Order, prune_denoiser
from models.obs_diff.replay import Recording
from models.obs_diff.schedules import SCHEDULES
from models.painting import Painter
from models.pipelines import load_pipeline
from models.prune_backend import PipelineCalibration, calibration_of
from models.prune_request import PruneRequest
from models.threads import fixed_threads
from serving.prune import read_prompts

SEED = 11
STRUCTURED: dict[str, Any] = {"pattern": "structured", "sparsity": 0.3}
FIRST: tuple[dict[str, Any], ...] = ({"pattern": "unstructured", "sparsity": 0.5}, STRUCTURED)
SECOND: tuple[dict[str, Any], ...] = ({"pattern": "unstructured", "sparsity": 0.6}, STRUCTURED)
Told = dict[str, float]


def open_calibration(count: int, seed: int = SEED) -> PipelineCalibration:
    """The embedded painter with prompts to calibrate it with."""
    card = resolve("embedded")
    prompts = read_prompts("embedded", None, count, seed)
    painter = Painter(card, load_pipeline(card, "cpu"))
    return calibration_of(painter, PruneRequest(backend="embedded", prompts=prompts, batch=8, seed=seed))


def prune_once(procedure: str, order: Order, count: int) -> Told:
    """Seconds and bytes of one pruning, in this process, and the error that it leaves."""
    calibration = open_calibration(count)
    calibration.run(0)  # what a first run allocates is no cost of pruning
    denoiser = calibration.painter.pipeline.transformer
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with fixed_threads(1):
        if procedure == "official":
            hessians = prune_officially(denoiser, order, calibration)
        else:
            placement = "disk" if procedure == "ours, activations on disk" else "memory"
            hessians = prune_denoiser(denoiser, order, calibration, placement=placement).hessian_bytes
        seconds = time.perf_counter() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return {"seconds": seconds, "grown": 1024.0 * grown, "hessians": hessians, "error": _error(denoiser)}


def _error(denoiser: Any) -> float:
    """Relative squared error of the denoiser's output on the dense path over held-out prompts."""
    held_out = open_calibration(8, SEED + 77)
    dense = held_out.painter.pipeline.transformer
    lost = base = 0.0
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        recording = Recording(Path(folder), held_out)
        recording.record(dense, 0)
        for _, call in recording.play():
            wanted = dense(*call.args, **call.kwargs)[0]
            lost += float(((denoiser(*call.args, **call.kwargs)[0] - wanted) ** 2).sum())
            base += float((wanted**2).sum())
    return lost / base


def in_own_process(procedure: str, order: Order, count: int) -> Told:
    """`prune_once`, so that memory is measured from the same start."""
    words = ["one", "--procedure", procedure, "--order", order.model_dump_json(), "--count", str(count)]
    command = [sys.executable, "-m", "benchmarks.pruning_cost", *words]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return cast(Told, json.loads(printed.splitlines()[-1]))


def procedures(count: int, runs: int) -> None:
    """Ours against the official procedure, turn by turn."""
    variants = (
        ("official", 4),
        ("ours", None),
        ("ours", 4),
        ("ours, activations on disk", 4),
    )
    for fields in FIRST:
        print(f"\n{fields['pattern']}, {count} prompts")
        print("| procedure | packages | time | grown | Hessians | output error |")
        print("|---|---|---|---|---|---|")
        best: dict[tuple[str, int | None], Told] = {}
        for _ in range(runs):
            for name, packages in variants:
                rule = {"count_rule": "official"} if name == "official" else {}
                order = Order(**fields, packages=packages, **cast(Any, rule))
                told = in_own_process(name, order, count)
                key = (name, packages)
                if key not in best or told["seconds"] < best[key]["seconds"]:
                    best[key] = told
        for name, packages in variants:
            row = _row(best[name, packages], best["official", 4])
            print(f"| {name} | {packages or 'by memory: 1'} | {row} |", flush=True)


def ablations(count: int) -> None:
    """Schedules, then packages."""
    for fields in SECOND:
        print(
            f"\n{fields['pattern']} {fields['sparsity'] * 100:g} %\n\n| schedule | output error |\n|---|---|"
        )
        for schedule in SCHEDULES:
            told = in_own_process("ours", Order(**fields, schedule=schedule, packages=4), count)
            print(f"| {schedule} | {told['error']:.5f} |", flush=True)
        print(
            "\n| packages | trajectory | time | grown | Hessians | output error |\n|---|---|---|---|---|---|"
        )
        base: Told | None = None
        for trajectory in ("dense", "pruned"):
            for packages in (1, 2, 4, 8):
                order = Order(**fields, packages=packages, trajectory=cast(Any, trajectory))
                told = in_own_process("ours, activations on disk", order, count)
                base = base or told
                print(f"| {packages} | {trajectory} | {_row(told, base)} |", flush=True)


def _row(told: Told, base: Told) -> str:
    return " | ".join(
        (
            f"{told['seconds']:.1f} s ({base['seconds'] / told['seconds']:.2f} x as fast)",
            f"{told['grown'] / 2**20:.0f} MiB",
            f"{told['hessians'] / 2**20:.1f} MiB",
            f"{told['error']:.5f}",
        )
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["procedures", "ablations", "widths", "one"])
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--largest", type=int, default=4096)
    parser.add_argument("--procedure", help=argparse.SUPPRESS)
    parser.add_argument("--order", help=argparse.SUPPRESS)
    told = parser.parse_args()
    match told.what:
        case "procedures":
            procedures(told.count, told.runs)
        case "ablations":
            ablations(told.count)
        case "widths":
            widths(told.largest)
        case _:
            order = Order.model_validate_json(told.order)
            print(json.dumps(prune_once(told.procedure, order, told.count)))


if __name__ == "__main__":
    main()
