"""A Chroma collection on a server (`chroma run`), which all processes ask: the vectors of one ledger's texts.

Knows no episode. The server needs no care: a collection that is gone is made again from the ledger's rows,
and while nobody answers, those who ask do without and try again after a minute. Credentials are not sent
(Chroma 1.x open source checks none): keep the server inside the network.
"""

import logging
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from memory.neighbours import IndexFailed, Neighbours, failures_named

_LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 20.0
"""Chroma's client by itself waits for ever."""
RETRY_SECONDS = 60.0


class ServerIndex(Neighbours):
    """The collection of the ledger called `ledger` on the server at `url`, http://host:port."""

    def __init__(self, url: str, ledger: str, embedder: str, dimensions: int) -> None:
        super().__init__(embedder, dimensions)
        self.name = url
        self._collection_name = f"vectors-{embedder}-{ledger}"
        self._next_try = 0.0
        self._told = False

    def try_open(self) -> bool:
        """Connect; False if the server did not answer less than a minute ago.

        Raises:
            IndexFailed: the server does not answer.
        """
        if self.is_open:
            return True
        if time.monotonic() < self._next_try:
            return False
        self._client = connect(self.name)
        with failures_named():
            self._open_collection(self._collection_name)
        return True

    def restart_empty(self, reason: str, why: str = "damaged") -> Path | None:
        """Delete the collection and make an empty one. Nothing of it is kept."""
        _LOG.warning("%s: %s; the collection is made again from the ledger", self.name, reason)
        with failures_named():
            self._client.delete_collection(self._collection_name)
            self._open_collection(self._collection_name)
        return None

    def give_up(self, error: IndexFailed) -> bool:
        """True: another process may be using the collection, so nobody makes it again for a failure."""
        self.close()
        self._next_try = time.monotonic() + RETRY_SECONDS
        if not self._told:
            self._told = True
            _LOG.warning(
                "%s: Chroma fails (%s); comparing with all rows until it answers. Start it with "
                "`chroma run`, or correct MAULSTICK_CHROMA",
                self.name,
                error,
            )
        return True

    def close(self) -> None:
        """Let go of the server. A second time does nothing."""
        client, self._client, self._collection = self._client, None, None
        if client is not None:
            disconnect(client)


def connect(url: str) -> Any:
    """A client of the server at `url`.

    Raises:
        IndexFailed: nobody answers there, or it is not Chroma.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        # Chroma's client would wait for minutes for a host that says nothing at all.
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise IndexFailed(f"no answer ({error})") from error
    import chromadb
    from chromadb.config import Settings

    with failures_named():
        client: Any = chromadb.HttpClient(
            host=host, port=port, ssl=secure, settings=Settings(anonymized_telemetry=False)
        )
        client._server._session.timeout = ANSWER_SECONDS
    return client


def disconnect(client: Any) -> None:
    """Close a client of `connect`, and its connections: its own `close` (chromadb 1.5.9) leaves them open."""
    for part in (client, client._admin_client):
        part._server._session.close()
    client.close()


def check_server(url: str) -> None:
    """Find out whether Chroma answers at `url`; changes nothing.

    Raises:
        IndexFailed: it does not.
    """
    client = connect(url)
    try:
        with failures_named():
            client.heartbeat()
    finally:
        disconnect(client)
