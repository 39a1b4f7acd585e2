"""A Chroma collection in a folder that one process owns: the vectors of texts that are stored elsewhere.

Knows no episode; everything in it can be made again. Chroma trusts its files: a damaged one gives wrong
neighbours or kills the process (a segmentation fault in HNSW, chromadb 1.5.9). So a closed folder is sealed
with the hashes of its files, opening breaks the seal, and a folder whose seal is missing or does not fit is
moved aside unread.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_EQUAL = 1e-5
"""Cosine distances closer than this are equal: Chroma counts in 32 bits."""


class IndexFailed(RuntimeError):
    """Chroma cannot do what it was asked. Nothing is lost by making the index again."""


class VectorIndex:
    """Cosine neighbours among vectors of one embedder. Opened by `try_open`, and no sooner.

    `moved_aside` is where a folder that could not be trusted went when this object opened; None if it could.
    """

    def __init__(self, folder: Path, embedder: str, dimensions: int) -> None:
        self.folder = Path(folder)
        self.moved_aside: Path | None = None
        self._embedder = embedder
        self._dimensions = dimensions
        self._seal = self.folder.with_name(f"{self.folder.name}.seal.json")
        self._lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"), thread_local=False)
        self._client: Any = None
        self._collection: Any = None

    @property
    def is_open(self) -> bool:
        """Whether this object owns the folder and has it open."""
        return self._collection is not None

    def try_open(self) -> bool:
        """Become the folder's owner and open it; False if another process, or another object here, owns
        it.
        """
        if self.is_open:
            return True
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            self._break_seal()
            try:
                with _failures_named():
                    self._connect()
            except IndexFailed as error:
                self.restart_empty(f"Chroma cannot open it ({error})")
        except BaseException:
            self._disconnect()
            self._lock.release()
            raise
        return True

    def ids(self) -> set[str]:
        """The ids of all vectors. Raises `IndexFailed` as all that asks Chroma does."""
        with _failures_named():
            return set(self._collection.get(include=[])["ids"])

    def add(
        self, ids: Sequence[str], vectors: NDArray[np.float32], tags: Sequence[Mapping[str, str]]
    ) -> None:
        """Add or replace vectors, shape (ids, dimensions), each with tags to filter by."""
        with _failures_named():
            step = int(self._client.get_max_batch_size())
            for start in range(0, len(ids), step):
                part = slice(start, start + step)
                metadatas = [dict(tag) for tag in tags[part]]
                self._collection.upsert(ids=list(ids[part]), embeddings=vectors[part], metadatas=metadatas)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors."""
        if ids:
            with _failures_named():
                self._collection.delete(ids=list(ids))

    def nearest(
        self, vector: NDArray[np.float32], where: Mapping[str, Any], limit: int, available: int
    ) -> Sequence[str]:
        """The ids of the nearest vectors among the `available` ones that `where` (Chroma's filter) lets pass.

        At least `limit` (or all there are), nearest first, and every one that is as near as the last: which
        of equals Chroma finds is chance, and the caller's to decide.
        """
        wanted = min(limit, available)
        while wanted:
            ids, distances = self._query(vector, where, wanted)
            if len(ids) < wanted:
                raise IndexFailed(f"Chroma finds {len(ids)} of {wanted} neighbours")
            if wanted == available or distances[-1] > distances[limit - 1] + _EQUAL:
                return ids
            wanted = min(2 * wanted, available)
        return []

    def restart_empty(self, reason: str, why: str = "damaged") -> Path | None:
        """Move the owned folder aside, marked `why`, and open an empty one. Returns where it went."""
        self._disconnect()
        self.moved_aside = self._move_aside(why, reason) if self.folder.exists() else None
        self._connect()
        return self.moved_aside

    def close(self) -> None:
        """Write everything out, seal the folder and let another process own it. A second time does
        nothing.
        """
        if not self.is_open:
            return
        self._disconnect()
        seal = json.dumps(_hash_files(self.folder), indent=1)
        new = self._seal.with_suffix(".new")
        new.write_text(seal)
        os.replace(new, self._seal)
        self._lock.release()

    def _break_seal(self) -> None:
        if self.folder.exists():
            if not self._seal.exists():
                self.moved_aside = self._move_aside("unsealed", "its last owner did not close it")
            elif (fault := _find_difference(self._seal, self.folder)) is not None:
                self.moved_aside = self._move_aside("damaged", fault)
        self._seal.unlink(missing_ok=True)

    def _connect(self) -> None:
        # 0.7 s to import: only who has something to find pays for it.
        import chromadb
        from chromadb.config import Settings

        self._client = chromadb.PersistentClient(
            str(self.folder), settings=Settings(anonymized_telemetry=False)
        )
        self._collection = self._client.get_or_create_collection(
            f"vectors-{self._embedder}",
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"embedder": self._embedder, "dimensions": self._dimensions},
        )

    def _query(
        self, vector: NDArray[np.float32], where: Mapping[str, Any], count: int
    ) -> tuple[list[str], list[float]]:
        with _failures_named():
            # Vectors, never query_texts: that would make Chroma download a model.
            answer = self._collection.query(
                query_embeddings=vector[None], n_results=count, where=dict(where), include=["distances"]
            )
        return answer["ids"][0], answer["distances"][0]

    def _disconnect(self) -> None:
        self._collection = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _move_aside(self, why: str, reason: str) -> Path:
        aside = self.folder.with_name(f"{self.folder.name}.{why}")
        if why != "unsealed":
            aside = aside.with_name(f"{aside.name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
        elif aside.exists():
            shutil.rmtree(aside)  # only the last one of a killed owner is kept, or they would pile up
        os.replace(self.folder, aside)
        _LOG.warning("%s: %s; moved to %s and made again from the ledger", self.folder, reason, aside.name)
        return aside


@contextmanager
def _failures_named() -> Generator[None]:
    from chromadb.errors import ChromaError

    try:
        yield
    except (
        ChromaError,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:  # its own, and what its Rust half raises
        raise IndexFailed(f"{type(error).__name__}: {error}") from error


def _hash_files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def _find_difference(seal: Path, folder: Path) -> str | None:
    try:
        expected = json.loads(seal.read_text())
    except ValueError:
        return f"its seal {seal.name} is damaged"
    found = _hash_files(folder)
    if expected == found:
        return None
    changed = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return f"{', '.join(changed[:3])} changed since it was closed"
