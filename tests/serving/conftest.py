"""The command line as a user meets it: a real process, with a data folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def maulstick(home: Path, tmp_path: Path) -> Cli:
    """`maulstick("runs", "list", env={...})`, run uninstalled from another folder."""

    def call(*arguments: str | bytes, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "app.py"), *arguments]
        own = {key: value for key, value in os.environ.items() if not key.startswith("MAULSTICK_")}
        own |= {"MAULSTICK_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "160", **(env or {})}
        return subprocess.run(
            command, env=own, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110
        )

    return call
