from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memory.errors import StoreDamaged
from memory.replies import KeptReplies


def test_texts_are_kept_by_key_over_openings(tmp_path: Path) -> None:
    path = tmp_path / "home" / "replies.db"
    KeptReplies(path).keep("a", "first ✓")
    replies = KeptReplies(path)
    assert (replies.find("a"), replies.find("b")) == ("first ✓", None)
    replies.keep("a", "second")
    assert KeptReplies(path).find("a") == "second"


def test_threads_may_share_it(tmp_path: Path) -> None:
    replies = KeptReplies(tmp_path / "replies.db")

    def work(number: int) -> str | None:
        replies.keep(str(number % 7), f"{number % 7}")
        return replies.find(str(number % 7))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(200))) == [str(number % 7) for number in range(200)]


def test_damage_is_told_with_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "replies.db"
    KeptReplies(path).keep("a", "b" * 20_000)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreDamaged, match=r"replies\.db.*asking again"):
        KeptReplies(path)
