"""A journal: JSON objects, one per line, appended while a run goes on. Knows no event.

Each line is handed to the operating system in one write before `append` returns: it survives the death of the
process, not the loss of power. One writer at a time (the run's lease sees to that), any number of readers.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, JsonValue, TypeAdapter

from memory.errors import StoreDamaged

_LOG = logging.getLogger(__name__)
_LINE: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Journal:
    """Appends to the journal at `path`, created if it is not there.

    `dropped` is what a writer that was killed left of its last line; it has been cut off. None if nothing
    was.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.dropped = _drop_torn_line(self.path)
        self._guard = threading.Lock()
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the object

    def append(self, event: BaseModel | Mapping[str, JsonValue]) -> None:
        """Write one event as one line.

        Raises:
            ValueError: the event holds a number that JSON has not (NaN, infinity), or the journal is closed.
        """
        value = event.model_dump(mode="json") if isinstance(event, BaseModel) else dict(event)
        line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._guard:
            while line:
                line = line[self._file.write(line) :]

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read(path: Path) -> Sequence[dict[str, JsonValue]]:
    """The events so far. A last line that is still being written is left out.

    Raises:
        FileNotFoundError: there is no journal.
        StoreDamaged: a whole line is no JSON object.
    """
    path = Path(path)
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1)]


def _parse(path: Path, number: int, line: bytes) -> dict[str, JsonValue]:
    try:
        return _LINE.validate_python(json.loads(line))
    except ValueError as error:
        fault = f"line {number} is no JSON object: {line[:40]!r}"
        raise StoreDamaged(path, fault, "Delete that line; the lines around it stand") from error


def _drop_torn_line(path: Path) -> str | None:
    if not path.exists():
        return None
    written = path.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole == len(written):
        return None
    torn = written[whole:].decode(errors="replace")
    os.truncate(path, whole)
    _LOG.warning("%s: dropped a last line that was cut off while being written: %r", path, torn)
    return torn
