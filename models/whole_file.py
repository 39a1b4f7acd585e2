"""A file that is whole or not there: written under a temporary name and renamed."""

import os
from contextlib import suppress
from pathlib import Path

from models.tool import ToolError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        ToolError: it cannot be written; what stood there before still does.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(content)
        os.replace(new, path)
    except OSError as error:
        raise ToolError(f"{path} could not be written: {error}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
