"""Recall with a Chroma server: the same as with a folder and as with none, and without it when it is gone."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory import chroma_server
from memory.chroma_server import ServerIndex, check_server
from memory.embedding import DIMENSIONS, EMBEDDER
from memory.episodes import Episodes
from memory.ledger import Ledger
from memory.neighbours import IndexFailed
from tests.ledgers import open_ledger
from tests.memory.test_episodes import befores, make, make_many

Start = Callable[..., "subprocess.Popen[str]"]
TEXTS = ("3 red cubes", "a star", "7 purple rings left of a cone", "")


class Server:
    """`chroma run`, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = "from chromadb.cli.cli import app; app()"
        arguments = ["run", "--path", str(self._folder), "--port", str(self.port), "--host", "127.0.0.1"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(600):
            try:
                return check_server(self.url)
            except IndexFailed:
                time.sleep(0.1)
        raise RuntimeError("chroma run did not come up")

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
            self._process = None


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Server:
    if shared_server._process is None:
        shared_server.start()
    return shared_server


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    with open_ledger(place) as ledger:
        yield ledger


def on(server: Server, ledger: Ledger) -> Episodes:
    return Episodes(ledger, ServerIndex(server.url, ledger.id, EMBEDDER, DIMENSIONS))


def test_all_recall_the_same_from_the_server_as_from_a_folder(
    server: Server, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with on(server, ledger) as one, on(server, ledger) as two, Episodes(ledger, tmp_path / "chroma") as alone:
        one.add(make_many(300))
        for text in TEXTS:
            expected = alone.recall("colour", text, "embedded", 5)
            assert one.recall("colour", text, "embedded", 5) == expected
            assert two.recall("colour", text, "embedded", 5) == expected
        two.add([make("a silver bell")])
        assert befores(one.recall("colour", "silver bell", "embedded", 1)) == ["a silver bell"]
        assert one.rebuild().moved_aside is None
        assert one.recall("colour", "a star", "embedded", 5) == alone.recall(
            "colour", "a star", "embedded", 5
        )
    assert "Chroma fails" not in caplog.text
    index = ServerIndex(server.url, ledger.id, EMBEDDER, DIMENSIONS)
    assert index.try_open() and len(index.ids()) == 301  # it was Chroma that answered
    index.close()


def test_each_ledger_has_a_collection_of_its_own(server: Server, ledger: Ledger, tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "other.db") as stranger,
        on(server, ledger) as ours,
        on(server, stranger) as theirs,
    ):
        ours.add([make("red cube")])
        theirs.add([make("blue ball")])
        for _ in range(2):
            assert befores(ours.recall("colour", "x", "embedded", 9)) == ["red cube"]
            assert befores(theirs.recall("colour", "x", "embedded", 9)) == ["blue ball"]


def test_two_processes_ask_at_the_same_time(server: Server, place: str, ledger: Ledger, start: Start) -> None:
    with on(server, ledger) as here:
        here.add([make("red cube"), make("blue ball")])
        other = start("ask_server", place, server.url)
        assert other.stdin is not None and other.stdout is not None
        for words in ("green cone", "white ring"):
            here.add([make(words)])
            assert befores(here.recall("colour", words, "embedded", 1)) == [words]
            other.stdin.write(f"{words}\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{words}\n"
        assert "Chroma fails" not in other.communicate(timeout=90)[1]
        assert other.returncode == 0


def test_a_server_that_stops_is_done_without_and_used_again_when_it_is_back(
    server: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with on(server, ledger) as episodes:
        episodes.add(make_many(50))
        before = [episodes.recall("colour", text, "embedded", 5) for text in TEXTS]
        server.stop()
        episodes.add([make("a silver bell", kind="count")])
        with caplog.at_level(logging.WARNING):
            assert [episodes.recall("colour", text, "embedded", 5) for text in TEXTS] == before
        assert caplog.text.count("comparing with all rows until it answers") == 1
        assert server.url in caplog.text
        index = episodes._index
        assert not index.is_open
        server.start()
        monkeypatch.setattr(index, "_next_try", 0.0)  # the minute is over
        assert befores(episodes.recall("count", "silver bell", "embedded", 1)) == ["a silver bell"]
        assert index.is_open and len(index.ids()) == 51


def test_a_server_that_never_was_is_told_once(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    index = ServerIndex("http://127.0.0.1:9", ledger.id, EMBEDDER, DIMENSIONS)
    with Episodes(ledger, index) as episodes:
        episodes.add([make("red cube")])
        for _ in range(3):
            assert befores(episodes.recall("colour", "red cube", "embedded", 1)) == ["red cube"]
    assert caplog.text.count("Chroma fails (no answer") == 1


def test_a_host_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_server, "CONNECT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # its queue is full: another gets no answer at all
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        started = time.monotonic()
        with pytest.raises(IndexFailed, match="no answer"):
            check_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 5
        for filler in fillers:
            filler.close()
