"""Episodes: which edit was tried in which case, and what it did to the rating; recalled by likeness of the
words.

Knows no graph and no mind. The rows of the ledger are the truth. Chroma finds neighbours for the one process
that owns its folder; every other process compares with all rows of the kind, by the same vectors and the same
order, so both recall the same (from about 1,000 episodes on Chroma's graph is approximate). A process that
only adds never opens Chroma; the owner folds new rows in when it next recalls.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from memory.embedding import DIMENSIONS, EMBEDDER, embed
from memory.index import VectorIndex
from memory.ledger import Ledger
from memory.neighbours import IndexFailed, Neighbours
from memory.tables import Row

OTHER_BACKEND = 0.8
"""What likeness counts for, in the order of recall, when the episode comes from another backend."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Episode(BaseModel):
    """One edit and its effect: the words `before` became `after` by `pattern`, for an error of `kind`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, Field(min_length=1)]
    before: str
    after: str
    pattern: Annotated[str, Field(min_length=1)]
    rating_change: Annotated[float, Field(allow_inf_nan=False)]
    """Mean rating after minus before, on the scale of 1 to 5: from -4 to 4."""
    backend: str
    run_id: str
    created: str = Field(default_factory=_now)

    @property
    def id(self) -> str:
        """A hash of everything but the time, so that a step that is run again adds nothing."""
        content = json.dumps(self.model_dump(exclude={"created"}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    @property
    def text(self) -> str:
        """What recall compares with: the words that were replaced, or the kind where words were only
        added.
        """
        return self.before if self.before.strip() else self.kind


class Rebuilt(BaseModel):
    """What a rebuild did: how many rows Chroma now holds, and where the old folder went."""

    model_config = ConfigDict(frozen=True)

    rows: int
    moved_aside: Path | None


class Episodes:
    """The episodes of a ledger, with their vectors in a Chroma folder or in another index. Close it before
    the ledger.
    """

    def __init__(self, ledger: Ledger, index: Path | Neighbours) -> None:
        self._ledger = ledger
        self._index = index if isinstance(index, Neighbours) else VectorIndex(index, EMBEDDER, DIMENSIONS)
        self._folded = 0
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._guard = threading.RLock()
        self._opener: threading.Thread | None = None

    @property
    def moved_aside(self) -> Path | None:
        """Where a Chroma folder that could not be trusted went when it was opened; None if nothing was
        wrong.
        """
        return self._index.moved_aside

    def add(self, episodes: Iterable[Episode]) -> int:
        """Write episodes as rows, all or none. Returns how many were new."""
        columns = "id, kind, before, after, pattern, rating_change, backend, run_id, created"
        sql = f"INSERT INTO episodes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        with self._ledger.transaction() as connection:
            return connection.executemany(sql, [_values(episode) for episode in episodes]).rowcount

    def count(self) -> int:
        """How many episodes there are."""
        return self._ledger.rows("SELECT count(*) FROM episodes")[0][0]

    def recall(self, kind: str, text: str, backend: str, limit: int) -> list[tuple[Episode, float]]:
        """The episodes of a kind of error whose words are most like `text`, with their cosine similarity (-1
        to 1).

        Those of another backend count `OTHER_BACKEND` times in the order; the similarity returned is the
        plain one. Of equals, the one that changed the rating more comes first.

        Raises:
            ValueError: `limit` is less than 1.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}: ask for at least one episode")
        available = self._count_by_backend(kind)
        if not available:
            return []
        with self._guard:
            query = embed([text if text.strip() else kind])[0]
            candidates = self._find_candidates(kind, query, backend, limit, available)
            likeness = [float(similarity) for similarity in self._embed(candidates) @ query]

        def rank(pair: tuple[Episode, float]) -> tuple[float, float, str]:
            episode, similarity = pair
            weighed = similarity * (1.0 if episode.backend == backend else OTHER_BACKEND)
            return -round(weighed, 5), -abs(episode.rating_change), episode.id

        return sorted(zip(candidates, likeness, strict=True), key=rank)[:limit]

    def rebuild(self) -> Rebuilt:
        """Move the Chroma folder aside and make it again from the rows.

        Raises:
            RuntimeError: another process owns the folder.
        """
        with self._guard:
            if not self._index.try_open():
                raise RuntimeError(
                    f"another process owns {self._index.name}, or it fails: rebuild there, or stop it first"
                )
            return self._rebuild("rebuilt on request", "replaced")

    def open_ahead(self) -> None:
        """Open Chroma in the background if there is anything to recall: the first recall then need not wait
        for it.
        """
        if self._opener is None and self.count():
            self._opener = threading.Thread(target=self._open_ahead, name="maulstick memory", daemon=True)
            self._opener.start()

    def close(self) -> None:
        """Seal Chroma's folder and give it free. A second time does nothing."""
        if self._opener is not None:
            self._opener.join()
        with self._guard:
            self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _count_by_backend(self, kind: str) -> dict[str, int]:
        rows = self._ledger.rows(
            "SELECT backend, count(*) FROM episodes WHERE kind = ? GROUP BY backend", (kind,)
        )
        return {row[0]: row[1] for row in rows}

    def _find_candidates(
        self, kind: str, query: NDArray[np.float32], backend: str, limit: int, available: dict[str, int]
    ) -> Sequence[Episode]:
        try:
            ids = self._ask_index(kind, query, backend, limit, available)
        except IndexFailed as error:
            self._recover(error)
            ids = None
        if ids is None:
            return self._read("kind = ?", (kind,))
        rows = self._ledger.rows_of("SELECT * FROM episodes WHERE id IN ({texts}) ORDER BY sequence", ids)
        return [_episode(row) for row in rows]

    def _ask_index(
        self, kind: str, query: NDArray[np.float32], backend: str, limit: int, available: dict[str, int]
    ) -> Sequence[str] | None:
        if not self._open():
            return None
        self._fold_in()
        own = available.get(backend, 0)
        ids: list[str] = []
        for operator, count in (("$eq", own), ("$ne", sum(available.values()) - own)):
            where: dict[str, Any] = {"$and": [{"kind": {"$eq": kind}}, {"backend": {operator: backend}}]}
            ids.extend(self._index.nearest(query, where, limit, count))
        return ids

    def _open_ahead(self) -> None:
        with self._guard:
            try:
                self._open()
            except IndexFailed as error:
                self._recover(error)

    def _open(self) -> bool:
        """Whether Chroma can be asked here: it works, and this process owns its folder."""
        fresh = not self._index.is_open
        if not self._index.try_open():
            return False
        if fresh:
            self._reconcile()
        return True

    def _reconcile(self) -> None:
        """Bring a folder that was just opened in line with the rows, whatever happened to either
        meanwhile.
        """
        indexed = self._index.ids()
        episodes = self._read("1 = 1", ())
        self._index.remove(sorted(indexed - {episode.id for episode in episodes}))
        self._add_to_index([episode for episode in episodes if episode.id not in indexed])
        self._folded = self._last_sequence()

    def _fold_in(self) -> None:
        last = self._last_sequence()
        if last > self._folded:
            self._add_to_index(self._read("sequence > ? AND sequence <= ?", (self._folded, last)))
            self._folded = last

    def _recover(self, error: IndexFailed) -> None:
        if not self._index.give_up(error):
            self._rebuild(f"Chroma failed ({error})", "damaged")

    def _rebuild(self, reason: str, why: str) -> Rebuilt:
        moved_aside = self._index.restart_empty(reason, why)
        self._reconcile()
        return Rebuilt(rows=self.count(), moved_aside=moved_aside)

    def _last_sequence(self) -> int:
        return self._ledger.rows("SELECT coalesce(max(sequence), 0) FROM episodes")[0][0]

    def _add_to_index(self, episodes: Sequence[Episode]) -> None:
        if episodes:
            tags = [{"kind": episode.kind, "backend": episode.backend} for episode in episodes]
            self._index.add([episode.id for episode in episodes], embed([e.text for e in episodes]), tags)

    def _embed(self, episodes: Sequence[Episode]) -> NDArray[np.float32]:
        new = sorted({episode.text for episode in episodes} - self._vectors.keys())
        self._vectors.update(zip(new, embed(new), strict=True))
        return np.stack([self._vectors[episode.text] for episode in episodes])

    def _read(self, condition: str, parameters: Sequence[str | int]) -> Sequence[Episode]:
        rows = self._ledger.rows(f"SELECT * FROM episodes WHERE {condition} ORDER BY sequence", parameters)
        return [_episode(row) for row in rows]


def _values(episode: Episode) -> tuple[str | float, ...]:
    fields = episode.model_dump()
    names = ("kind", "before", "after", "pattern", "rating_change", "backend", "run_id", "created")
    return (episode.id, *(fields[name] for name in names))


def _episode(row: Row) -> Episode:
    return Episode(**{name: row[name] for name in row.keys() if name not in ("sequence", "id")})  # noqa: SIM118
