"""How fast depth is painted, against the same network computed in the official way, in the same run.

    python -m benchmarks.depth_speed [--size official|small] [--side 512] [--steps 4] [--runs N] [--batch 1]
                                     [--device cpu|cuda] [--dtypes bf16 f32] [--compile] [--json]

One forward, and a whole run of `--steps` from noise, both ways turn by turn (A B, B A, ...); the median
counts. Weights are random, also where training starts from zero. In bf16 the official way is autocast over
float32 weights, and ours has its weights in bf16, as the pipeline has them. A CPU works on one thread and its
seconds are CPU time, so that what else the machine does does not count. The ceiling is the fastest matrix
product of the same type in the same run. On a GPU also 1024x768, batches of 1 and 4, and torch.compile.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import asdict, dataclass
from itertools import product as pairs
from statistics import median
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.official_depth import OfficialDepth
from models.pixel_perfect_depth.blocks import product
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.schedule import TIMESTEPS, steps_of, timestep_grid
from models.threads import fixed_threads

SIZES: dict[str, dict[str, Any]] = {
    "official": {},
    "small": {"hidden_size": 128, "num_layers": 4, "num_heads": 2, "patch_size": 4, "semantic_dim": 96},
}
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
CEILING = 2048
"""Side of the matrices whose product is the ceiling."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is painted: sides in pixels, pictures at a time, and whether torch.compile may help both."""

    height: int
    width: int
    batch: int
    compiled: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: seconds, shares of the ceiling, and how far ours is from theirs (relative L2)."""

    dtype: str
    what: str
    setting: Setting
    official: float
    ours: float
    ratio: float
    official_share: float
    our_share: float
    apart: float


class Contest:
    """Both ways, with one network's weights and one input, in one type."""

    def __init__(self, network: Any, dtype: str, setting: Setting, steps: int) -> None:
        self.dtype, self.setting, self.steps = dtype, setting, steps
        self.official: Any = OfficialDepth(network)
        self.ours: Any = network if dtype == "f32" else half_of(network)
        if setting.compiled:
            self.ours = copy(self.ours)  # of the module alone: the weights stay shared
            for one, name in ((self.official, "forward"), (self.ours, "denoise")):
                setattr(one, name, cast(Any, torch).compile(getattr(one, name)))
        self.device: torch.device = network.device
        rows, columns = network.grid(setting.height, setting.width)
        noise = torch.Generator().manual_seed(1)
        shape = (setting.batch, 3, setting.height, setting.width)
        self.image = torch.rand(shape, generator=noise).to(self.device)
        self.noise = torch.randn(self.image[:, :1].shape, generator=noise).to(self.device)
        tokens = (setting.batch, rows * columns, int(network.config["semantic_dim"]))
        self.semantics = torch.randn(tokens, generator=noise).to(self.device)
        self.flops = forward_flops(network.config, rows, columns, setting.batch)

    def ways(self, what: str) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        """The official way and ours to what is asked: "forward" or "run"."""
        inputs = torch.cat([self.noise, self.image - 0.5], 1)
        start = torch.tensor(TIMESTEPS, device=self.device)
        kind = DTYPES[self.dtype]
        own, semantics = inputs.to(kind), self.semantics.to(kind)

        def official() -> Tensor:
            half = torch.autocast(self.device.type, kind) if self.dtype == "bf16" else nullcontext()
            with half:
                if what == "forward":
                    return self.official.forward(inputs, start, self.semantics)
                return self.official.sample(self.image, self.semantics, self.noise, self.steps)

        def ours() -> Tensor:
            if what == "forward":
                return self.ours(own, start, semantics).sample
            return paint(self.ours, self.image, semantics, self.noise, self.steps)

        return official, ours


def build(size: str, device: str) -> Any:
    """A float32 network of random weights, those that start from zero (modulations, outlet) included."""
    _ = torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    network: Any = PixelPerfectTransformer2DModel(**SIZES[size]).eval()
    for layer in (*(block.modulation for block in network.blocks), network.norm_out, network.proj_out):
        torch.nn.init.normal_(layer.weight, std=0.02)
        torch.nn.init.normal_(layer.bias, std=0.02)
    return network.to(device)


def half_of(network: Any) -> Any:
    """A copy in bf16."""
    with torch.device("meta"):
        copy: Any = PixelPerfectTransformer2DModel(**network.config)
    halves = {name: value.bfloat16() for name, value in network.state_dict().items()}
    copy.load_state_dict(halves, assign=True)
    return copy.eval()


def paint(network: Any, image: Tensor, semantics: Tensor, noise: Tensor, steps: int) -> Tensor:
    """Relative depth (N, 1, H, W) of pictures in 0..1, as the pipeline does it after its encoder."""
    given = network.prepare((image - 0.5).to(network.dtype), semantics)
    grid, latent = timestep_grid(steps), noise
    for (now, after), modulation in zip(steps_of(grid), network.modulate(grid), strict=True):
        velocity = network.denoise(latent.to(network.dtype), given, modulation).float()
        latent = latent + (after - now) / TIMESTEPS * velocity
    return latent + 0.5


def forward_flops(config: Any, rows: int, columns: int, batch: int = 1) -> int:
    """Floating point operations of one forward's matrix products, two for each multiplication.

    With T coarse tokens, width D, S semantic channels, patch p, MLP ratio r, and K coarse and L fine blocks:
    embedding 2 T (2p)^2 C D, a block of n tokens (8 + 4r) n D^2 + 4 n^2 D with n = T or 4T, fusion
    2 T ((D + S) 4D + 2 (4D)^2), outlet 2 (4T) D p^2; all these for each picture. Once for the batch, by the
    timestep alone: 2 (256 D + D^2) and 2 (6 (K + L) D^2 + 2 D^2). A run counts as so many forwards for both
    ways: what ours leaves out is no work that it does fast.
    """
    tokens, width, patch = rows * columns, config["hidden_size"], config["patch_size"]
    layers = config["num_layers"]
    coarse = config["num_coarse_layers"] or layers // 2
    embedding = 2 * tokens * (2 * patch) ** 2 * config["in_channels"] * width

    def block(count: int) -> int:
        return int((8 + 4 * config["mlp_ratio"]) * count * width**2) + 4 * count**2 * width

    fusion = 2 * tokens * ((width + config["semantic_dim"]) * 4 * width + 2 * (4 * width) ** 2)
    outlet = 2 * 4 * tokens * width * patch**2 * config["out_channels"]
    blocks = coarse * block(tokens) + (layers - coarse) * block(4 * tokens)
    time_only = 2 * (256 * width + width**2) + 2 * (6 * layers + 2) * width**2
    return batch * (embedding + blocks + fusion + outlet) + time_only


def ceiling(dtype: str, device: str, side: int = CEILING, runs: int = 5) -> float:
    """FLOP a second of the largest matrix product that is fastest: by `torch.mm`, or by our `product`."""
    one, other = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
    ways = (lambda: torch.mm(one, other), lambda: product(one, other))
    return max(2 * side**3 / median([_time(way, device)[0] for _ in range(runs + 1)][1:]) for way in ways)


def _time(way: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Seconds and the result; CPU time on a CPU."""
    if device == "cpu":
        began = time.process_time()
        found = way()
        return time.process_time() - began, found
    torch.cuda.synchronize()
    began = time.perf_counter()
    found = way()
    torch.cuda.synchronize()
    return time.perf_counter() - began, found


def compare(contest: Contest, what: str, top: float, runs: int) -> Row:
    """Time both turn by turn, who begins changing each time."""
    ways, device = contest.ways(what), contest.device.type
    if device != "cpu" or contest.setting.compiled:
        for way in ways:
            way()
    taken: tuple[list[float], list[float]] = ([], [])
    found: list[Tensor] = [contest.noise, contest.noise]
    for run in range(runs):
        for number in (0, 1) if run % 2 == 0 else (1, 0):
            seconds, found[number] = _time(ways[number], device)
            taken[number].append(seconds)
    official, ours = map(median, taken)
    work = contest.flops * (contest.steps if what == "run" else 1) / top
    theirs, mine = found[0].float(), found[1].float()
    apart = float(((mine - theirs).square().sum() / theirs.square().sum()).sqrt())
    named = what if what == "forward" else f"{contest.steps} steps"
    shares = work / official, work / ours
    return Row(contest.dtype, named, contest.setting, official, ours, official / ours, *shares, apart)


def settings(device: str, side: int, batch: int, compiled: bool) -> list[Setting]:
    """What is asked for; on a GPU also the size that the network was trained for, batches and compiled."""
    if device == "cpu":
        return [Setting(side, side, batch, compiled)]
    sizes = {(side, side), (768, 1024)}
    return [Setting(*size, n, c) for size, n, c in pairs(sorted(sizes), sorted({batch, 1, 4}), (False, True))]


@torch.inference_mode()
def measure(
    size: str, device: str, dtypes: Sequence[str], asked: Sequence[Setting], steps: int, runs: int
) -> Iterator[Row]:
    """A row for each type, setting, and forward or run."""
    network = build(size, device)
    for dtype in dtypes:
        top = ceiling(dtype, device)
        for setting in asked:
            contest = Contest(network, dtype, setting, steps)
            for what in ("forward", "run"):
                yield (row := compare(contest, what, top, runs))
                times = f"{row.official:.4g} s, {row.ours:.4g} s"
                print(f"{row.dtype} {row.what}: {times}", file=sys.stderr, flush=True)


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    table = Table("type", "what", "pictures", "official", "ours", "times as fast", "of the ceiling", "apart")
    for row in rows:
        one = row.setting
        pictures = f"{one.batch} x {one.width}x{one.height}{' compiled' if one.compiled else ''}"
        shares = f"{row.official_share:.0%}, {row.our_share:.0%}"
        times = f"{row.official:.4g} s", f"{row.ours:.4g} s", f"{row.ratio:.2f}"
        table.add_row(row.dtype, row.what, pictures, *times, shares, f"{row.apart:.1e}")
    Console(width=110).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="official")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2, help="pairs, each way once")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args(arguments)
    if told.device == "cuda" and not torch.cuda.is_available():
        parser.error("this torch sees no GPU: leave --device out")
    asked = settings(told.device, told.side, told.batch, told.compile)
    with fixed_threads(1 if told.device == "cpu" else None):
        rows = list(measure(told.size, told.device, told.dtypes, asked, told.steps, told.runs))
    if told.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        show(rows)


if __name__ == "__main__":
    main()
