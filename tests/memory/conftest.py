import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memory  # noqa: F401 - before langgraph, which a test may import first: it reads its settings once

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `worker.py` with arguments; whatever still runs at the end of the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), *map(str, arguments)]
        pipes: dict[str, Any] = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes.append(subprocess.Popen(command, text=True, env=environment, cwd=ROOT, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


DAMAGES = ("empty", "cut", "noise", "noise in the middle")


def damage(path: Path, how: str) -> None:
    """Damage a file as disks and careless copies do."""
    content = bytearray(path.read_bytes())
    noise = bytes((i * 2654435761 >> 7) & 0xFF for i in range(len(content)))
    third = len(content) // 3
    match how:
        case "empty":
            content.clear()
        case "cut":
            del content[len(content) // 2 :]
        case "noise":
            content[:] = noise
        case _:
            content[third : 2 * third] = noise[third : 2 * third]
    path.write_bytes(content)


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Damages a file, in each of several ways."""
    return lambda path: damage(path, request.param)
