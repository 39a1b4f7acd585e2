"""Cosine neighbours in a Chroma collection, wherever it lies. Knows no episode, no folder and no server.

Everything in the collection can be made again: the vectors are of texts that are stored elsewhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EQUAL = 1e-5
"""Cosine distances closer than this are equal: Chroma counts in 32 bits."""


class IndexFailed(RuntimeError):
    """Chroma cannot do what it was asked. Nothing is lost by making the index again."""


class Neighbours(ABC):
    """Vectors of one embedder. Opened by `try_open`, and no sooner.

    `moved_aside` is where a folder that could not be trusted went when this object opened; None if it could.
    """

    name: str
    """What messages call it."""

    def __init__(self, embedder: str, dimensions: int) -> None:
        self.moved_aside: Path | None = None
        self._embedder = embedder
        self._dimensions = dimensions
        self._client: Any = None
        self._collection: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._collection is not None

    @abstractmethod
    def try_open(self) -> bool:
        """Open it; False if that is not possible now. Raises `IndexFailed`."""

    @abstractmethod
    def restart_empty(self, reason: str, why: str = "damaged") -> Path | None:
        """Put an empty one in its place. Returns where the old one went, if it was kept."""

    @abstractmethod
    def give_up(self, error: IndexFailed) -> bool:
        """After a failure: True if this one is done without, False if it should be made again."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it. A second time does nothing."""

    def ids(self) -> set[str]:
        """The ids of all vectors. Raises `IndexFailed` as all that asks Chroma does."""
        with failures_named():
            return set(self._collection.get(include=[])["ids"])

    def add(
        self, ids: Sequence[str], vectors: NDArray[np.float32], tags: Sequence[Mapping[str, str]]
    ) -> None:
        """Add or replace vectors, shape (ids, dimensions), each with tags to filter by."""
        with failures_named():
            step = int(self._client.get_max_batch_size())
            for start in range(0, len(ids), step):
                part = slice(start, start + step)
                metadatas = [dict(tag) for tag in tags[part]]
                self._collection.upsert(ids=list(ids[part]), embeddings=vectors[part], metadatas=metadatas)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors."""
        if ids:
            with failures_named():
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

    def _query(
        self, vector: NDArray[np.float32], where: Mapping[str, Any], count: int
    ) -> tuple[list[str], list[float]]:
        with failures_named():
            # Vectors, never query_texts: that would make Chroma download a model.
            answer = self._collection.query(
                query_embeddings=vector[None], n_results=count, where=dict(where), include=["distances"]
            )
        return answer["ids"][0], answer["distances"][0]

    def _open_collection(self, name: str) -> None:
        self._collection = self._client.get_or_create_collection(
            name,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"embedder": self._embedder, "dimensions": self._dimensions},
        )

    def _disconnect(self) -> None:
        self._collection = None
        if self._client is not None:
            self._client.close()
            self._client = None


@contextmanager
def failures_named() -> Generator[None]:
    """Turn what Chroma raises into `IndexFailed`."""
    from chromadb.errors import ChromaError

    http: type[Exception] = import_module("httpx").HTTPError  # what its client speaks through
    try:
        yield
    except (ChromaError, http, ValueError, RuntimeError, OSError) as error:  # the last are its Rust half's
        raise IndexFailed(f"{type(error).__name__}: {error}") from error
