"""How fast a pruned backend paints, as a ratio to its parent in the same run.

    python -m benchmarks.pruning_speed --home DIR NAME [NAME ...]

DIR is a MAULSTICK_HOME that holds the pruned backends. Pictures are painted turn by turn, one at a time, so
that whatever else the machine does falls on all of them; the median counts.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch

import argparse
import time
from pathlib import Path
from statistics import median

from models.backends import find_folder, keep_backends_in, resolve
from models.painting import Painter, denoise, settle
from models.picture_request import GenerateRequest
from models.pipelines import load_pipeline
from models.threads import fixed_threads
from models.weights import check_folder

PROMPT = "a photo of a red cube"


def main(home: Path, names: list[str], rounds: int) -> None:
    """Print a line for each backend, its parent first."""
    keep_backends_in(home / "backends")
    parent = resolve(names[0]).parent
    assert parent is not None, f"{names[0]} was not pruned"
    painters = {name: _open(name) for name in (parent, *names)}
    seconds: dict[str, list[float]] = {name: [] for name in painters}
    with fixed_threads(1):
        for seed in range(rounds + 1):
            for name, painter in painters.items():
                request = GenerateRequest(prompt=PROMPT, backend=name, seed=seed)
                began = time.perf_counter()
                denoise(painter, [PROMPT], [seed], settle(painter, request))
                if seed:  # the first round warms up
                    seconds[name].append(time.perf_counter() - began)
    dense = median(seconds[parent])
    print("| backend | parameters of the denoiser | seconds a picture | times as fast |\n|---|---|---|---|")
    for name, taken in seconds.items():
        own = median(taken)
        print(f"| {name} | {_count(name) / 1e6:.2f} M | {own:.3f} | {dense / own:.2f} |")


def _open(name: str) -> Painter:
    backend = resolve(name)
    return Painter(backend, load_pipeline(backend, "cpu"))


def _count(name: str) -> int:
    folder = find_folder(resolve(name))
    return check_folder(next(folder / part for part in ("transformer", "unet") if (folder / part).is_dir()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    main(arguments.home, arguments.names, arguments.rounds)
