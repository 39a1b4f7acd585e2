"""The cache of replies, as reading minds see it, and the key under which a reply is kept."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Protocol

from agents.reading.phrase import Phrase, Told
from models.artifact import ArtifactRef


class Replies(Protocol):
    """Keeps texts by key, over processes if it can."""

    def find(self, key: str) -> str | None:
        """What was kept under `key`."""
        ...

    def keep(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
        ...


class Forgetful:
    """Keeps replies as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def find(self, key: str) -> str | None:
        """What was kept under `key`."""
        return self._kept.get(key)

    def keep(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
        self._kept[key] = text


def reply_key(
    identity: str, phrase: Phrase[Any, Any, Any], told: Told, pictures: Sequence[ArtifactRef], manners: str
) -> str:
    """A SHA-256 over all that a reply depends on: model, role, instructions, shape, request, pictures."""
    parts = {
        "model": identity,
        "role": phrase.role.name,
        "instructions": [manners, phrase.role.instructions],
        "shape": phrase.said.model_json_schema(),
        "request": told,
        "pictures": [picture.sha256 for picture in pictures],
    }
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
