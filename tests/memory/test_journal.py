import math
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from memory import journal
from memory.errors import StoreDamaged
from memory.journal import Journal

values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
events: Any = st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=6)


@given(events=events, data=st.data())
@settings(deadline=None, max_examples=60, derandomize=True)
def test_cut_anywhere_the_whole_lines_stay_and_writing_goes_on(
    events: list[Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        with Journal(path) as writer:
            for event in events:
                writer.append(event)
            assert journal.read(path) == events  # readable while it is open
        written = path.read_bytes()
        cut = data.draw(st.integers(0, len(written)))
        path.write_bytes(written[:cut])
        whole = written[:cut].count(b"\n")
        assert journal.read(path) == events[:whole]
        with Journal(path) as writer:
            assert (writer.dropped is None) == (cut == 0 or written[cut - 1 : cut] == b"\n")
            writer.append({"again": True})
        assert journal.read(path) == [*events[:whole], {"again": True}]


def test_a_killed_writer_loses_no_line_that_was_appended(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.jsonl"
    writer = start("write_lines", path)
    while not path.exists() or path.stat().st_size < 50_000:
        time.sleep(0.01)
    seen = journal.read(path)
    writer.send_signal(signal.SIGKILL)
    writer.wait(90)
    kept = journal.read(path)
    assert kept[: len(seen)] == seen
    assert [line["number"] for line in kept] == list(range(len(kept)))
    # The kill may itself have cut a line, at the end of a page: then this goes on from there.
    torn = path.read_bytes().rpartition(b"\n")[2] + b'{"number": 1, "te'
    with path.open("ab") as file:
        file.write(b'{"number": 1, "te')
    with Journal(path) as reopened:
        assert reopened.dropped == torn.decode()
    assert "cut off while being written" in caplog.text
    assert journal.read(path) == kept


def test_models_are_written_as_json(tmp_path: Path) -> None:
    class Painted(BaseModel):
        type: str = "painted"
        path: Path = Path("a/b")

    with Journal(tmp_path / "deep" / "run.jsonl") as writer:
        writer.append(Painted())
    assert journal.read(tmp_path / "deep" / "run.jsonl") == [{"type": "painted", "path": "a/b"}]


def test_what_is_no_json_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Journal(path) as writer, pytest.raises(ValueError):
        writer.append({"rating": math.nan})
    with pytest.raises(ValueError):
        writer.append({})
    assert journal.read(path) == []


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff", b""])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"b": 2}\n')
    with pytest.raises(StoreDamaged, match="line 2 is no JSON object"):
        journal.read(path)


def test_no_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        journal.read(tmp_path / "run.jsonl")
