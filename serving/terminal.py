"""A run in the terminal: a live picture of the board, or plain lines where nobody watches.

Knows events and the board; knows neither the graph nor where the events come from.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from graphs.events import (
    Clustered,
    Degraded,
    Ended,
    ErrorSeen,
    Event,
    Painted,
    Rated,
    Recalled,
    Started,
    TouchedUp,
)
from serving.board import Board, Row

_MARKS = {"open": ("✗", "red"), "fixed": ("✓", "green"), "regressed": ("↩", "yellow")}
_ENDINGS = {
    "satisfied": "the picture shows what was asked",
    "budget": "the budget is spent",
    "plateau": "no further change helped",
    "unsupported": "the prompt asks for what is not known here",
    "cancelled": "stopped",
    "failed": "failed",
    "running": "running",
}
_SHOWN_CANDIDATES = 8
"""As many fit a screen with everything else."""


@contextmanager
def watch(console: Console) -> Generator[Callable[[Event], None]]:
    """Show a run while the block lasts; gives what the run's events go to.

    A live view on a terminal, a line per event elsewhere.
    """
    if not console.is_terminal:
        yield lambda event: _print_line(console, event)
        return
    board = Board()
    with Live(
        console=console, refresh_per_second=8, get_renderable=lambda: draw(board), vertical_overflow="crop"
    ):
        yield board.update


def draw(board: Board) -> RenderableType:
    """The whole board: heading, budget bar, errors, candidates, notes."""
    parts: list[RenderableType] = [_draw_heading(board), _draw_budget(board)]
    if board.errors:
        parts.append(_draw_errors(board))
    if board.rows:
        parts.append(_draw_candidates(board))
    if board.touched:
        parts.append(Text(_describe_touch_up(board.touched), style="dim"))
    parts += [Text(f"without {note}", style="yellow") for note in board.notes]
    return Group(*parts)


def _draw_heading(board: Board) -> Text:
    heading = Text()
    if board.started:
        heading.append(board.started.prompt, style="bold")
        heading.append(
            f"\n{board.started.run_id} · {board.started.backend} · seed {board.started.seed}", style="dim"
        )
    heading.append(f"\nround {board.round} · {_describe_doing(board)} · {board.seconds:.0f} s")
    if board.lessons:
        heading.append(f" · {board.lessons} lessons recalled")
    return heading


def _describe_doing(board: Board) -> str:
    if board.ended:
        return _ENDINGS[board.ended.status]
    if board.painting:
        return f"painting, {board.painting.unit} {board.painting.done} of {board.painting.total}"
    return board.node.replace("_", " ") or "starting"


def _draw_budget(board: Board) -> RenderableType:
    total = board.started.pictures if board.started else 1
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        "pictures",
        ProgressBar(total=total, completed=min(board.spent, total), width=30),
        f"{board.spent} of {total}",
    )
    return grid


def _draw_errors(board: Board) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    for error in board.errors.values():
        mark, style = _MARKS[error.status]
        words = f"“{escape(error.span.text)}”" if error.span else ""
        table.add_row(
            f"[{style}]{mark}[/]", f"[{style}]{error.kind}[/]", escape(error.description), f"[dim]{words}[/]"
        )
    return table


def _draw_candidates(board: Board) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name, justify in (
        ("", "left"),
        ("rating", "right"),
        ("arm", "left"),
        ("pictures", "right"),
        ("prompt", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=name != "prompt")  # pyright: ignore[reportArgumentType]
    rows = sorted(board.rows.values(), key=_leading)
    for row in rows[:_SHOWN_CANDIDATES]:
        table.add_row(*_describe_row(board, row), style="bold green" if row.incumbent else "")
    if len(rows) > _SHOWN_CANDIDATES:
        table.add_row("", "", "", "", f"[dim]and {len(rows) - _SHOWN_CANDIDATES} more[/]")
    return table


def _leading(row: Row) -> tuple[bool, float]:
    return not row.incumbent, -(row.rating.mean if row.rating else 0.0)


def _describe_row(board: Board, row: Row) -> tuple[str, str, str, str, str]:
    rating = f"{row.rating.mean:.2f}" if row.rating else "–"
    arm = "" if row.arm is None else f"{row.arm} ({board.posterior.get(row.arm, 0.0):.0%})"
    wrong = f"  [red]{escape('; '.join(row.errors))}[/]" if row.errors else ""
    return "▸" if row.incumbent else "", rating, arm, str(row.pictures), escape(row.prompt) + wrong


def _print_line(console: Console, event: Event) -> None:
    if line := describe(event):
        console.print(f"{event.at:6.1f}s  {line}", markup=False, highlight=False, soft_wrap=True)


def describe(event: Event) -> str:
    """One event in one line; empty for those that only make sense in motion."""
    match event:
        case Started():
            verb = "resumed" if event.resumed else "started"
            return f"{verb} {event.run_id}: {event.prompt} ({event.backend}, up to {event.pictures} pictures)"
        case Painted():
            return f"round {event.round}: painted {event.candidate} ({event.spent}): {event.prompt}"
        case ErrorSeen():
            words = f" in “{event.error.span.text}”" if event.error.span else ""
            return f"{event.error.status}: {event.error.kind}, {event.error.description}{words}"
        case Rated():
            wrong = f"; wrong: {'; '.join(event.errors)}" if event.errors else ""
            leads = ", now leads" if event.incumbent else ""
            return f"rated {event.candidate} {event.rating.mean:.2f}{leads}{wrong}"
        case TouchedUp():
            return _describe_touch_up(event)
        case Recalled():
            return f"recalled {len(event.lessons)} lessons" if event.lessons else ""
        case Clustered():
            arms = ", ".join(f"{arm}: {chance:.0%}" for arm, chance in sorted(event.posterior.items()))
            return f"arms {arms}" if arms else ""
        case Degraded():
            return f"goes on without {event.node}: {event.reason}"
        case Ended():
            return f"ended: {_ENDINGS[event.status]}"
        case _:
            return ""


def _describe_touch_up(event: TouchedUp) -> str:
    if event.picture is None:
        return f"not touched up: {event.reason}"
    rating = f"{event.rating.mean:.2f}" if event.rating else "not rated"
    outcome = f"rated {rating}" if event.kept else f"left out, since it no longer satisfies ({rating})"
    return f"touched up {', '.join(event.things)}: {outcome}"
