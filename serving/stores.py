"""Opens what the settings name: the ledger in a file or on a server, its episodes with their vectors,
the cache of replies. Knows no run.
"""

import socket
from pathlib import Path

from memory.chroma_server import ServerIndex
from memory.embedding import DIMENSIONS, EMBEDDER
from memory.episodes import Episodes
from memory.ledger import Ledger
from memory.postgres import PostgresDatabase
from serving.home import DataFolder
from settings import Settings


def open_ledger(settings: Settings) -> Ledger:
    """The ledger: on the server that `database` names, else in the home folder.

    Raises:
        StoreError: it cannot be read, or its server does not answer.
    """
    if settings.database is not None:
        return Ledger(PostgresDatabase(settings.database))
    return Ledger(DataFolder(settings.home).ledger)


def open_episodes(settings: Settings, ledger: Ledger) -> Episodes:
    """The ledger's episodes; Chroma itself, a folder or a server, is asked when there is something to
    recall.
    """
    if settings.chroma is not None:
        return Episodes(ledger, ServerIndex(settings.chroma, ledger.id, EMBEDDER, DIMENSIONS))
    return Episodes(ledger, DataFolder(settings.home).vectors)


def place_replies(settings: Settings) -> Path:
    """The file of what endpoints said: one for each machine where several share the home folder, because
    SQLite's log in WAL mode holds on one machine only.
    """
    replies = DataFolder(settings.home).replies
    return replies if settings.database is None else replies.with_stem(f"replies-{socket.gethostname()}")
