"""Settings in, a working studio out: the one place that knows which part plays which role.

Knows no command and no web route.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from agents.patterns import load_patterns
from graphs.context import Studio
from graphs.run import Home
from memory.artifacts import Artifacts
from memory.patterns import PatternPosterior
from memory.seeds import SeedPosterior
from models.executor import Executor, LocalExecutor, find_devices
from models.ray_executor import RayExecutor
from models.tools import builtin_tools
from serving.failures import UserError
from serving.home import DataFolder, check_writable
from serving.minds import assemble_minds
from serving.stores import open_episodes, open_ledger
from settings import Settings


@dataclass(frozen=True, slots=True)
class Workshop:
    """An open studio with the folder that its runs live in."""

    studio: Studio
    home: Home
    artifacts: Artifacts
    executor: Executor


@asynccontextmanager
async def open_workshop(settings: Settings, mind: str, backend: str) -> AsyncGenerator[Workshop]:
    """Everything that a run needs, closed again at the end of the block.

    Raises:
        UserError: a mind or a role is unknown, the device is not there or the home folder takes no files.
        StoreError: the ledger or the cache of replies cannot be read, or the ledger's server does not answer.
    """
    folder = DataFolder(settings.home)
    check_writable(folder.root, "MAULSTICK_HOME")
    with open_ledger(settings) as ledger, open_episodes(settings, ledger) as episodes:
        artifacts = Artifacts(folder.artifacts)
        async with (
            make_executor(settings, artifacts) as executor,
            AsyncExitStack() as stack,
        ):
            company = await assemble_minds(settings, mind, backend, executor, artifacts, stack)
            studio = Studio(
                executor=executor,
                artifacts=artifacts,
                mind=company.mind,
                minds=company.minds,
                patterns=tuple(pattern.name for pattern in load_patterns()),
                episodes=episodes,
                posterior=PatternPosterior(ledger),
                seeds=SeedPosterior(ledger),
            )
            yield Workshop(studio, Home(folder.root, ledger), artifacts, executor)


def make_executor(settings: Settings, artifacts: Artifacts) -> Executor:
    """The executor that the settings name, not yet started.

    Raises:
        UserError: the device is not there, or does not suit the executor.
    """
    budget = None if settings.memory_gib is None else int(settings.memory_gib * 2**30)
    if settings.executor == "local":
        if settings.ray_address is not None:
            raise UserError(
                f"ray_address is {settings.ray_address!r} and executor is 'local', which uses no Ray: set "
                "MAULSTICK_EXECUTOR=ray, or unset MAULSTICK_RAY_ADDRESS"
            )
        devices = choose_devices(settings.device)
        return LocalExecutor(
            builtin_tools(), artifacts, devices, memory_budget=budget, threads=settings.threads
        )
    if settings.device not in ("auto", "cpu"):
        raise UserError(
            f"device is {settings.device!r}, and Ray chooses the cards itself: set MAULSTICK_DEVICE to auto, "
            "which takes every GPU of the cluster, or to cpu"
        )
    try:
        return RayExecutor(
            builtin_tools(),
            artifacts,
            "auto" if settings.device == "auto" else ("cpu",),
            memory_budget=budget,
            threads=settings.threads,
            address=settings.ray_address,
        )
    except ValueError as error:
        raise UserError(f"MAULSTICK_RAY_ADDRESS: {error}") from error


def choose_devices(wanted: str) -> tuple[str, ...] | Literal["auto"]:
    """The devices that the executor works on.

    Raises:
        UserError: a CUDA device is wanted that torch does not see.
    """
    if wanted in ("auto", "cpu"):
        return "auto" if wanted == "auto" else ("cpu",)
    device = "cuda:0" if wanted == "cuda" else wanted
    if device.startswith("cuda") and device not in (found := find_devices()):
        raise UserError(
            f"device {wanted!r} is not there; there are: {', '.join(found)}. Set MAULSTICK_DEVICE"
        )
    return (device,)
