"""What a run leaves for people: pictures, contact sheet, trace and explanation. Knows no terminal.

Every file is written under a temporary name and renamed, so that a folder never holds half of one.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from agents.evidence import Rating
from graphs.request import RefineResult
from graphs.state import RefineState
from memory.artifacts import encode_png
from models.artifact import ArtifactRef
from serving.assembly import Workshop
from serving.home import DataFolder
from serving.sheet import draw_sheet


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the final picture and the sheet of a run lie."""

    picture: Path
    sheet: Path


def deliver(
    workshop: Workshop, state: RefineState, result: RefineResult, picture: ArtifactRef, out: Path | None
) -> Delivery:
    """Draw the sheet into the run's folder, and put everything into `out` if there is one.

    That is final.png, original.png, sheet.png, run.jsonl and explanation.txt; files of these names are
    replaced.
    """
    folder = DataFolder(workshop.home.root).run(result.run_id)
    trace = workshop.home.journal(result.run_id)
    sheet = folder / "sheet.png"
    _write(sheet, encode_png(draw_sheet(state, workshop.artifacts)))
    _write(folder / "explanation.txt", f"{result.explanation}\n".encode())
    if out is None:
        return Delivery(workshop.artifacts.path(picture), sheet)
    if result.original_picture:
        copy_file(workshop.artifacts.path(result.original_picture), out / "original.png")
    copy_file(trace, out / trace.name)
    copy_file(folder / "explanation.txt", out / "explanation.txt")
    return Delivery(
        copy_file(workshop.artifacts.path(picture), out / "final.png"), copy_file(sheet, out / "sheet.png")
    )


def summarise(result: RefineResult, picture: ArtifactRef, delivery: Delivery) -> dict[str, JsonValue]:
    """The one object that `--json` prints; its keys are a promise (see docs/using.md)."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "prompt": result.prompt,
        "final_prompt": result.final_prompt,
        "rating": {"original": _mean(result.original_rating), "final": _mean(result.final_rating)},
        "pictures": result.pictures,
        "minds": {"calls": result.mind_calls, **result.spent.model_dump()},
        "seconds": round(result.seconds, 3),
        "touched_up": result.found_picture is not None,
        "artifact": {"sha256": picture.sha256, "path": str(delivery.picture)},
        "sheet": str(delivery.sheet),
        "errors": [
            {"kind": error.kind, "span": error.span.text if error.span else None, "status": error.status}
            for error in result.errors
        ],
        "explanation": result.explanation,
    }


def copy_file(source: Path, target: Path) -> Path:
    """Copy into a folder that is made if need be; gives the absolute target."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, new)
    os.replace(new, target)
    return target


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    new.write_bytes(content)
    os.replace(new, target)


def _mean(rating: Rating | None) -> float | None:
    return None if rating is None else round(rating.mean, 4)
