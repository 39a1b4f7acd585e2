"""The command `prune`: a backend in, pruned backends by name out. Goes on when stopped."""

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from diorama.families import available_families, cases
from diorama.vocabulary import load_vocabulary
from memory.artifacts import Artifacts
from models.backends import resolve
from models.obs_diff.order import Order, parse_bytes
from models.prune_request import PrunedBackend, PruneRequest, PruneResult
from models.tool import Progress as Told
from serving.assembly import make_executor
from serving.configuration import configure
from serving.failures import UserError, describe_validation
from serving.home import DataFolder, check_writable
from serving.refining import INTERRUPTED
from settings import Settings

CALIBRATION = 32
"""Prompts that a closed vocabulary is calibrated with where no file is named."""


def prune_backend(
    backend: str,
    pattern: str,
    sparsity: str | None,
    calibration: Path | None,
    count: int | None,
    memory: str,
    packages: int | None,
    blocks: str | None,
    out: str | None,
    seed: int,
    batch: int,
    steps: int | None,
    guidance: float | None,
    on_disk: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Prune `backend`, one new backend for each of the sparsities. `how` goes into the order as it is.

    Raises:
        UserError: a setting is not allowed, or there is nothing to calibrate with.
        ToolError: the backend cannot be pruned so.
    """
    settings = configure()
    check_writable(DataFolder(settings.home).backends, "MAULSTICK_HOME")
    prompts = read_prompts(backend, calibration, count, seed)
    shares = _numbers(sparsity)
    fields: dict[str, Any] = {"pattern": pattern, "memory": parse_bytes(memory), "packages": packages, **how}
    if len(shares) == 1:
        fields["sparsity"] = shares[0]
    elif not shares and ":" not in pattern:
        raise UserError("give --sparsity, such as 0.3, or several: 0.2,0.3,0.4")
    if blocks is not None:
        fields["blocks"] = _span(blocks)
    try:
        request = PruneRequest(
            backend=backend,
            prompts=prompts,
            name=out,
            order=Order(**fields),
            sparsities=shares if len(shares) > 1 else (),
            steps=steps,
            guidance=guidance,
            batch=batch,
            seed=seed,
            on_disk=on_disk,
        )
    except ValidationError as error:
        raise UserError(describe_validation(error)) from error
    try:
        result = asyncio.run(_prune(settings, request, as_json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(
            "stopped; nothing is lost. The same command goes on at the package where it was", file=sys.stderr
        )
        return INTERRUPTED
    _print(result, as_json)
    return 0


def read_prompts(backend: str, path: Path | None, count: int | None, seed: int) -> tuple[str, ...]:
    """What a calibration paints: a file with a prompt a line, or what a closed vocabulary is made of.

    Raises:
        UserError: there is no file, it holds no prompts, or fewer than `count`.
    """
    if path is None:
        return _own_prompts(backend, count or CALIBRATION, seed)
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the calibration prompts {path} cannot be read: {error}") from error
    prompts = [line for line in lines if line]
    if not prompts:
        raise UserError(f"{path} holds no prompts to calibrate with: write one a line")
    if count is not None and len(prompts) < count:
        raise UserError(f"{path} holds {len(prompts)} prompts and --count asks for {count}")
    return tuple(prompts[:count])


def _own_prompts(backend: str, count: int, seed: int) -> tuple[str, ...]:
    card = resolve(backend)
    if card.vocabulary is None:
        raise UserError(
            f"there are no prompts to calibrate {backend} with: name a file with one a line by --calibration"
        )
    vocabulary = load_vocabulary(card.vocabulary)
    families = available_families(vocabulary)
    drawn = cases("train", families, -(-count // len(families)), seed, vocabulary)
    # A family after another would leave the last ones out of a short calibration.
    mixed = sorted(drawn, key=lambda case: case.id.rpartition("-")[2])
    return tuple(case.prompt for case in mixed[:count])


async def _prune(settings: Settings, request: PruneRequest, quiet: bool) -> PruneResult:
    artifacts = Artifacts(DataFolder(settings.home).artifacts)
    async with make_executor(settings, artifacts) as executor:
        with watch_pruning(Console(stderr=True, quiet=quiet)) as tell:
            return cast(PruneResult, await executor.submit("prune_backend", request, tell))


@contextmanager
def watch_pruning(console: Console) -> Generator[Callable[[Told], None]]:
    """Show how far it is: a bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        said: set[tuple[str, str, int]] = set()

        def say(told: Told) -> None:
            key = (told.message, told.unit, 10 * told.done // told.total)
            if key not in said:
                said.add(key)
                console.print(f"{_describe(told)}: {told.done} of {told.total}", highlight=False)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda told: bar.update(
            task, description=_describe(told), completed=told.done, total=told.total
        )


def _describe(told: Told) -> str:
    what = "calibrating, batches" if told.unit == "batch" else "pruning, layers"
    return f"{told.message} {what}"


def _print(result: PruneResult, as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json())
        return
    table = Table(box=None)
    for title in ("backend", "pattern", "removed", "parameters", "error", "uncompensated", "time"):
        table.add_column(title, overflow="fold")
    for made in result.backends:
        table.add_row(made.name, *_row(made))
    console = Console()
    console.print(table)
    console.print(
        "error: mean relative output error of the pruned layers on the calibration inputs", style="dim"
    )
    console.print(
        f'paint: maulstick generate "..." --backend {result.backends[0].name}', style="dim", markup=False
    )


def _row(made: PrunedBackend) -> tuple[str, ...]:
    less = 1 - made.parameters / made.parameters_before
    return (
        made.pattern,
        f"{made.removed * 100:.1f} %",
        f"{made.parameters / 1e6:,.2f} M" + (f" (-{less * 100:.1f} %)" if less else ""),
        f"{made.error:.4f}",
        f"{made.error_before:.4f}",
        f"{made.seconds:.1f} s",
    )


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UserError(f"--sparsity takes shares such as 0.3 or 0.3,0.4, not {text!r}") from None


def _span(text: str) -> tuple[int, int]:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal()):
        raise UserError(f"--blocks takes FIRST:END, such as 3:26, not {text!r}")
    return int(first), int(end)
