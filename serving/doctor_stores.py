"""What the doctor finds out about the stores: ledger, checkpoints and vectors, in files or on servers.

Looks and never changes anything: a store that is not there yet stays away.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from serving.home import DataFolder
from settings import Settings


class Store(BaseModel):
    """A store below MAULSTICK_HOME, or on a server; "absent" is no fault, it is made when first needed.

    `path` of a server is its address without user and password.
    """

    name: str
    path: Path | str
    state: Literal["ok", "absent", "damaged", "unreachable"]


def find_stores(settings: Settings, problems: list[str]) -> Iterator[Store]:
    """Ledger, checkpoints and vectors, opened read-only in effect."""
    home = DataFolder(settings.home)
    if settings.database is None:
        yield _look("ledger", home.ledger, _open_ledger, problems)
        yield _look("checkpoints", home.checkpoints, _open_checkpoints, problems)
    else:
        yield from _look_at_database(settings.database, problems)
    if settings.chroma is None:
        yield _look("vectors", home.vectors, _open_vectors, problems)
    else:
        yield _look_at_chroma(settings.chroma, problems)


def _look(name: str, path: Path, check: Callable[[Path], None], problems: list[str]) -> Store:
    from memory.errors import StoreError

    if not path.exists():
        return Store(name=name, path=path, state="absent")
    try:
        check(path)
    except (StoreError, OSError, ValueError) as error:
        problems.append(f"{name}: {error}")
        return Store(name=name, path=path, state="damaged")
    return Store(name=name, path=path, state="ok")


def _look_at_database(url: str, problems: list[str]) -> Iterator[Store]:
    from memory.errors import StoreError, StoreUnreachable
    from memory.postgres import find_tables
    from memory.postgres_url import describe_url

    place = describe_url(url)
    try:
        tables = find_tables(url)
    except StoreError as error:
        problems.append(f"ledger: {error}")
        state = "unreachable" if isinstance(error, StoreUnreachable) else "damaged"
        yield from (Store(name=name, path=place, state=state) for name in ("ledger", "checkpoints"))
        return
    for name, table in (("ledger", "maulstick_schema"), ("checkpoints", "checkpoint_migrations")):
        yield Store(name=name, path=place, state="ok" if table in tables else "absent")


def _look_at_chroma(url: str, problems: list[str]) -> Store:
    from memory.chroma_server import check_server
    from memory.neighbours import IndexFailed

    try:
        check_server(url)
    except IndexFailed as error:
        problems.append(
            f"vectors: {url}: {error}. Until it answers, recall compares with all rows; start it with "
            "`chroma run`, or correct MAULSTICK_CHROMA"
        )
        return Store(name="vectors", path=url, state="unreachable")
    return Store(name="vectors", path=url, state="ok")


def _open_ledger(path: Path) -> None:
    from memory.ledger import Ledger

    with Ledger(path) as ledger:
        ledger.list(limit=1)


def _open_checkpoints(path: Path) -> None:
    import asyncio

    from memory.checkpoints import open_checkpointer

    async def open_once() -> None:
        async with open_checkpointer(path):
            pass

    asyncio.run(open_once())


def _open_vectors(path: Path) -> None:
    # Without a seal the folder is in use, or its owner died: the next owner mends that. Chroma is not asked,
    # because opening changes files, and damaged ones can end the process (`memory/index.py`).
    from memory.errors import StoreDamaged

    seal = path.with_name(f"{path.name}.seal.json")
    if not seal.is_file():
        return
    sealed: dict[str, str] = json.loads(seal.read_text("utf-8"))
    files = sorted(file for file in path.rglob("*") if file.is_file())
    found = {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    if found != sealed:
        way_out = "Nothing is lost: the next run moves it aside and makes it again from the ledger"
        raise StoreDamaged(path, "it changed since it was closed", way_out)
