"""How good the embedded depth network is, beside what it is compared with in the paper.

    python -m benchmarks.depth_quality --models DIR --out DIR [--count 200]

DIR holds a folder for each variant that `maulstick train depth --variant V --out DIR/V` trained, all with
equal pictures, steps and widths. Held-out scenes of the diorama, each depth fitted to the true one by the
same robust line; means with 95 % intervals over pictures, and what each variant loses against the method on
the same ones.

"true depth, coded" is the true depth sent through the autoencoder: no latent method can be better at edges.
Resized: the embedded network at half size, brought back in three ways. Writes tables.md, rows.json, sheets.
"""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.point_pictures import draw_points, zoomed_edge
from diorama.sheet import labelled_sheet
from diorama.vocabulary import load_vocabulary
from evaluation.statistics import bootstrap
from models.backends import WEIGHTS
from models.embedded.perception import load_perceiver
from models.embedded.training.stream import PictureStream
from models.estimate_depth import find_depth_model
from models.pixel_perfect_depth.alignment import AlignmentError, align
from models.pixel_perfect_depth.colouring import colour
from models.pixel_perfect_depth.folders import load_pipeline
from models.pixel_perfect_depth.geometry import Intrinsics
from models.pixel_perfect_depth.metrics import depth_errors, edge_chamfer
from models.pixel_perfect_depth.normalisation import normalise
from models.pixel_perfect_depth.profiles import DEPTH, VARIANTS, Variant
from models.pixel_perfect_depth.training import (
    HELD_OUT_SEED,
    SIDE,
    DepthPictures,
    draw_pictures,
    load_autoencoder,
)
from models.pixel_perfect_depth.upsampling import RESAMPLINGS, resample
from models.pixel_perfect_depth.variants import depth_latents, depth_of_latents, load_network, predict

Predictor = Callable[[Tensor, torch.Generator], Tensor]
Floats = NDArray[np.floating]
LABELS: dict[str, str] = {
    "full": "the method",
    "plain": "without semantics",
    "flat": "without cascade",
    "direct": "regression, one pass",
    "latent": "latent diffusion",
    "shipped": "the embedded network",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to a depth: its errors by picture (NaN where a picture has none), and seconds a picture."""

    name: str
    abs_rel: tuple[float, ...]
    delta1: tuple[float, ...]
    edges: tuple[float, ...]
    seconds: float


def load_variant(folder: Path, variant: Variant) -> Predictor:
    """What `training.save` wrote, as a function from pictures in 0..1 to relative depths."""
    network, encoder = load_network(folder, variant, load_perceiver(WEIGHTS / "critic").network)
    vae = load_autoencoder(WEIGHTS / "painter" / "vae") if variant == "latent" else None

    def run(pictures: Tensor, noise: torch.Generator) -> Tensor:
        return predict(variant, network, encoder, vae, pictures, noise)

    return run


def load_shipped() -> Predictor:
    """The network that ships, whatever it predicts."""
    pipeline = load_pipeline(find_depth_model("embedded"))

    def run(pictures: Tensor, noise: torch.Generator) -> Tensor:
        drawn = torch.randn(len(pictures), 1, *pictures.shape[-2:], generator=noise)
        with torch.inference_mode():
            return pipeline.denoise(pictures, drawn, pipeline.default_steps)

    return run


@torch.inference_mode()
def coded(drawn: DepthPictures) -> Predictor:
    """The true depth through the autoencoder; knows the answer, and loses what latents cannot hold."""
    vae = load_autoencoder(WEIGHTS / "painter" / "vae")
    clean = normalise(drawn.depth, torch.ones_like(drawn.depth))
    parts = [clean[start : start + 16] for start in range(0, len(clean), 16)]
    back = torch.cat([depth_of_latents(vae, depth_latents(vae, part)) for part in parts]) + 0.5
    rows = iter(back)
    return lambda _pictures, _noise: next(rows)[None].clone()


def measure(name: str, found: Sequence[Floats], drawn: DepthPictures, seconds: float) -> Row:
    """The errors of relative depths (S, S), one for each picture."""
    errors: list[tuple[float, float, float]] = []
    for number, relative in enumerate(found):
        true = drawn.depth[number, 0].numpy()
        mask = np.ones(true.shape, bool)
        try:
            metric = align(relative, true).metric(relative).clip(1e-3)
        except AlignmentError:
            # A depth that falls where the truth rises says nothing: the best constant stands for it.
            metric = np.full(true.shape, float(np.median(true)))
        told = depth_errors(metric, true, mask)
        focal = float(drawn.focal[number]) * SIDE
        camera = Intrinsics(focal, focal, SIDE / 2, SIDE / 2)
        try:
            edges = edge_chamfer(metric, true, mask, camera)
        except ValueError:
            edges = float("nan")
        errors.append((told.abs_rel, told.delta1, edges))
    abs_rel, delta1, edges = zip(*errors, strict=True)
    return Row(name, abs_rel, delta1, edges, seconds)


def predictions(run: Predictor, drawn: DepthPictures) -> tuple[list[Floats], float]:
    """Relative depths of all pictures, one at a time, and the median seconds of one."""
    found: list[Floats] = []
    took: list[float] = []
    for number, rgb in enumerate(drawn.rgb):
        began = time.perf_counter()
        depth = run(rgb[None].float() / 255, torch.Generator().manual_seed(number))
        took.append(time.perf_counter() - began)
        found.append(depth[0, 0].float().numpy())
    return found, float(np.median(took))


def resized(found: Sequence[Floats], drawn: DepthPictures) -> list[tuple[str, list[Floats]]]:
    """Depths at half size brought back to their size in each of three ways."""
    rows: list[tuple[str, list[Floats]]] = []
    for how in RESAMPLINGS:
        back: list[Floats] = []
        for depth, rgb in zip(found, drawn.rgb, strict=True):
            half = torch.tensor(depth[::2, ::2].copy())[None, None]
            back.append(resample(half, (SIDE, SIDE), how, rgb[None].float() / 255)[0, 0].numpy())
        rows.append((f"embedded, resized: {how}", back))
    return rows


def tables(rows: Sequence[Row]) -> str:
    """All rows as Markdown: means, and what each loses against the first on the same pictures."""
    lines = [
        "| depth | AbsRel % | against first | delta1 % | edges, Chamfer | against first | s a picture |",
        "|---|---|---|---|---|---|---|",
    ]
    first = rows[0]
    for row in rows:
        lines.append(
            f"| {row.name} | {_interval(row.abs_rel, 100)} | {_difference(row.abs_rel, first.abs_rel, 100)} "
            f"| {_interval(row.delta1, 100)} | {_interval(row.edges, 1, 4)} "
            f"| {_difference(row.edges, first.edges, 1, 4)} | {row.seconds:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _interval(values: Sequence[float], unit: float, digits: int = 2) -> str:
    told = bootstrap([unit * value for value in values if np.isfinite(value)])
    return f"{told.mean:.{digits}f} [{told.low:.{digits}f}, {told.high:.{digits}f}]"


def _difference(values: Sequence[float], first: Sequence[float], unit: float, digits: int = 2) -> str:
    apart = [unit * (a - b) for a, b in zip(values, first, strict=True) if np.isfinite(a) and np.isfinite(b)]
    told = bootstrap(apart)
    return f"{told.mean:+.{digits}f} [{told.low:+.{digits}f}, {told.high:+.{digits}f}]"


def draw_depths(found: dict[str, list[Floats]], drawn: DepthPictures, path: Path, count: int = 6) -> None:
    """Pictures, true depths and every variant's, in columns."""
    tiles: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    columns = [("true", [depth[0].numpy() for depth in drawn.depth]), *found.items()]
    for number in range(count):
        tiles.append(drawn.rgb[number].permute(1, 2, 0).numpy())
        labels.append("picture")
        for name, depths in columns:
            tiles.append(np.asarray(colour(depths[number])))
            labels.append(name)
    stacked = torch.tensor(np.stack(tiles)).permute(0, 3, 1, 2)
    labelled_sheet(stacked, labels, columns=len(columns) + 1).save(path)


def draw_edges(found: dict[str, list[Floats]], drawn: DepthPictures, path: Path, count: int = 3) -> None:
    """The points near an edge, seen from the side: true, the method's, the latent one's."""
    shown: list[Image.Image] = []
    for number in range(count):
        true = drawn.depth[number, 0].numpy()
        focal = float(drawn.focal[number]) * SIDE
        camera = Intrinsics(focal, focal, SIDE / 2, SIDE / 2)
        rgb = drawn.rgb[number].permute(1, 2, 0).numpy()
        window = zoomed_edge(true)
        metric = {"true": true}
        for name in ("shipped", "full", "latent"):
            if name in found:
                relative = found[name][number]
                metric[LABELS[name]] = align(relative, true).metric(relative)
        shown.append(draw_points(metric, rgb, camera, window))
    sheet = Image.new("RGB", (shown[0].width, sum(one.height for one in shown)), "white")
    for number, one in enumerate(shown):
        sheet.paste(one, (0, number * one.height))
    sheet.save(path)


def main(models: Path, out: Path, count: int) -> None:
    """Measure what is there, and write what was measured."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    variants: list[Variant] = [variant for variant in VARIANTS if (models / variant / "depth").is_dir()]
    if not variants:
        raise SystemExit(f"{models} holds no trained variant: `maulstick train depth --out {models}/full`")
    stream = PictureStream(load_vocabulary(DEPTH["cpu"].vocabulary), HELD_OUT_SEED)
    drawn = draw_pictures(stream, 0, count)
    rows: list[Row] = []
    found: dict[str, list[Floats]] = {}
    for variant in variants:
        found[variant], seconds = predictions(load_variant(models / variant / "depth", variant), drawn)
        rows.append(measure(LABELS[variant], found[variant], drawn, seconds))
        print(tables(rows).splitlines()[-1], flush=True)
    found["shipped"], seconds = predictions(load_shipped(), drawn)
    rows.append(measure(LABELS["shipped"], found["shipped"], drawn, seconds))
    depths, seconds = predictions(coded(drawn), drawn)
    rows.append(measure("true depth, coded", depths, drawn, seconds))
    rows += [measure(name, back, drawn, 0.0) for name, back in resized(found["shipped"], drawn)]
    told = tables(rows)
    (out / "tables.md").write_text(told, "utf-8")
    (out / "rows.json").write_text(
        json.dumps([{key: getattr(row, key) for key in Row.__slots__} for row in rows]), "utf-8"
    )
    draw_depths(found, drawn, out / "depth-variants.png")
    draw_edges(found, drawn, out / "depth-edges.png")
    print(told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    main(arguments.models, arguments.out, arguments.count)
