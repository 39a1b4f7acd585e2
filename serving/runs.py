"""The commands `runs list` and `runs show`. Reads the ledger and the journals; runs nothing."""

import json
from collections.abc import Generator
from contextlib import contextmanager

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from agents.evidence import Rating
from graphs.events import EVENT
from graphs.run import Home
from memory import journal
from memory.ledger import RUNNING, Ledger, Run
from serving.board import Board
from serving.configuration import configure
from serving.failures import UserError
from serving.home import DataFolder, check_writable
from serving.stores import open_ledger
from serving.terminal import draw
from settings import Settings

INTERRUPTED = "interrupted"
"""Shown for a run that is "running" in the ledger though no process works on it."""


@contextmanager
def open_home(settings: Settings) -> Generator[Home]:
    """The ledger and the folder of runs, without a studio.

    Raises:
        UserError: the home folder takes no files.
        StoreError: the ledger cannot be read, or its server does not answer.
    """
    folder = DataFolder(settings.home)
    check_writable(folder.root, "MAULSTICK_HOME")
    with open_ledger(settings) as ledger:
        yield Home(folder.root, ledger)


def print_runs(limit: int, status: str | None, as_json: bool) -> int:
    """Print the newest runs."""
    with open_home(configure()) as home:
        rows = [_describe(run, dead) for run, dead in _select(home.ledger, limit, status)]
    if as_json:
        print(json.dumps({"runs": rows}, ensure_ascii=False))
        return 0
    table = Table("run", "status", "rating", "pictures", "prompt", box=None, header_style="dim")
    for row in rows:
        values = (row["run_id"], row["status"], row["rating"] or "–", row["pictures"], row["prompt"])
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in values))
    console = Console()
    console.print(table if rows else 'no runs yet: try `maulstick refine "a red cube"`', markup=False)
    return 0


def print_run(run_id: str, as_json: bool) -> int:
    """Print one run: its board, and how it ended.

    Raises:
        UserError: there is no such run.
    """
    with open_home(configure()) as home:
        try:
            run = home.ledger.get(run_id)
        except LookupError as error:
            raise UserError(str(error)) from error
        dead = {other.run_id for other in home.ledger.interrupted()}
        trace = home.journal(run_id)
        events = [EVENT.validate_python(line) for line in journal.read(trace)] if trace.is_file() else []
    described = _describe(run, run_id in dead)
    if as_json:
        print(json.dumps({**described, "request": run.request, "result": run.result}, ensure_ascii=False))
        return 0
    board = Board()
    for event in events:
        board.update(event)
    console = Console()
    console.print(draw(board))
    console.print(
        f"\n{described['status']}, {run.pictures} pictures, {run.created}", markup=False, highlight=False
    )
    if run.result:
        console.print(str(run.result["explanation"]), markup=False, highlight=False)
    if described["status"] in (INTERRUPTED, "cancelled", "failed"):
        console.print(f"go on with: maulstick runs resume {run_id}", markup=False, highlight=False)
    return 0


def _select(ledger: Ledger, limit: int, status: str | None) -> list[tuple[Run, bool]]:
    dead = {run.run_id for run in ledger.interrupted()}
    if status == INTERRUPTED:
        return [(ledger.get(run_id), True) for run_id in sorted(dead, reverse=True)[:limit]]
    return [(run, run.run_id in dead) for run in ledger.list(limit, status)]


def _describe(run: Run, interrupted: bool = False) -> dict[str, JsonValue]:
    rating = (run.result or {}).get("final_rating")
    return {
        "run_id": run.run_id,
        "status": INTERRUPTED if run.status == RUNNING and interrupted else run.status,
        "created": run.created,
        "prompt": run.request["prompt"],
        "backend": run.request["backend"],
        "seed": run.request["seed"],
        "pictures": run.pictures,
        "rating": _mean(rating),
    }


def _mean(rating: JsonValue) -> float | None:
    if not isinstance(rating, dict):
        return None
    return round(Rating.model_validate(rating).mean, 4)
