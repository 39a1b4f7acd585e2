"""What `maulstick doctor` finds out about this machine and this installation, and what is wrong in words.

Looks and never changes anything: a store that is not there yet stays away.
"""

import hashlib
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from serving.doctor_stores import Store, find_stores
from serving.endpoints import EndpointState, find_endpoints
from serving.failures import UserError
from serving.home import DataFolder, check_writable
from settings import Settings

LIBRARIES = (
    "maulstick", "torch", "diffusers", "transformers", "accelerate", "langgraph",
    "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "psycopg", "chromadb", "openai",
    "pydantic", "numpy", "pillow", "ray", "gradio", "mcp",
)  # fmt: skip
LOW_DISK = 2 * 2**30
"""Bytes; a hundred runs with their pictures and checkpoints fit well below."""


class Card(BaseModel):
    """What the doctor reads of a part's `card.json`. `sha256` is by path within the part."""

    sha256: dict[str, str]
    vocabulary: str | None = None


class Device(BaseModel):
    """Something that models can run on. `memory_bytes` is its total."""

    name: str
    description: str
    memory_bytes: int


class Weights(BaseModel):
    """One part of the embedded models.

    "damaged": a file is cut, missing, or not the one whose hash the card gives. `sha256` is over the lines
    that `sha256sum` prints for its safetensors in order of name; None if the part is missing.
    """

    name: str
    path: Path
    state: Literal["ok", "missing", "damaged"]
    bytes: int = 0
    sha256: str | None = None
    vocabulary: str | None = None
    """The (sub-)vocabulary that its card names."""


class Report(BaseModel):
    """All that was found. `problems` says what is wrong, each with the way out; `ok`: there is none."""

    ok: bool
    problems: tuple[str, ...]
    versions: dict[str, str]
    devices: tuple[Device, ...]
    weights: tuple[Weights, ...]
    vocabulary: dict[str, tuple[str, ...]]
    """Names by attribute (shapes, colours, ...) that may be asked of the backend "embedded"."""
    home: Path
    disk_free_bytes: int
    stores: tuple[Store, ...]
    endpoints: tuple[EndpointState, ...] = ()


def examine(settings: Settings) -> Report:
    """Look at everything; takes a few seconds, most of it importing torch."""
    home = DataFolder(settings.home)
    problems: list[str] = []
    versions = find_versions(problems)
    if settings.executor == "ray" and "ray" not in versions:
        problems.append("executor is 'ray' and Ray is not installed: pip install maulstick[ray]")
    devices = find_devices(settings.device, problems)
    weights = tuple(find_weights(problems))
    free = _find_disk(home, problems)
    stores = tuple(find_stores(settings, problems))
    endpoints = find_endpoints(settings, problems)
    return Report(
        ok=not problems,
        problems=tuple(problems),
        versions=versions,
        devices=devices,
        weights=weights,
        vocabulary=find_vocabulary(weights[0], problems),
        home=home.root,
        disk_free_bytes=free,
        stores=stores,
        endpoints=endpoints,
    )


def find_versions(problems: list[str]) -> dict[str, str]:
    """Versions of Python, of the project and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "maulstick":
                found[name] = "not installed (running from its folder)"
            elif name not in ("ray", "gradio", "mcp", "psycopg", "langgraph-checkpoint-postgres"):
                problems.append(f"{name} is not installed: run `make setup`")
    return found


def find_devices(wanted: str, problems: list[str]) -> tuple[Device, ...]:
    """The CPU and every accelerator that torch sees."""
    import psutil
    import torch

    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    devices = [
        Device(
            name="cpu",
            description=f"{cores} cores, torch uses {torch.get_num_threads()} threads",
            memory_bytes=psutil.virtual_memory().total,
        )
    ]
    for index in range(torch.cuda.device_count()):
        name: str = torch.cuda.get_device_name(index)
        _, total = torch.cuda.mem_get_info(index)
        devices.append(Device(name=f"cuda:{index}", description=name, memory_bytes=total))
    if torch.backends.mps.is_available():
        devices.append(
            Device(name="mps", description="Apple GPU", memory_bytes=psutil.virtual_memory().total)
        )
    names = {"auto", *(device.name for device in devices)} | {
        "cuda" for device in devices if device.name == "cuda:0"
    }
    if ("cuda:0" if wanted == "cuda" else wanted) not in names:
        problems.append(
            f"device {wanted!r} is not there: set MAULSTICK_DEVICE to one of {', '.join(sorted(names))}"
        )
    return tuple(devices)


def find_weights(problems: list[str]) -> Iterator[Weights]:
    """The embedded parts: there, whole, and the files that their cards name."""
    from models.backends import WEIGHTS
    from models.tool import ToolError
    from models.weights import check_folder, check_pipeline

    parts = {
        "painter": check_pipeline,
        "critic": check_folder,
        "judge": check_folder,
        "depth": check_pipeline,
    }
    for name, check in parts.items():
        part = WEIGHTS / name
        way = "depth" if name == "depth" else f"embedded --part {name}"
        if not part.is_dir():
            problems.append(
                f"the {name}'s weights are missing ({part}): install maulstick again, or train them with "
                f"`maulstick train {way}`"
            )
            yield Weights(name=name, path=part, state="missing")
            continue
        found, faults = _compare_with_card(name, part)
        try:
            check(part)
        except ToolError as error:
            faults.insert(0, str(error))
        problems.extend(faults)
        yield found.model_copy(update={"state": "damaged" if faults else "ok"})


def _compare_with_card(name: str, part: Path) -> tuple[Weights, list[str]]:
    files = {path.relative_to(part).as_posix(): path for path in sorted(part.rglob("*.safetensors"))}
    hashes = {path: _hash(file) for path, file in files.items()}
    listing = "".join(f"{digest}  {path}\n" for path, digest in hashes.items())
    found = Weights(
        name=name,
        path=part,
        state="ok",
        bytes=sum(file.stat().st_size for file in files.values()),
        sha256=hashlib.sha256(listing.encode()).hexdigest(),
    )
    try:
        card = Card.model_validate_json((part / "card.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        fault = f"the {name} has no readable card ({part / 'card.json'}: {type(error).__name__})"
        return found, [f"{fault}, so nobody can tell what it is: install maulstick again"]
    wrong = sorted(
        path for path in card.sha256.keys() | hashes.keys() if card.sha256.get(path) != hashes.get(path)
    )
    faults = [f"{part / path} is not the file that was shipped: install maulstick again" for path in wrong]
    return found.model_copy(update={"vocabulary": card.vocabulary}), faults


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_vocabulary(painter: Weights, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """The names, by attribute, of the (sub-)vocabulary that the painter's card says it was trained on."""
    from diorama.vocabulary import load_vocabulary

    if painter.vocabulary is None:
        if painter.state == "ok":
            problems.append(f"{painter.path / 'card.json'} names no vocabulary: install maulstick again")
        return {}
    try:
        words = load_vocabulary(painter.vocabulary)
    except ValueError as error:
        problems.append(f"{painter.path / 'card.json'}: {error}")
        return {}
    return {
        "shapes": words.shape_names,
        "colours": words.colour_names,
        "patterns": words.pattern_names,
        "sizes": words.size_names,
        "settings": words.setting_names,
    }


def _find_disk(home: DataFolder, problems: list[str]) -> int:
    try:
        check_writable(home.root, "MAULSTICK_HOME")
    except UserError as error:
        problems.append(str(error))
    nearest = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    if free < LOW_DISK:
        problems.append(
            f"only {free / 2**30:.1f} GiB are free at {nearest}: make room, or move MAULSTICK_HOME"
        )
    return free
