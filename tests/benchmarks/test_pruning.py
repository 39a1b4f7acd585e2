"""The benchmarks of pruning: the procedure that ours is measured against is the published one, and tables say
what the rows say.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.official_pruning import prune_officially
from benchmarks.pruning_quality import Measured, tables
from models.backends import resolve
from models.obs_diff import Order, prune_denoiser
from models.painting import Painter
from models.pipelines import load_pipeline
from models.prune_backend import PipelineCalibration, calibration_of
from models.prune_request import PruneRequest
from tests.models.families import save_family


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("flux", tmp_path_factory.mktemp("flux") / "flux")


def calibration(folder: Path) -> PipelineCalibration:
    backend = resolve(str(folder))
    painter = Painter(backend, load_pipeline(backend, "cpu"))
    prompts = ("a red cube", "two cones", "a green sphere")
    return calibration_of(painter, PruneRequest(backend=str(folder), prompts=prompts, batch=2, steps=2))


@pytest.mark.parametrize("pattern", ["unstructured", "structured"])
def test_both_procedures_prune_alike(folder: Path, pattern: str) -> None:
    # In f32 the two inverses differ in their last digits, which is enough to swap neurons that cost the same.
    order = Order(
        pattern=pattern,
        sparsity=0.5,
        packages=2,
        trajectory="pruned",
        count_rule="official",
        precision="float64",
    )
    ours, theirs = calibration(folder), calibration(folder)
    outcome = prune_denoiser(ours.painter.pipeline.transformer, order, ours)
    largest = prune_officially(theirs.painter.pipeline.transformer, order, theirs)
    one: dict[str, Any] = ours.painter.pipeline.transformer.state_dict()
    other: dict[str, Any] = theirs.painter.pipeline.transformer.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-4, rtol=1e-3)
    # Layers with one input share a Hessian here and have one each there.
    assert outcome.hessian_bytes < largest if pattern == "unstructured" else outcome.hessian_bytes == largest


def test_tables_tell_the_paired_difference() -> None:
    cases = [f"case{number}" for number in range(10)]
    right = dict.fromkeys(cases, True)
    half = {case: number % 2 == 0 for number, case in enumerate(cases)}
    dense = Measured("embedded", "dense", 0.0, "-", right, right, 0.0)
    worse = Measured("worse", "2:4", 0.5, "wanda", half, right, 0.25)
    told = tables([dense, worse])
    assert "Dense: 100.0 [100, 100] strict" in told
    assert "| 50 % | wanda | 50.0 [" in told and "| -50.0 [" in told and told.rstrip().endswith("| 0.2500 |")
