"""What the tests of memory run in other processes: `python worker.py COMMAND ARGUMENTS`."""

import os
import signal
import sys
import time
from pathlib import Path

from PIL import Image

from memory.artifacts import Artifacts
from memory.chroma_server import ServerIndex
from memory.embedding import DIMENSIONS, EMBEDDER
from memory.episodes import Episode, Episodes
from memory.journal import Journal
from memory.ledger import RunBusy
from tests.ledgers import open_ledger


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((48, 32)).convert("RGB")


def save(root: str, point: str) -> None:
    """Save a picture and die at a named point: (torn | before | after) of the (sidecar | picture)."""
    when, what = point.split("-")
    suffix = {"sidecar": ".json", "picture": ".png"}[what]
    store = Artifacts(Path(root))
    replace, sync = os.replace, os.fsync

    def dying_replace(source: Path, target: Path) -> None:
        mine = target.suffix == suffix
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if mine and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    def dying_sync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if when == "torn" and name.endswith(suffix):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.replace, os.fsync = dying_replace, dying_sync
    store.save_image(picture(), seed=7, provenance={"prompt": "a red cube"})


def save_many(root: str, name: str, count: str) -> None:
    """Save one picture again and again, each time with a provenance of its own."""
    store = Artifacts(Path(root))
    for number in range(int(count)):
        store.save_image(picture(), seed=number, provenance={"run": name})


def hold(database: str, run_id: str) -> None:
    with open_ledger(database) as ledger, ledger.lease(run_id):
        print("held", flush=True)
        time.sleep(600)


def count_up(database: str, run_id: str, counter: str, times: str) -> None:
    """Add to a number in a file without any lock but the lease."""
    with open_ledger(database) as ledger:
        done = 0
        while done < int(times):
            try:
                with ledger.lease(run_id):
                    value = int(Path(counter).read_text())
                    time.sleep(0.002)
                    Path(counter).write_text(str(value + 1))
                    done += 1
            except RunBusy:
                time.sleep(0.001)


def own(database: str, chroma: str) -> None:
    """Own Chroma; answer each line of input, a text, with the words of the episode recalled."""
    with open_ledger(database) as ledger, Episodes(ledger, Path(chroma)) as episodes:
        for line in sys.stdin:
            found = episodes.recall("colour", line.strip(), "embedded", 1)
            print(found[0][0].before, flush=True)


def ask_server(database: str, url: str) -> None:
    """As `own`, with a Chroma server."""
    with open_ledger(database) as ledger:
        index = ServerIndex(url, ledger.id, EMBEDDER, DIMENSIONS)
        with Episodes(ledger, index) as episodes:
            for line in sys.stdin:
                found = episodes.recall("colour", line.strip(), "embedded", 1)
                print(found[0][0].before, flush=True)


def add(database: str, chroma: str, words: str) -> None:
    with open_ledger(database) as ledger, Episodes(ledger, Path(chroma)) as episodes:
        episode = Episode(
            kind="colour",
            before=words,
            after="x",
            pattern="p",
            rating_change=1,
            backend="embedded",
            run_id="r",
        )
        print(episodes.add([episode]))
    print("chromadb" in sys.modules, "sklearn" in sys.modules)


def write_lines(path: str) -> None:
    journal = Journal(Path(path))
    for number in range(10**9):
        journal.append({"number": number, "text": "x" * 200})


if __name__ == "__main__":
    commands = {f.__name__: f for f in (save, save_many, hold, count_up, own, ask_server, add, write_lines)}
    commands[sys.argv[1]](*sys.argv[2:])
