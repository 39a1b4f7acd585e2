"""Speed of placing and drawing scenes, in scenes per second of one core.

    python -m benchmarks.rendering [--count 240] [--size 128] [--device cpu]

Processor time is measured on a CPU, wall time on a GPU. The baseline is the same scenes in the same run
without supersampling and truth; solids are the baseline of composites and cut-outs. Cut-outs are left out
where there is no sprite atlas (`make sprites`).
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from diorama.atlas import ATLAS_PATH
from diorama.graph import INVERSE, Group, Relation, SceneGraph
from diorama.place import Unplaceable, complete
from diorama.render import render
from diorama.scene import Scene
from diorama.vocabulary import load_vocabulary


def random_graph(rng: np.random.Generator, kind: str = "solid") -> SceneGraph:
    """One of: one thing, two to six of a kind, two to four different ones, or two in a relation."""
    names = [shape.name for shape in load_vocabulary().shapes if shape.kind == kind]
    shapes = [str(shape) for shape in rng.permutation(names)]
    family = int(rng.integers(4))
    if family == 0:
        return SceneGraph(groups=(Group(shape=shapes[0]),))
    if family == 1:
        return SceneGraph(groups=(Group(shape=shapes[0], count=int(rng.integers(2, 7))),))
    if family == 2:
        return SceneGraph(groups=tuple(Group(shape=shape) for shape in shapes[: int(rng.integers(2, 5))]))
    predicate = list(INVERSE)[int(rng.integers(len(INVERSE)))]
    relation = Relation(subject=0, predicate=predicate, object=1)
    return SceneGraph(groups=(Group(shape=shapes[0]), Group(shape=shapes[1])), relations=(relation,))


def place_all(count: int, seed: int = 0, kind: str = "solid") -> tuple[list[Scene], int]:
    """That many scenes of one kind of things, and how many graphs found no place on the way."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    failed = 0
    while len(scenes) < count:
        try:
            scenes.append(complete(random_graph(rng, kind), rng, load_vocabulary()))
        except Unplaceable:
            failed += 1
    return scenes, failed


def seconds(work: Callable[[], object], device: str) -> float:
    """What the work costs: processor time on a CPU, synchronised wall time elsewhere."""
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print the figures of every kind."""
    parser = argparse.ArgumentParser(description="Speed of placing and drawing scenes.")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind in ("solid", "composite", "cutout") if ATLAS_PATH.is_file() else ("solid", "composite"):
        measure(kind, options.count, options.size, options.device)


def measure(kind: str, count: int, size: int, device: str) -> None:
    """Print one line per stage for scenes of one kind of things."""
    start = time.process_time()
    scenes, failed = place_all(count, kind=kind)
    placing = time.process_time() - start
    print(f"{kind}s: placing {count / placing:.0f} scenes/core-s ({failed} graphs without a place)")
    for label, supersample, truth in (
        ("pictures and truth", 2, True),
        ("pictures", 2, False),
        ("baseline: 1 ray/px", 1, False),
    ):

        def draw(supersample: int = supersample, truth: bool = truth) -> None:
            render(scenes, size, device, supersample, truth)

        draw()
        rate = count / seconds(draw, device)
        print(f"  {label:20s} {rate:8.0f} scenes/{'core-' if device == 'cpu' else ''}s")


if __name__ == "__main__":
    main()
