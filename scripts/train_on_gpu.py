"""Trains painter, critic and judge on one accelerator within so many minutes, side by side.

An accelerator is idle while scenes are rendered and CPUs are while it learns, so nothing waits for its turn:
processes render, the painter begins with the first of their scenes, and when all of those are there critic,
judge and grader learn beside it. What needs the painter comes last: it is tuned by its own pictures, then
sharpened, and measured on GenEval's prompts before and after each.

    python -m scripts.train_on_gpu OUT --autoencoder FOLDER --minutes 24

Called again with the same OUT it goes on from what is there. `OUT/<stage>.log` has what each stage says.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from diorama.families import geneval_cases
from diorama.vocabulary import load_vocabulary
from models.embedded.profiles import PAINTER as RECIPES
from models.embedded.profiles import TUNING as TUNINGS
from models.embedded.profiles import ProfileName

PAINTER, PERCEPTION, GRADER, TUNING, SHARPENING = 0.58, 0.52, 0.08, 0.15, 0.12
"""Shares of the time. Critic, judge and grader learn while the painter does."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a training on an accelerator is given."""

    out: Path
    autoencoder: Path
    minutes: float
    scenes: int
    crew: int
    device: str
    profile: ProfileName
    compiled: bool

    def latents(self) -> bool:
        """Whether all scenes are rendered."""
        return len(list((self.out / "painter" / "latents").glob("?????.safetensors"))) >= max(
            1, self.scenes // 1000
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all stages, or the one that is named; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--scenes", type=int, default=200_000)
    parser.add_argument("--crew", type=int, default=max(1, (os.cpu_count() or 2) - 3))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--profile", choices=get_args(ProfileName), default="gpu")
    parser.add_argument("--compile", action="store_true", dest="compiled")
    parser.add_argument("--stage", choices=sorted(STAGES))
    asked = vars(parser.parse_args(arguments))
    stage = asked.pop("stage")
    lease = Lease(**asked)
    if stage is not None:
        torch.set_float32_matmul_precision("high")
        STAGES[stage](lease)
        return 0
    return run(lease)


def run(lease: Lease) -> int:
    """All stages, each in a process of its own; 0, or 1 if one failed."""
    lease.out.mkdir(parents=True, exist_ok=True)
    running = {"painter": start(lease, "painter")}
    waiting = {
        "critic": lease.latents,
        "judge": lease.latents,
        "grader": lease.latents,
        "tuning": lambda: ended(running, "painter", "grader"),
        "sharpening": lambda: ended(running, "tuning"),
    }
    if geneval_cases(load_vocabulary(RECIPES[lease.profile].vocabulary)):
        waiting["geneval_painter"] = lambda: ended(running, "painter", "judge")
        waiting["geneval_tuned"] = lambda: ended(running, "tuning", "judge")
        waiting["geneval_sharpened"] = lambda: ended(running, "sharpening", "judge")
    try:
        return _watch(lease, running, waiting)
    except KeyboardInterrupt:  # the stages were interrupted too, and write their checkpoints
        for process in running.values():
            process.wait()
        print(f"stopped: called again with {lease.out} it goes on", file=sys.stderr)
        return 130


def _watch(
    lease: Lease, running: dict[str, subprocess.Popen[bytes]], waiting: dict[str, Callable[[], bool]]
) -> int:
    """Start what no longer has to wait, until nothing is left; 1 if a stage failed."""
    failed: list[str] = []
    while waiting or any(process.poll() is None for process in running.values()):
        for name in [name for name, ready in waiting.items() if ready()]:
            del waiting[name]
            running[name] = start(lease, name)
        for name, process in running.items():
            if process.poll() and name not in failed:
                failed.append(name)
                print(f"{name} failed: see {lease.out / name}.log", file=sys.stderr, flush=True)
        if failed and not any(process.poll() is None for process in running.values()):
            return 1
        time.sleep(0.5)
    return int(bool(failed))


def ended(running: dict[str, subprocess.Popen[bytes]], *names: str) -> bool:
    """Whether these stages are over, and well."""
    return all(name in running and running[name].poll() == 0 for name in names)


def start(lease: Lease, stage: str) -> subprocess.Popen[bytes]:
    """A stage in a process of its own, which writes to its log."""
    options = [
        f"--{name}={getattr(lease, name)}"
        for name in ("autoencoder", "minutes", "scenes", "crew", "device", "profile")
    ]
    command = [sys.executable, "-m", "scripts.train_on_gpu", str(lease.out), *options, "--stage", stage]
    print(f"{stage} begins", flush=True)
    with (lease.out / f"{stage}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, *(["--compile"] if lease.compiled else [])], stdout=log, stderr=log
        )


def train_painter(lease: Lease) -> None:
    """Render, read, paint."""
    from models.embedded.training.painter import train

    train(
        lease.profile,
        lease.out / "painter",
        autoencoder=lease.autoencoder,
        critic=lease.out / "critic",
        judge=lease.out / "judge",
        scenes=lease.scenes,
        crew=lease.crew,
        minutes=PAINTER * lease.minutes,
        compiled=lease.compiled,
        device=lease.device,
    )


def train_perception(lease: Lease, part: Literal["critic", "judge"]) -> None:
    """Critic or judge."""
    from models.embedded.training.measure import load_reconstructions
    from models.embedded.training.perception import train

    train(
        part,
        lease.profile,
        lease.out / part,
        crew=max(1, lease.crew // 2),
        minutes=PERCEPTION * lease.minutes,
        degrade=load_reconstructions(lease.autoencoder, lease.device),
        device=lease.device,
    )


def train_grader(lease: Lease) -> None:
    """What the painter is tuned by."""
    from models.embedded.training import grader
    from models.embedded.training.latents import LatentCache
    from models.embedded.training.painters_world import open_world
    from models.embedded.training.rows import Rows

    words = load_vocabulary(RECIPES[lease.profile].vocabulary)
    rows = Rows(LatentCache(open_world(words), lease.out / "painter" / "latents", lease.scenes), lease.device)
    grader.train(
        words,
        rows.all(),
        lease.out / "tuning" / "grader",
        TUNINGS[lease.profile].grader,
        minutes=GRADER * lease.minutes,
        device=lease.device,
    )


def tune_painter(lease: Lease) -> None:
    """The painter by its own pictures."""
    from models.embedded.training.tuning import tune

    latents = lease.out / "tuning" / "latents"
    if not latents.exists():
        latents.symlink_to((lease.out / "painter" / "latents").resolve())
    _go_on(lease, tune, "tuning", after="painter", crew=1, share=TUNING)


def sharpen_painter(lease: Lease) -> None:
    """The tuned painter, towards what is rendered."""
    from models.embedded.training.sharpening import sharpen

    _go_on(lease, sharpen, "sharpening", after="tuning", crew=lease.crew, share=SHARPENING)


def _go_on(
    lease: Lease, train: Callable[..., Path], stage: str, *, after: str, crew: int, share: float
) -> None:
    """Train the painter of the stage `after` in a `share` of the time."""
    train(
        lease.profile,
        lease.out / stage,
        start=lease.out / after / "painter",
        critic=lease.out / "critic",
        judge=lease.out / "judge",
        scenes=lease.scenes,
        crew=crew,
        minutes=share * lease.minutes,
        compiled=lease.compiled,
        device=lease.device,
    )


def measure(lease: Lease, folder: str) -> None:
    """GenEval's prompts by the judge."""
    from models.embedded.training.geneval import main

    main(
        [
            str(lease.out / folder / "painter"),
            f"--judge={lease.out / 'judge'}",
            f"--device={lease.device}",
            f"--samples={4 if lease.profile == 'gpu' else 1}",
        ]
    )


STAGES: dict[str, Callable[[Lease], None]] = {
    "painter": train_painter,
    "critic": lambda lease: train_perception(lease, "critic"),
    "judge": lambda lease: train_perception(lease, "judge"),
    "grader": train_grader,
    "tuning": tune_painter,
    "sharpening": sharpen_painter,
    "geneval_painter": lambda lease: measure(lease, "painter"),
    "geneval_tuned": lambda lease: measure(lease, "tuning"),
    "geneval_sharpened": lambda lease: measure(lease, "sharpening"),
}


if __name__ == "__main__":
    sys.exit(main())
