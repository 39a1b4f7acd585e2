"""A file that is whole or not there: written under a temporary name and renamed."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.tool import ToolError


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A temporary name beside `path` to write under, in the block; the file takes its place at the end.

    Makes the folders above it. When the block fails, what stood at `path` before still does.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        os.replace(new, path)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        ToolError: it cannot be written; what stood there before still does.
    """
    try:
        with whole_file(path) as new:
            new.write_bytes(content)
    except OSError as error:
        raise ToolError(f"{path} could not be written: {error}") from error
