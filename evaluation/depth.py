"""How good a depth network is on a benchmark: predicted, fitted to the truth, measured, picture by picture.

Source: spec section 8. A network says relative depth, so each picture's is fitted to its ground truth by a
robust line of ln(depth + 1) over the pixels that count, and only then compared. Against the official code:
the fit is ours (`alignment.align`, seeded), the pipeline resizes pictures, each picture has noise of its own,
and one whose depth runs the wrong way round gets a constant and is counted, where the official code mixes
logarithms with relative values. Knows neither a dataset's files nor how depth is painted.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from evaluation.lines import append_line, read_lines
from graphs.seeds import derive_seed
from models.pixel_perfect_depth.alignment import Alignment, AlignmentError, Floats, align
from models.pixel_perfect_depth.datasets import DepthDataset, Sample
from models.pixel_perfect_depth.listings import Entry
from models.pixel_perfect_depth.metrics import depth_errors, edge_chamfer
from models.tool import ToolError

Protocol = Literal["plain", "official"]
NEAREST = 1e-3
"""Metres: no fitted depth is nearer."""


class DepthExperiment(BaseModel):
    """What is measured and how.

    The protocol "plain" clips fitted depths to the farthest that the dataset's rule lets count (ETH3D: not
    at all), which is known before a picture is seen. "official" clips to the largest true depth of the very
    picture, as the official code does: a leak of ground truth that flatters, for comparison with its tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    protocol: Protocol = "plain"
    steps: int | None = Field(default=None, ge=1, le=100)
    """Denoising steps (None: as many as the network takes)."""
    side: int | None = Field(default=None, ge=0, le=8192)
    """Longer side to look at in pixels; 0: the picture's own; None: what the network was trained for."""
    limit: int | None = Field(default=None, ge=1)
    """So many pictures, spread evenly over the dataset (None: all)."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    def facts(self) -> dict[str, JsonValue]:
        """What must be the same for an evaluation to go on; a row does not depend on how many there are."""
        return self.model_dump(exclude={"limit"})

    def chosen(self, dataset: DepthDataset) -> list[Entry]:
        """The pictures to measure."""
        total = len(dataset)
        count = min(self.limit or total, total)
        return [dataset.entries[number * total // count] for number in range(count)]


class Measured(BaseModel):
    """The errors of one picture; see `metrics.DepthErrors`.

    `scale`, `shift` and `inliers` are of the fitted line; `flat`: none rises, and a constant took its place.
    `edge` is `metrics.edge_chamfer` in metres, `edge_bilinear` the same of a depth that was resized
    bilinearly; None where the camera is unknown or the truth has no edge.
    """

    model_config = ConfigDict(frozen=True)

    abs_rel: float
    delta1: float
    delta05: float
    delta2: float
    delta3: float
    scale: float
    shift: float
    inliers: float
    flat: bool
    edge: float | None
    edge_bilinear: float | None
    seconds: float


class DepthRow(BaseModel):
    """One picture; `pixels` of it count. Without two such pixels nothing can be `measured`."""

    model_config = ConfigDict(frozen=True)

    name: str
    pixels: int
    measured: Measured | None


class DepthRows:
    """The rows of one evaluation, a JSON object a line, kept as they come.

    Raises:
        ToolError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, DepthRow] = {}
        for number, line in enumerate(read_lines(path), 1):
            try:
                row = DepthRow.model_validate_json(line)
            except ValidationError as error:
                raise ToolError(
                    f"{path}, line {number}, is no row of a depth evaluation: delete the line, or name "
                    "another --out"
                ) from error
            self.rows[row.name] = row

    def add(self, row: DepthRow) -> None:
        """Keep a row, on disk first."""
        append_line(self.path, row.model_dump_json())
        self.rows[row.name] = row


def evaluate(
    experiment: DepthExperiment,
    dataset: DepthDataset,
    pipeline: Any,
    out: Path,
    on_row: Callable[[DepthRow], None] | None = None,
) -> list[DepthRow]:
    """Measure a network on a dataset's pictures; rows that `out/rows.jsonl` holds are not made again.

    Args:
        experiment: what and how.
        dataset: see `datasets.open_dataset`.
        pipeline: a `PixelPerfectDepthPipeline`.
        out: a folder for the rows.
        on_row: is told of each row, those from before too.

    Returns:
        A row for each chosen picture, in the dataset's order.

    Raises:
        ToolError: a file cannot be read, or the network cannot look at a picture or gives no numbers.
    """
    rows = DepthRows(out / "rows.jsonl")
    made: list[DepthRow] = []
    for entry in experiment.chosen(dataset):
        if entry.name not in rows.rows:
            rows.add(_make_row(experiment, dataset, dataset.read(entry), pipeline))
        made.append(rows.rows[entry.name])
        if on_row is not None:
            on_row(made[-1])
    return made


def _make_row(experiment: DepthExperiment, dataset: DepthDataset, sample: Sample, pipeline: Any) -> DepthRow:
    pixels = int(sample.mask.sum())
    if pixels < 2:
        return DepthRow(name=sample.name, pixels=pixels, measured=None)
    began = time.perf_counter()
    relative = predict(experiment, sample, pipeline)
    seconds = time.perf_counter() - began
    farthest = dataset.rule.far if experiment.protocol == "plain" else float(sample.depth[sample.mask].max())
    return DepthRow(name=sample.name, pixels=pixels, measured=measure(sample, relative, farthest, seconds))


def predict(experiment: DepthExperiment, sample: Sample, pipeline: Any) -> Any:
    """Relative depth (1, 1, h, w) as a tensor, in the size that the network looks at the picture in.

    Raises:
        ToolError: the network cannot look at the picture, or gives no numbers.
    """
    import torch

    seed = derive_seed(experiment.seed, f"depth/{sample.name}")
    try:
        found = pipeline(
            sample.picture,
            num_inference_steps=experiment.steps,
            processing_resolution=experiment.side,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        )
    except ValueError as error:
        raise ToolError(f"{experiment.model} cannot look at {sample.name}: {error}") from error
    relative = found.prediction.float().cpu()
    if not relative.isfinite().all():
        raise ToolError(f"{experiment.model} gave depths that are no numbers for {sample.name}")
    return relative


def measure(sample: Sample, relative: Any, farthest: float, seconds: float = 0.0) -> Measured:
    """The errors of a relative depth.

    Args:
        sample: the truth, with two pixels that count at least.
        relative: a tensor (1, 1, h, w) in any size; it is resized to the truth's by the nearest.
        farthest: metres that fitted depths are clipped to; infinity: not at all.
        seconds: what the prediction took.
    """
    from models.pixel_perfect_depth.upsampling import resample

    size = (sample.depth.shape[0], sample.depth.shape[1])
    near = resample(relative, size, "nearest")[0, 0].double().numpy()
    smooth = resample(relative, size, "bilinear")[0, 0].double().numpy()
    line, flat = fit_line(near, sample)
    depth = line.metric(near).clip(NEAREST, farthest)
    errors = depth_errors(depth, sample.depth, sample.mask)
    return Measured(
        abs_rel=errors.abs_rel,
        delta1=errors.delta1,
        delta05=errors.delta05,
        delta2=errors.delta2,
        delta3=errors.delta3,
        scale=line.scale,
        shift=line.shift,
        inliers=line.inliers,
        flat=flat,
        edge=_edge(depth, sample),
        edge_bilinear=_edge(line.metric(smooth).clip(NEAREST, farthest), sample),
        seconds=seconds,
    )


def fit_line(relative: Floats, sample: Sample) -> tuple[Alignment, bool]:
    """The line from a relative depth (H, W) to the truth, and whether it is a constant for want of one.

    The constant is the median of ln(depth + 1): what a network that knows nothing could say.
    """
    try:
        return align(relative, sample.depth, sample.mask), False
    except AlignmentError:
        logs = np.log1p(sample.depth[sample.mask].astype(np.float64))
        return Alignment(0.0, float(np.median(logs)), "robust", 0.0), True


def _edge(depth: Floats, sample: Sample) -> float | None:
    if sample.camera is None:
        return None
    try:
        return edge_chamfer(depth, sample.depth, sample.mask, sample.camera)
    except ValueError:
        return None
