"""What can be wrong with a store on disk. Knows no store: each says its own way out."""

from pathlib import Path


class StoreError(RuntimeError):
    """Something stored cannot be used. `path` is where it lies, `way_out` what the user can do."""

    def __init__(self, path: Path, fault: str, way_out: str) -> None:
        super().__init__(f"{path}: {fault}. {way_out}")
        self.path = path
        self.fault = fault
        self.way_out = way_out


class StoreDamaged(StoreError):
    """The bytes on disk are not what was written."""


class StoreTooNew(StoreError):
    """The store was written by a later version, whose schema this one does not know."""
