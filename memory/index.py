"""A Chroma collection in a folder that one process owns. `memory/chroma_server.py` asks a server instead.

Knows no episode. Chroma trusts its files: a damaged one gives wrong
neighbours or kills the process (a segmentation fault in HNSW, chromadb 1.5.9). So a closed folder is sealed
with the hashes of its files, opening breaks the seal, and a folder whose seal is missing or does not fit is
moved aside unread.
"""

import hashlib
import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from memory.neighbours import IndexFailed, Neighbours, failures_named

_LOG = logging.getLogger(__name__)


class VectorIndex(Neighbours):
    """The collection in `folder`. Opened by `try_open`, and no sooner."""

    def __init__(self, folder: Path, embedder: str, dimensions: int) -> None:
        super().__init__(embedder, dimensions)
        self.folder = Path(folder)
        self.name = str(folder)
        self._failures = 0
        self._seal = self.folder.with_name(f"{self.folder.name}.seal.json")
        self._lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"), thread_local=False)

    def try_open(self) -> bool:
        """Become the folder's owner and open it; False if another process, or another object here, owns it,
        or if Chroma failed for good.
        """
        if self._failures > 1:
            return False
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
                with failures_named():
                    self._connect()
            except IndexFailed as error:
                self.restart_empty(f"Chroma cannot open it ({error})")
        except BaseException:
            self._disconnect()
            self._lock.release()
            raise
        return True

    def restart_empty(self, reason: str, why: str = "damaged") -> Path | None:
        """Move the owned folder aside, marked `why`, and open an empty one. Returns where it went."""
        self._disconnect()
        self.moved_aside = self._move_aside(why, reason) if self.folder.exists() else None
        self._connect()
        return self.moved_aside

    def give_up(self, error: IndexFailed) -> bool:
        """The first time the folder is to be made again, after that it is done without."""
        self._failures += 1
        if self._failures == 1 and self.is_open:
            return False
        self._failures = 2
        _LOG.warning("%s: Chroma fails (%s); comparing with all rows from now on", self.folder, error)
        return True

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
        self._open_collection(f"vectors-{self._embedder}")

    def _move_aside(self, why: str, reason: str) -> Path:
        aside = self.folder.with_name(f"{self.folder.name}.{why}")
        if why != "unsealed":
            aside = aside.with_name(f"{aside.name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
        elif aside.exists():
            shutil.rmtree(aside)  # only the last one of a killed owner is kept, or they would pile up
        os.replace(self.folder, aside)
        _LOG.warning("%s: %s; moved to %s and made again from the ledger", self.folder, reason, aside.name)
        return aside


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
