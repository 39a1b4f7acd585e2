"""A depth network on a benchmark: what is measured, that a stopped evaluation goes on, and the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.depth import DepthExperiment, DepthRow, DepthRows, Measured, evaluate, measure
from evaluation.depth_report import DepthReport, report_depth, write_depth_report
from models.pixel_perfect_depth.datasets import DepthDataset, Sample, open_dataset
from models.pixel_perfect_depth.folders import new_scheduler
from models.pixel_perfect_depth.geometry import Intrinsics
from models.pixel_perfect_depth.pipeline import PixelPerfectDepthPipeline
from models.tool import ToolError
from tests.models.pixel_perfect_depth.conftest import tiny_network

HOW = DepthExperiment(model="tiny", steps=1)


def sample(depth: np.ndarray, camera: Intrinsics | None = None) -> Sample:
    height, width = depth.shape
    mask = depth > 0
    return Sample("one", Image.new("RGB", (width, height)), depth.astype(np.float32), mask, camera)


def relative(depth: np.ndarray) -> torch.Tensor:
    """Such that the line to the depth has scale 2 and shift .3."""
    return torch.from_numpy((np.log1p(depth) - 0.3) / 2)[None, None].float()


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    return np.tile(np.linspace(1, 5, width), (height, 1))


@pytest.fixture(scope="module")
def pipeline() -> PixelPerfectDepthPipeline:
    made = PixelPerfectDepthPipeline(tiny_network(semantic_dim=0), new_scheduler(), None, None)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def hypersim(tmp_path: Path) -> DepthDataset:
    """Five pictures with a near square before a slanting wall; the last one's depth is unknown."""
    scene = tmp_path / "hypersim" / "ai_001_010"
    scene.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(
            scene / f"rgb_cam_00_fr{number:04}.png"
        )
        levels = ramp() * 1000 + 5000
        levels[6:18, 4 + number : 16 + number] = 1500
        levels *= number < 4
        Image.frombytes("I;16", (32, 24), levels.astype("<u2").tobytes()).save(
            scene / f"depth_plane_cam_00_fr{number:04}.png"
        )
    return open_dataset("hypersim", scene.parent)


def told(rows: list[DepthRow]) -> list[dict[str, Any]]:
    """All but the time."""
    return [row.model_dump(exclude={"measured": {"seconds"}}) for row in rows]


def test_a_perfect_depth_has_no_error_in_any_size() -> None:
    depth = ramp()
    depth[3:5] = 0
    found = measure(sample(depth), relative(ramp()), 65)
    assert found.abs_rel < 1e-5 and (found.delta05, found.delta1, found.delta3) == (1, 1, 1)
    assert (found.scale, found.shift) == (pytest.approx(2, abs=1e-4), pytest.approx(0.3, abs=1e-4))
    assert not found.flat and found.inliers == 1 and found.edge is None
    halves = ramp().reshape(24, 16, 2)[..., 0]
    doubled = measure(sample(np.repeat(halves, 2, 1)), relative(halves), 65)
    assert doubled.abs_rel < 1e-5, "resized by the nearest"


def test_clipping_to_the_range_and_to_the_truth() -> None:
    depth = ramp()
    guess = relative(depth)
    guess[0, 0, 7, 0], guess[0, 0, 8, 0] = 5.0, -5.0  # where the truth is one metre: e^10 metres, and below 0
    ours, theirs, free = (measure(sample(depth), guess, farthest) for farthest in (10, 5, np.inf))
    assert ours.abs_rel == pytest.approx((9 + 0.999) / depth.size, rel=1e-3)
    assert theirs.abs_rel == pytest.approx((4 + 0.999) / depth.size, rel=1e-3)
    assert free.abs_rel == pytest.approx((np.exp(10.3) - 2 + 0.999) / depth.size, rel=1e-3)
    assert ours.delta1 == theirs.delta1 == pytest.approx(1 - 2 / depth.size)


def test_a_depth_the_wrong_way_round_is_a_constant() -> None:
    depth = ramp()
    found = measure(sample(depth), -relative(depth), 10)
    assert found.flat and found.scale == 0 and found.inliers == 0
    middle = np.expm1(np.median(np.log1p(depth)))
    assert found.abs_rel == pytest.approx(np.mean(np.abs(depth - middle) / depth), rel=1e-4)
    assert measure(sample(depth), torch.full((1, 1, 24, 32), 0.3), 10) == found


def test_bilinear_resizing_costs_at_edges() -> None:
    coarse = np.full((12, 16), 6.0)
    coarse[3:9, 4:12] = 2
    true = sample(np.kron(coarse, np.ones((4, 4))), Intrinsics.of_view(64, 48, 60))
    found = measure(true, relative(coarse), 65)
    assert found.edge == pytest.approx(0, abs=1e-4)
    assert found.edge_bilinear is not None and found.edge_bilinear > 0.05
    assert (
        measure(sample(np.full((8, 8), 2.0), Intrinsics.of_view(8, 8, 60)), torch.rand(1, 1, 8, 8), 65).edge
        is None
    )


class Counting:
    """A pipeline that counts what it is asked."""

    def __init__(self, pipeline: PixelPerfectDepthPipeline) -> None:
        self.pipeline = pipeline
        self.calls = 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        return self.pipeline(*given, **named)


def test_a_stopped_evaluation_goes_on(
    hypersim: DepthDataset, pipeline: PixelPerfectDepthPipeline, tmp_path: Path
) -> None:
    whole = evaluate(HOW, hypersim, pipeline, tmp_path / "whole")
    assert [row.pixels for row in whole] == [768] * 4 + [0] and whole[4].measured is None

    def stop(row: DepthRow) -> None:
        if row.name.endswith("0001"):
            raise KeyboardInterrupt

    counting = Counting(pipeline)
    with pytest.raises(KeyboardInterrupt):
        evaluate(HOW, hypersim, counting, tmp_path / "parts", stop)
    file = tmp_path / "parts" / "rows.jsonl"
    assert counting.calls == 2 and len(file.read_text("utf-8").splitlines()) == 2
    with file.open("a", encoding="utf-8") as opened:
        opened.write('{"name": "ai_001_010/rgb_cam_00_fr0002", "pix')  # killed while it wrote
    seen: list[str] = []
    parts = evaluate(HOW, hypersim, counting, tmp_path / "parts", lambda row: seen.append(row.name))
    assert counting.calls == 4 and told(parts) == told(whole) and len(seen) == 5
    few = evaluate(HOW.model_copy(update={"limit": 2}), hypersim, counting, tmp_path / "parts")
    assert counting.calls == 4 and told(few) == told([whole[0], whole[2]]), "evenly spread, and known"
    other = evaluate(HOW.model_copy(update={"seed": 1}), hypersim, pipeline, tmp_path / "other")
    assert told(other) != told(whole), "the seed decides the noise"


def test_rows_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"case": 1}\n', "utf-8")
    with pytest.raises(ToolError, match=r"rows\.jsonl, line 1, is no row of a depth evaluation"):
        DepthRows(tmp_path / "rows.jsonl")


def test_what_the_network_cannot_do_is_told(hypersim: DepthDataset, tmp_path: Path) -> None:
    def refuse(*_: Any, **named: Any) -> Any:
        raise ValueError("too small")

    with pytest.raises(ToolError, match="tiny cannot look at ai_001_010/rgb_cam_00_fr0000: too small"):
        evaluate(HOW, hypersim, refuse, tmp_path / "out")


def row(name: str, abs_rel: float, edge: float | None = None, flat: bool = False) -> DepthRow:
    measured = Measured(
        abs_rel=abs_rel, delta1=1 - abs_rel, delta05=0.5, delta2=1, delta3=1, scale=1, shift=0, inliers=1,
        flat=flat, edge=edge, edge_bilinear=None if edge is None else 2 * edge, seconds=0.5,
    )  # fmt: skip
    return DepthRow(name=name, pixels=9, measured=measured)


def test_the_report(hypersim: DepthDataset, tmp_path: Path) -> None:
    how = HOW.model_copy(update={"protocol": "official"})
    rows = [row("a", 0.1, 0.2), row("b", 0.2, flat=True), row("c", 0.3, 0.4)]
    rows.append(DepthRow(name="d", pixels=0, measured=None))
    report = report_depth(rows, how, hypersim)
    assert (report.pictures, report.unmeasured, report.flat, report.seconds) == (3, ("d",), 1, 0.5)
    assert report.abs_rel.mean == pytest.approx(0.2) and report.delta1.mean == pytest.approx(0.8)
    assert report.abs_rel.low == pytest.approx(0.1) and report.abs_rel.high == pytest.approx(0.3)
    assert report.edge is not None and report.edge.mean == pytest.approx(0.3) and report.edge_pictures == 2
    assert report.edge_bilinear is not None and report.edge_bilinear.mean == pytest.approx(0.6)
    write_depth_report(report, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert text.startswith("# hypersim, protocol official, 1 steps, seed 0\n")
    assert "| tiny | 3 | 0.200 [0.100, 0.300] | 0.800 [0.700, 0.900] | 0.500 [0.500, 0.500] |" in text
    for note in (
        "- read by all pictures in the folder, no list\n",
        "- 1 pictures have no two pixels that count: d\n",
        "- 1 depths run the wrong way round",
        "a leak, as in the official code\n",
        "at edges of 2 pictures (sigma 1, low 4, high 10, reach 2)\n",
    ):
        assert note in text
    again = DepthReport.model_validate_json((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert again == report
    with pytest.raises(ToolError, match=r"none of 1 pictures .* \(0.1 to 65 m\): is this hypersim"):
        report_depth(rows[3:], how, hypersim)


@pytest.mark.timeout(300)
def test_the_command(
    hypersim: DepthDataset,
    pipeline: PixelPerfectDepthPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import app

    for name, value in (("HOME", tmp_path / "home"), ("DEVICE", "cpu")):
        monkeypatch.setenv(f"MAULSTICK_{name}", str(value))
    pipeline.save_pretrained(tmp_path / "tiny")
    out = tmp_path / "out"
    command = ["evaluate", "depth", "hypersim", str(tmp_path / "hypersim"), "--model", str(tmp_path / "tiny")]
    command += ["--out", str(out), "--limit", "3"]
    assert app.run([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 3 and report["experiment"]["protocol"] == "plain"
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    errors = [line["measured"]["abs_rel"] for line in rows]
    assert report["abs_rel"]["mean"] == pytest.approx(np.mean(errors)) and 0 < min(errors) < max(errors) < 5
    assert report["edge_pictures"] == 3
    assert app.run(command) == 0
    assert capsys.readouterr().out == (out / "report.md").read_text("utf-8")
    for more, message in (
        (["--steps", "2"], "holds another evaluation (steps is None there and 2 now): name another --out"),
        (["--protocol", "mine"], "protocol is 'mine': input should be 'plain' or 'official'"),
        (["--model", "nowhere"], "there is no depth network in nowhere"),
    ):
        assert app.run([*command, *more]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
