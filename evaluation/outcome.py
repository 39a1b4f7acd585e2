"""What one arm of an experiment made of one prompt, and the file that keeps these rows.

One JSON object a line, appended as soon as it is known: an evaluation that was killed goes on where it
stopped, and the order of the lines means nothing.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evaluation.lines import append_line, read_lines
from models.artifact import ArtifactRef


class Outcome(BaseModel):
    """`correct` is the judge's strict verdict, `lenient` GenEval's (surplus things forgiven except when
    counting).

    `rating` is the critic's mean (1 to 5), by which the picture was chosen; the judge never chooses.
    """

    model_config = ConfigDict(frozen=True)

    case: str
    family: str
    arm: str
    prompt: str
    final_prompt: str
    picture: ArtifactRef
    rating: float
    correct: bool
    lenient: bool
    wrong: tuple[str, ...]
    """Kinds of what the judge found wrong."""
    pictures: int
    seconds: float
    status: str = ""


class Rows:
    """The rows of one evaluation, in a JSONL file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[tuple[str, str], Outcome] = {}
        for line in read_lines(path):
            row = Outcome.model_validate_json(line)
            self.rows[row.case, row.arm] = row

    def add(self, row: Outcome) -> None:
        """Keep a row, on disk first."""
        append_line(self.path, row.model_dump_json())
        self.rows[row.case, row.arm] = row

    def of_arm(self, arm: str) -> dict[str, Outcome]:
        """An arm's rows by case, in order of the cases' names."""
        return {case: row for (case, name), row in sorted(self.rows.items()) if name == arm}
