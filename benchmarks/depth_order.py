"""What stands before what, by the critic's guess and by the depth tool, and what the loop makes of the tool.

    python -m benchmarks.depth_order pairs [--pairs 500]
    python -m benchmarks.depth_order loop --out DIR --judge DEPTH [--count 40] [--images 8]

`pairs` takes held-out scenes, as the card does but others: of all families, where some things float, and of
the family "depth", whose prompts ask what stands before what. `loop` refines held-out prompts of that family
twice, from the same seeds: with the embedded mind's depth tool, and by its critic's guess alone. The judge
says whether the winner is right, by its own guess of distances, and beside it with those of DEPTH, a network
that the loop never sees (`maulstick train depth --variant flat`). Rows that DIR holds are not made again.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from agents.embedded_measuring import measure_distances
from diorama.families import Case, Family
from diorama.truth import Mismatch, Seen, mismatches
from evaluation.diorama import Experiment, evaluate
from evaluation.statistics import bootstrap
from models.artifact import ArtifactRef
from models.backends import WEIGHTS, resolve
from models.critique_image import CritiqueRequest, CritiqueResult
from models.embedded.perception import load_perceiver
from models.embedded.training.measure_depth import measure_depth
from models.estimate_depth import find_depth_model, read_card
from models.pixel_perfect_depth.folders import load_pipeline
from models.threads import fixed_threads
from serving.assembly import Workshop, open_workshop
from settings import Settings

SEED = 29


def count_pairs(pairs: int) -> None:
    """Print how many pairs come in the right order."""
    folder = find_depth_model("embedded")
    card = read_card(folder)
    assert card is not None
    pipeline, critic = load_pipeline(folder), load_perceiver(WEIGHTS / "critic")
    print("| scenes | pairs | order: depth | order: guess | before, behind, neither: depth | guess |")
    print("|---|---|---|---|---|---|")
    shares: dict[str, dict[Family, float] | None] = {"of all families": None, "of depth": {"depth": 1.0}}
    with fixed_threads(1):
        for name, families in shares.items():
            found = measure_depth(
                pipeline, card, critic, "cpu_names", 10_000, pairs=pairs, families=families, seed=SEED
            )
            columns = [
                f"{_share(verdicts)}"
                for verdicts in (found.ordered, found.guessed, found.placed, found.placed_guessed)
            ]
            print(f"| {name} | {len(found.ordered)} | {' | '.join(columns)} |", flush=True)


def _share(verdicts: Sequence[bool]) -> str:
    told = bootstrap([float(verdict) for verdict in verdicts])
    return f"{told.mean * 100:.1f} [{told.low * 100:.1f}, {told.high * 100:.1f}]"


async def refine_both(out: Path, depth: Path, count: int, images: int) -> None:
    """Print how many of the depth prompts are right with the tool and without it."""
    vocabulary = resolve("embedded").vocabulary
    assert vocabulary is not None
    experiment = Experiment(
        vocabulary=vocabulary,
        families=("depth",),
        count=count,
        images=images,
        arms=("single", "loop"),
        seed=SEED,
    )
    right: dict[str, dict[str, tuple[bool, bool]]] = {}
    for name in ("none", "embedded"):
        settings = Settings(home=out / "home", device="cpu", depth=name)
        async with open_workshop(settings, "embedded", "embedded") as workshop:
            rows = await evaluate(experiment, workshop.studio, workshop.home, out / f"rows-{name}")
            for arm in experiment.arms:
                found = rows.of_arm(arm)
                right[f"{arm}, depth {name}"] = {
                    case.id: await verdicts(workshop, case, found[case.id].picture, str(depth))
                    for case in experiment.cases()
                }
    print("| arm | right, measured by another network | right, by the judge's guess |")
    print("|---|---|---|")
    for name, cases in right.items():
        measured, guessed = zip(*cases.values(), strict=True)
        print(f"| {name} | {_share(measured)} | {_share(guessed)} |")
    with_tool, without = right["loop, depth embedded"], right["loop, depth none"]
    for number, name in enumerate(("measured", "by the judge's guess")):
        apart = [100.0 * (with_tool[case][number] - without[case][number]) for case in with_tool]
        told = bootstrap(apart)
        print(f"the tool, {name}: {told.mean:+.1f} [{told.low:+.1f}, {told.high:+.1f}] points, paired")


async def verdicts(workshop: Workshop, case: Case, picture: ArtifactRef, depth: str) -> tuple[bool, bool]:
    """Whether a picture shows its prompt: with distances by another network, and by the judge's guess."""
    request = CritiqueRequest(picture=picture, model="judge")
    seen = CritiqueResult.model_validate(await workshop.executor.submit("critique_image", request)).perception
    measured = await measure_distances(workshop.executor, depth, picture, seen)

    def wrong(things: Sequence[Seen]) -> list[Mismatch]:
        return mismatches(case.graph, things, seen.setting)

    return (
        not wrong([Seen.of(thing) for thing in measured.things]),
        not wrong([Seen.of(thing) for thing in seen.things]),
    )


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    pairs = what.add_parser("pairs")
    pairs.add_argument("--pairs", type=int, default=500)
    loop = what.add_parser("loop")
    loop.add_argument("--out", type=Path, required=True)
    loop.add_argument("--judge", type=Path, required=True)
    loop.add_argument("--count", type=int, default=40)
    loop.add_argument("--images", type=int, default=8)
    asked = parser.parse_args()
    if asked.what == "pairs":
        count_pairs(asked.pairs)
    else:
        asyncio.run(refine_both(asked.out, asked.judge, asked.count, asked.images))


if __name__ == "__main__":
    main()
