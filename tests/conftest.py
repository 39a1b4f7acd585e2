"""Every test runs in the environment that the command sets up, before any library reads it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A `tests.postgres.Server`, the same for all tests: each takes a new database of it."""
    from tests.postgres import running_server  # needs the extra [test-postgres]

    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger's place, for `tests.ledgers.open_ledger`: a file, and a database on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "data" / "ledger.db")
    return request.getfixturevalue("postgres_server").new_database()
