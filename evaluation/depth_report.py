"""The table of a depth evaluation: means over pictures with their bootstrap intervals, and what was left out.

Knows rows and nothing of how they were made.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evaluation.depth import DepthExperiment, DepthRow, Measured
from evaluation.statistics import Interval, bootstrap
from models.pixel_perfect_depth.datasets import DepthDataset
from models.pixel_perfect_depth.metrics import EdgeRule
from models.tool import ToolError


class DepthReport(BaseModel):
    """Means over the pictures that could be measured; shares and metres.

    `listed` is the length of the official list (0: there is none), `source` the list that was read ("": the
    folder was walked through), `without_truth` its pictures without ground truth, `unmeasured` those without
    two pixels that count, `flat` those whose depth no rising line fits. `edge` is over `edge_pictures`;
    `edge_rule` says where it looks.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    experiment: DepthExperiment
    pictures: int
    listed: int
    source: str
    without_truth: int
    unmeasured: tuple[str, ...]
    flat: int
    abs_rel: Interval
    delta1: Interval
    delta05: Interval
    delta2: Interval
    delta3: Interval
    edge: Interval | None
    edge_bilinear: Interval | None
    edge_pictures: int
    edge_rule: dict[str, float]
    seconds: float

    def markdown(self) -> str:
        """A table of one row, and what is to be known about it."""
        how = self.experiment
        lines = [
            f"# {self.dataset}, protocol {how.protocol}, {how.steps or 'own'} steps, seed {how.seed}",
            "",
            "| model | pictures | AbsRel | delta < 1.25 | < 1.25^.5 | < 1.25^2 | < 1.25^3 "
            "| edge, m | edge bilinear, m | s |",
            "|" + "---|" * 10,
            f"| {how.model} | {self.pictures} | {self.abs_rel} | {self.delta1} | {self.delta05} "
            f"| {self.delta2} | {self.delta3} | {self.edge or ''} | {self.edge_bilinear or ''} "
            f"| {self.seconds:.2f} |",
            "",
            *(f"- {note}" for note in self._notes()),
        ]
        return "\n".join(lines) + "\n"

    def _notes(self) -> list[str]:
        read = f"the list {self.source}" if self.source else "all pictures in the folder, no list"
        official = f"; the official list has {self.listed}" if self.listed else ""
        notes = [f"read by {read}{official}"]
        if self.without_truth:
            notes.append(
                f"{self.without_truth} pictures of the list have no ground truth and are not counted"
            )
        if self.unmeasured:
            notes.append(
                f"{len(self.unmeasured)} pictures have no two pixels that count: {', '.join(self.unmeasured)}"
            )
        if self.flat:
            notes.append(f"{self.flat} depths run the wrong way round; a constant stood in for each")
        if self.experiment.protocol == "official":
            notes.append(
                "depths were clipped to each picture's largest true one: a leak, as in the official code"
            )
        if self.edge is not None:
            rule = ", ".join(f"{name} {value:g}" for name, value in self.edge_rule.items())
            notes.append(f"edge: Chamfer distance at edges of {self.edge_pictures} pictures ({rule})")
        return notes


def report_depth(rows: Sequence[DepthRow], experiment: DepthExperiment, dataset: DepthDataset) -> DepthReport:
    """The report of a dataset's rows.

    Raises:
        ToolError: no picture could be measured.
    """
    measured = [row.measured for row in rows if row.measured is not None]
    if not measured:
        raise ToolError(
            f"none of {len(rows)} pictures has two pixels that count ({dataset.rule.near:g} to "
            f"{dataset.rule.far:g} m): is this {dataset.name}?"
        )
    return DepthReport(
        dataset=dataset.name,
        experiment=experiment,
        pictures=len(measured),
        listed=dataset.rule.listed,
        source=dataset.source,
        without_truth=dataset.left_out,
        unmeasured=tuple(row.name for row in rows if row.measured is None),
        flat=sum(one.flat for one in measured),
        abs_rel=_mean(measured, lambda one: one.abs_rel),
        delta1=_mean(measured, lambda one: one.delta1),
        delta05=_mean(measured, lambda one: one.delta05),
        delta2=_mean(measured, lambda one: one.delta2),
        delta3=_mean(measured, lambda one: one.delta3),
        edge=_mean_known([one.edge for one in measured]),
        edge_bilinear=_mean_known([one.edge_bilinear for one in measured]),
        edge_pictures=sum(one.edge is not None for one in measured),
        edge_rule=asdict(EdgeRule()),
        seconds=sum(one.seconds for one in measured) / len(measured),
    )


def _mean(measured: Sequence[Measured], of: Callable[[Measured], float]) -> Interval:
    return bootstrap([of(one) for one in measured])


def _mean_known(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return bootstrap(known) if known else None


def write_depth_report(report: DepthReport, out: Path) -> None:
    """`report.md` and `report.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(report.markdown(), "utf-8")
    (out / "report.json").write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
