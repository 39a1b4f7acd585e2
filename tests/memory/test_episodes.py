import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from memory.episodes import Episode, Episodes
from memory.ledger import Ledger
from tests.ledgers import open_ledger

Start = Callable[..., "subprocess.Popen[str]"]
COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
SHAPES = ("cube", "ball", "cone", "ring", "star")


def make(before: str, kind: str = "colour", backend: str = "embedded", **fields: Any) -> Episode:
    values: dict[str, Any] = {"after": f"{before}, clearly", "pattern": "emphasise", "rating_change": 0.5}
    return Episode(**{**values, "kind": kind, "before": before, "backend": backend, "run_id": "r1", **fields})


def make_many(count: int) -> list[Episode]:
    rng = np.random.default_rng(0)

    def words() -> str:
        return (
            f"{rng.integers(2, 9)} {rng.choice(COLOURS)} {rng.choice(SHAPES)}s left of a {rng.choice(SHAPES)}"
        )

    return [make(words(), run_id=f"r{i}", backend=("embedded", "other")[i % 2]) for i in range(count)]


@pytest.fixture
def ledger(place: str) -> Iterator[Ledger]:
    with open_ledger(place) as ledger:
        yield ledger


@pytest.fixture
def chroma(tmp_path: Path) -> Path:
    return tmp_path / "chroma"


def befores(found: list[tuple[Episode, float]]) -> list[str]:
    return [episode.before for episode, _ in found]


def test_adding_twice_adds_once(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as episodes:
        first = make("red cube", created="2026-01-01T00:00:00+00:00")
        again = make("red cube", created="2026-01-02T00:00:00+00:00")
        assert first.id == again.id != make("red cube", rating_change=0.6).id
        assert episodes.add([first, make("red ball"), first]) == 2
        assert episodes.add([again, make("red ball"), make("red cone")]) == 1
        assert episodes.count() == 3
        (found, similarity), *_ = episodes.recall("colour", "red cube", "embedded", 5)
        assert found == first and similarity == pytest.approx(1)


def test_an_episode_that_says_nothing_is_refused() -> None:
    for fields in ({"rating_change": float("nan")}, {"kind": ""}, {"pattern": ""}, {"more": 1}):
        with pytest.raises(ValidationError):
            make(**{"before": "x", **fields})  # type: ignore[arg-type]


def test_recall_goes_by_kind_likeness_and_backend(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(
            [
                make("three red cubes"),
                make("three red cubes", backend="other"),
                make("a small red cube", backend="other"),
                make("green grass everywhere"),
                make("three red cubes", kind="count"),
                make("", kind="missing"),
            ]
        )
        found = episodes.recall("colour", "three red cubes", "embedded", 4)
        assert [(e.before, e.backend) for e, _ in found] == [
            ("three red cubes", "embedded"),
            ("three red cubes", "other"),
            ("a small red cube", "other"),
            ("green grass everywhere", "embedded"),
        ]
        assert found[1][1] == pytest.approx(1)  # told as it is, though it counts less
        assert [e.backend for e, _ in episodes.recall("colour", "three red cubes", "other", 1)] == ["other"]
        assert [e.kind for e, _ in episodes.recall("count", "anything", "new", 9)] == ["count"]
        assert [s for _, s in episodes.recall("missing", "", "embedded", 1)] == [pytest.approx(1)]
        assert episodes.recall("pattern", "three red cubes", "embedded", 4) == []
        with pytest.raises(ValueError, match="limit is 0"):
            episodes.recall("colour", "x", "embedded", 0)


def test_of_equals_the_more_telling_comes_first_however_many_there_are(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as owner, Episodes(ledger, chroma) as other:
        owner.add([make("red cube", rating_change=i / 100, run_id=f"r{i}") for i in range(-20, 60)])
        owner.add([make("blue ball", rating_change=3)])
        by_chroma = owner.recall("colour", "red cube", "embedded", 3)
        assert [episode.rating_change for episode, _ in by_chroma] == [0.59, 0.58, 0.57]
        assert other.recall("colour", "red cube", "embedded", 3) == by_chroma


def test_owner_and_others_recall_the_same(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as owner, Episodes(ledger, chroma) as other:
        owner.add(make_many(300))
        for text in ("3 red cubes", "a star", "7 purple rings left of a cone", ""):
            by_chroma = owner.recall("colour", text, "embedded", 5)
            assert (chroma / "chroma.sqlite3").exists()
            by_rows = other.recall("colour", text, "embedded", 5)
            assert by_chroma == by_rows
        assert owner.moved_aside is None  # Chroma did answer
        with pytest.raises(RuntimeError, match="another process owns"):
            other.rebuild()


def test_an_empty_memory_and_one_that_only_adds_do_not_pay_for_chroma(
    place: str, ledger: Ledger, chroma: Path, start: Start
) -> None:
    worker = start("add", place, chroma, "red cube")
    assert worker.communicate(timeout=90)[0].split() == ["1", "False", "False"]
    assert not chroma.exists()
    script = f"""
import sys
from pathlib import Path
from tests.ledgers import open_ledger
from memory.episodes import Episodes
with open_ledger({place!r}) as ledger, Episodes(ledger, Path({str(chroma)!r})) as episodes:
    print(episodes.recall("position", "left of", "embedded", 3))
print("chromadb" in sys.modules, "sklearn" in sys.modules, "torch" in sys.modules, "langgraph" in sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=root, text=True, capture_output=True
    )
    assert done.stdout.splitlines() == ["[]", "False False False False"], done.stderr
    assert not chroma.exists()


def test_opening_ahead_recalls_the_same_and_pays_nothing_for_an_empty_memory(
    ledger: Ledger, chroma: Path
) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.open_ahead()
        assert not chroma.exists()
        episodes.add(make_many(50))
        by_rows = Episodes(ledger, chroma.with_name("other")).recall("colour", "3 red cubes", "embedded", 5)
        episodes.open_ahead()
        assert episodes.recall("colour", "3 red cubes", "embedded", 5) == by_rows
    with Episodes(ledger, chroma) as episodes:
        episodes.open_ahead()
    with Episodes(ledger, chroma) as episodes:  # closing waited for the opening, and sealed the folder
        assert episodes.recall("colour", "3 red cubes", "embedded", 5) == by_rows
        assert episodes.moved_aside is None


def test_damage_met_while_opening_ahead_is_made_good(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(20))
        before = episodes.recall("colour", "red ring", "embedded", 5)
    (chroma / "chroma.sqlite3").write_bytes(b"\xff" * 9000)
    with Episodes(ledger, chroma) as episodes:
        episodes.open_ahead()
        assert episodes.recall("colour", "red ring", "embedded", 5) == before
        assert episodes.moved_aside is not None


def ask(worker: "subprocess.Popen[str]", text: str) -> str:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{text}\n")
    worker.stdin.flush()
    return worker.stdout.readline().strip()


def test_the_owner_folds_in_what_another_process_adds(
    place: str, ledger: Ledger, chroma: Path, start: Start
) -> None:
    owner = start("own", place, chroma)
    with Episodes(ledger, chroma) as here:
        here.add([make("red cube"), make("blue ball")])
        assert ask(owner, "a red cube") == "red cube"
        here.add([make("green cone")])
        assert ask(owner, "the green cone") == "green cone"
        assert befores(here.recall("colour", "the green cone", "embedded", 1)) == ["green cone"]  # by rows
        owner.communicate(timeout=90)  # the end of its input closes it
        assert owner.returncode == 0
        assert (chroma.parent / "chroma.seal.json").exists()
        here.add([make("white ring")])
        assert befores(here.recall("colour", "white ring", "embedded", 1)) == ["white ring"]
        assert not (chroma.parent / "chroma.seal.json").exists()  # it is the owner now
        assert here.moved_aside is None


def test_a_killed_owner_costs_nothing_but_the_making_again(
    place: str, ledger: Ledger, chroma: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with Episodes(ledger, chroma) as here:
        here.add([make("red cube"), make("blue ball")])
        (chroma.parent / "chroma.unsealed").mkdir()  # of an owner killed before
        owner = start("own", place, chroma)
        assert ask(owner, "a red cube") == "red cube"
        owner.send_signal(signal.SIGKILL)
        owner.wait(90)
        with caplog.at_level(logging.WARNING):
            assert befores(here.recall("colour", "blue ball", "embedded", 2)) == ["blue ball", "red cube"]
        assert here.moved_aside == chroma.parent / "chroma.unsealed"
        assert (here.moved_aside / "chroma.sqlite3").exists()
        assert "its last owner did not close it" in caplog.text


def test_a_closed_folder_is_used_again_and_brought_in_line(ledger: Ledger, chroma: Path) -> None:
    for attempt in range(2):
        with Episodes(ledger, chroma) as episodes:
            episodes.add([make("red cube"), make("blue ball")] if attempt == 0 else [make("green cone")])
            episodes.recall("colour", "x", "embedded", 1)
            assert episodes.moved_aside is None
    with ledger.transaction() as connection:
        connection.execute("DELETE FROM episodes WHERE before = 'red cube'")
    with Episodes(ledger, chroma) as episodes:
        found = befores(episodes.recall("colour", "red cube", "embedded", 9))
        assert sorted(found) == ["blue ball", "green cone"]
        assert episodes.moved_aside is None
    assert sorted(path.name for path in chroma.parent.glob("chroma*")) == ["chroma", "chroma.seal.json"]


def test_a_rebuild_gives_the_same_answers(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(50))
        before = episodes.recall("colour", "red ring", "embedded", 5)
        rebuilt = episodes.rebuild()
        assert rebuilt.rows == 50
        assert rebuilt.moved_aside is not None and (rebuilt.moved_aside / "chroma.sqlite3").exists()
        assert episodes.recall("colour", "red ring", "embedded", 5) == before


def test_a_damaged_database_of_chroma_is_moved_aside_and_nothing_is_lost(
    ledger: Ledger, chroma: Path, damaged: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(50))
        before = episodes.recall("colour", "red ring", "embedded", 5)
    damaged(chroma / "chroma.sqlite3")
    with Episodes(ledger, chroma) as episodes:
        assert episodes.recall("colour", "red ring", "embedded", 5) == before
        assert episodes.moved_aside is not None and episodes.moved_aside.name.startswith("chroma.damaged-")
        assert episodes.moved_aside.exists()
    assert "chroma.sqlite3 changed since it was closed" in caplog.text


def test_damage_that_would_kill_the_process_is_found_before_chroma_reads_it(
    ledger: Ledger, chroma: Path
) -> None:
    # From 1,000 vectors on, chromadb 1.5.9 keeps an HNSW graph in files that it loads without checking.
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(1100))
        before = episodes.recall("colour", "red ring", "embedded", 5)
        (graph,) = chroma.glob("*/data_level0.bin")
        assert graph.stat().st_size > 1_000_000
    graph.write_bytes(np.random.default_rng(0).bytes(graph.stat().st_size))
    with Episodes(ledger, chroma) as episodes:
        after = episodes.recall("colour", "red ring", "embedded", 5)
        assert [s for _, s in after] == pytest.approx([s for _, s in before])
        assert episodes.moved_aside is not None


def test_chroma_failing_in_use_is_replaced_once_and_then_done_without(
    ledger: Ledger, chroma: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(20))
        before = episodes.recall("colour", "red ring", "embedded", 5)
        for _ in range(2):
            (chroma / "chroma.sqlite3").write_bytes(b"\xff" * 9000)
            assert episodes.recall("colour", "red ring", "embedded", 5) == before
        assert "comparing with all rows from now on" in caplog.text
        started = len(caplog.records)
        episodes.add([make("a silver bell")])
        assert befores(episodes.recall("colour", "silver bell", "embedded", 1)) == ["a silver bell"]
        assert len(caplog.records) == started


def test_a_folder_that_vanishes_is_made_again(ledger: Ledger, chroma: Path) -> None:
    with Episodes(ledger, chroma) as episodes:
        episodes.add(make_many(20))
        before = episodes.recall("colour", "red ring", "embedded", 5)
    shutil.rmtree(chroma)
    with Episodes(ledger, chroma) as episodes:
        assert episodes.recall("colour", "red ring", "embedded", 5) == before
