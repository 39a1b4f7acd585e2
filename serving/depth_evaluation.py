"""The command `evaluate depth`: a depth network on a benchmark's folder, with a report."""

from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError
from rich.console import Console
from rich.progress import Progress

from evaluation.depth import DepthExperiment, DepthRow, evaluate
from evaluation.depth_report import report_depth, write_depth_report
from models.estimate_depth import find_depth_model
from models.executor import find_devices
from models.pixel_perfect_depth.datasets import open_dataset
from models.weights_hash import hash_denoiser
from serving.assembly import choose_devices
from serving.configuration import configure
from serving.evaluating import check_same
from serving.failures import UserError, describe_validation
from serving.home import check_writable


def evaluate_depth(
    dataset: str,
    path: Path,
    model: str,
    steps: int | None,
    limit: int | None,
    protocol: str,
    side: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure a depth network on a benchmark. Goes on with what `out` holds.

    Raises:
        UserError: an argument is not allowed, or `out` takes no files or holds another evaluation.
        ToolError: the dataset or the network is not there or damaged.
    """
    settings = configure()
    asked = {
        "model": model, "protocol": protocol, "steps": steps, "side": side, "limit": limit, "seed": seed,
    }  # fmt: skip
    try:
        experiment = DepthExperiment.model_validate(asked)
    except ValidationError as error:
        raise UserError(describe_validation(error)) from error
    opened = open_dataset(dataset, path)
    folder = find_depth_model(model)
    out = out or Path("out") / f"depth-{dataset}"
    check_writable(out, "--out")
    weights: JsonValue = {part: hash_denoiser(folder / part) for part in ("transformer", "semantic_encoder")}
    check_same(
        out, experiment.facts() | {"dataset": dataset, "path": str(path.resolve()), "weights": weights}
    )
    from models.pixel_perfect_depth.folders import load_pipeline

    devices = choose_devices(settings.device)
    pipeline: Any = load_pipeline(folder)
    pipeline.to(find_devices()[0] if devices == "auto" else devices[0])
    pipeline.set_progress_bar_config(disable=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"pictures of {dataset}", total=len(experiment.chosen(opened)))

        def count_row(_row: DepthRow) -> None:
            progress.advance(task)

        rows = evaluate(experiment, opened, pipeline, out, count_row)
    report = report_depth(rows, experiment, opened)
    write_depth_report(report, out)
    print(report.model_dump_json() if as_json else report.markdown(), end="\n" if as_json else "")
    return 0
