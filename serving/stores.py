"""Opens what the settings name: the ledger in a file or on a server, its episodes with their vectors.

Knows no run.
"""

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
