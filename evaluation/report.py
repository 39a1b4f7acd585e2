"""Tables of an evaluation: shares per arm and family, and paired differences, for a terminal, Markdown and
JSON.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evaluation.outcome import Outcome, Rows
from evaluation.statistics import Interval, bootstrap


class ArmReport(BaseModel):
    """One arm: shares of prompts whose picture the judge finds right, and what they cost."""

    model_config = ConfigDict(frozen=True)

    arm: str
    prompts: int
    correct: Interval
    lenient: Interval
    rating: float
    pictures: float
    seconds: float
    families: dict[str, Interval]


class Difference(BaseModel):
    """How much better `arm` is than `against` on the same prompts."""

    model_config = ConfigDict(frozen=True)

    arm: str
    against: str
    correct: Interval
    lenient: Interval


class Report(BaseModel):
    """All arms, every arm against `single` and `best_of_n`, and the loop with a part switched off against
    the whole `loop`, where those were run.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    arms: tuple[ArmReport, ...]
    differences: tuple[Difference, ...]

    def markdown(self) -> str:
        """Two tables."""
        families = sorted({family for arm in self.arms for family in arm.families})
        lines = [
            f"# {self.title}",
            "",
            f"| arm | prompts | correct | lenient | pictures | s | {' | '.join(families)} |",
        ]
        lines.append("|" + "---|" * (6 + len(families)))
        for arm in self.arms:
            shares = " | ".join(f"{arm.families[f].mean:.2f}" if f in arm.families else "" for f in families)
            cost = f"{arm.pictures:.1f} | {arm.seconds:.1f}"
            lines.append(f"| {arm.arm} | {arm.prompts} | {arm.correct} | {arm.lenient} | {cost} | {shares} |")
        if self.differences:
            lines += ["", "| arm | against | correct | lenient |", "|---|---|---|---|"]
            lines += [f"| {d.arm} | {d.against} | {d.correct} | {d.lenient} |" for d in self.differences]
        return "\n".join(lines) + "\n"


def make_report(rows: Rows, title: str) -> Report:
    """The report of whatever rows there are."""
    names = list(dict.fromkeys(arm for _, arm in rows.rows))
    arms = tuple(_arm_report(name, list(rows.of_arm(name).values())) for name in names)
    differences = [
        _difference(rows, arm, against)
        for against in ("single", "best_of_n", "loop")
        for arm in names
        if against in names and _comparable(arm, against)
    ]
    return Report(title=title, arms=arms, differences=tuple(differences))


def _comparable(arm: str, against: str) -> bool:
    return arm.startswith("loop_") if against == "loop" else arm not in ("single", against)


def write_report(report: Report, out: Path) -> None:
    """`report.md` and `report.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(report.markdown(), "utf-8")
    (out / "report.json").write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n", "utf-8")


def _arm_report(arm: str, rows: Sequence[Outcome]) -> ArmReport:
    families = sorted({row.family for row in rows})
    return ArmReport(
        arm=arm,
        prompts=len(rows),
        correct=bootstrap([float(row.correct) for row in rows]),
        lenient=bootstrap([float(row.lenient) for row in rows]),
        rating=sum(row.rating for row in rows) / len(rows),
        pictures=sum(row.pictures for row in rows) / len(rows),
        seconds=sum(row.seconds for row in rows) / len(rows),
        families={f: bootstrap([float(row.correct) for row in rows if row.family == f]) for f in families},
    )


def _difference(rows: Rows, arm: str, against: str) -> Difference:
    ours, theirs = rows.of_arm(arm), rows.of_arm(against)
    shared = [case for case in ours if case in theirs]
    return Difference(
        arm=arm,
        against=against,
        correct=bootstrap([float(ours[case].correct) - float(theirs[case].correct) for case in shared]),
        lenient=bootstrap([float(ours[case].lenient) - float(theirs[case].lenient) for case in shared]),
    )
