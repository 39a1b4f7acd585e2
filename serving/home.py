"""Where things lie below MAULSTICK_HOME. Knows names of files, not what is in them."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serving.failures import UserError


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The data folder. Naming it creates nothing. `graphs.run.Home` knows checkpoints and journals too."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """Pictures by their content."""
        return self.root / "artifacts"

    @property
    def ledger(self) -> Path:
        """The database of runs and episodes: the one truth."""
        return self.root / "ledger.db"

    @property
    def checkpoints(self) -> Path:
        """LangGraph's database: what a resume needs."""
        return self.root / "checkpoints.db"

    @property
    def vectors(self) -> Path:
        """Chroma's folder; it can be rebuilt from the ledger."""
        return self.root / "chroma"

    @property
    def replies(self) -> Path:
        """What models behind endpoints said: a cache."""
        return self.root / "replies.db"

    @property
    def training(self) -> Path:
        """Trainings in progress, a folder for each part and profile."""
        return self.root / "training"

    @property
    def backends(self) -> Path:
        """Backends that were made here, a folder each."""
        return self.root / "backends"

    def run(self, run_id: str) -> Path:
        """What one run leaves: run.jsonl, sheet.png, explanation.txt."""
        return self.root / "runs" / run_id


def check_writable(folder: Path, setting: str) -> None:
    """Find out, before any work, whether files can be made in `folder`; leaves nothing behind.

    Raises:
        UserError: the folder, or the nearest one above it that exists, takes no files. Names `setting`.
    """
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(
            f"cannot write to {folder} ({nearest}: {reason}): name another folder with {setting}"
        ) from error
