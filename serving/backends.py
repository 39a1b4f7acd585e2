"""The commands `backends list`, `show`, `add`, `remove` and `test`."""

import asyncio
import json
import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.backends import kept_backends, known_backends, memory_bytes, resolve, shelf
from models.cards import Backend
from models.picture_request import GenerateRequest, GenerateResult
from models.tool import ToolError
from serving.assembly import open_workshop
from serving.configuration import add_card, configure, make_card, remove_card
from settings import Settings

TEST_PROMPT = "a red cube"
TEST_STEPS = 2


def print_backends(as_json: bool) -> int:
    """Print the backends that have a card. Checks the weights of those that are here; downloads nothing."""
    configure()
    rows: list[dict[str, str | int | None]] = []
    for backend in known_backends():
        row: dict[str, str | int | None] = backend.model_dump(include={"name", "kind", "source", "notes"})
        rows.append(row | dict(zip(("state", "memory_bytes"), _state(backend), strict=True)))
    if as_json:
        print(json.dumps({"backends": rows}))
        return 0
    table = Table("name", "state", "notes", box=None, header_style="dim")
    for row in rows:
        table.add_row(str(row["name"]), str(row["state"]), str(row["notes"]))
    console = Console()
    console.print(table)
    console.print(
        "Also: the folder of a diffusers pipeline, or owner/name of one on the Hugging Face hub.", style="dim"
    )
    return 0


def show_backend(name: str, as_json: bool) -> int:
    """Print a backend's card: what it is set to, and what it can do."""
    configure()
    backend = resolve(name)
    state, memory = _state(backend)
    card = {**backend.model_dump(mode="json"), "state": state, "memory_bytes": memory}
    if as_json:
        print(json.dumps(card))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for key, value in card.items():
        if value not in (None, "", [], {}):
            console.print(f"{key:<18}", end="", style="dim", markup=False)
            console.print(value if isinstance(value, str) else json.dumps(value), markup=False)
    return 0


def add_backend(name: str, source: str, kind: str, settings: list[str]) -> int:
    """Write a card to maulstick.toml."""
    path = add_card(name, make_card(kind, source, settings))
    configure()
    print(f"{name} stands in {path}; try it with `maulstick backends test {name}`")
    return 0


def remove_backend(name: str) -> int:
    """Take a card out of maulstick.toml, whose weights stay where they are; or remove a backend made here."""
    configure()
    if name in kept_backends():
        shutil.rmtree(shelf() / name)
        print(f"{name} is removed with its weights")
        return 0
    print(f"{name} no longer stands in {remove_card(name)}")
    return 0


def export_backend(name: str, file: Path) -> int:
    """Write a backend's denoiser as one file.

    Raises:
        ToolError: other programs know no such model, or the file is there or cannot be written.
    """
    from models.obs_diff.saving import denoiser_name
    from models.obs_diff.single_file import export_single_file
    from models.pipelines import load_pipeline

    configure()
    backend = resolve(name)
    if backend.kind == "openai-images":
        raise ToolError(f"{name} is an endpoint: its weights are not here")
    pipeline = load_pipeline(backend, "cpu")
    told = {"maulstick.backend": name, **({"maulstick.pruning": backend.pruning} if backend.pruning else {})}
    number = export_single_file(getattr(pipeline, denoiser_name(pipeline)), file, metadata=told)
    print(f"{number} tensors of {name} stand in {file}")
    return 0


def try_backend(name: str, as_json: bool) -> int:
    """Paint one picture in few steps, and say how long it took and where it is."""
    settings = configure()
    told = asyncio.run(_try(settings, resolve(name)))
    if as_json:
        print(json.dumps(told))
    else:
        size, seconds = f"{told['width']}x{told['height']}", told["seconds"]
        print(f"{name} painted {TEST_PROMPT!r} ({size}) in {seconds} s: {told['path']}")
    return 0


async def _try(settings: Settings, backend: Backend) -> dict[str, str | int | float | None]:
    steps = TEST_STEPS if "steps" in backend.supports else None
    request = GenerateRequest(prompt=TEST_PROMPT, backend=backend.name, seed=0, steps=steps)
    async with open_workshop(settings, "embedded", backend.name) as workshop:
        result = await workshop.executor.submit("generate_image", request)
        assert isinstance(result, GenerateResult)
        return {
            "backend": backend.name,
            "path": str(workshop.artifacts.path(result.picture)),
            "width": result.picture.width,
            "height": result.picture.height,
            "seconds": round(result.seconds, 3),
            "memory_bytes": memory_bytes(backend),
        }


def _state(backend: Backend) -> tuple[str, int | None]:
    """Whether its weights are here, and what they take in bytes."""
    if backend.kind == "openai-images":
        return "an endpoint", 0
    if backend.kind == "diffusers" and backend.folder_if_here is None:
        return "fetched when first used", None
    try:
        return "ready", memory_bytes(backend)
    except ToolError as error:
        return str(error), None
