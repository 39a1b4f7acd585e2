"""What can be wrong with a store. Knows no store: each says its own way out."""

from pathlib import Path


class StoreError(RuntimeError):
    """Something stored cannot be used. `path` is where it lies, a file or a server's address without
    password; `way_out` is what the user can do.
    """

    def __init__(self, path: Path | str, fault: str, way_out: str) -> None:
        super().__init__(f"{path}: {fault}. {way_out}")
        self.path = path
        self.fault = fault
        self.way_out = way_out


class StoreDamaged(StoreError):
    """The bytes on disk are not what was written."""


class StoreTooNew(StoreError):
    """The store was written by a later version, whose schema this one does not know."""


class StoreUnreachable(StoreError):
    """The server that keeps the store does not answer, or does not let us in."""
