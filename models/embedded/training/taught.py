"""Which words saved weights know. That stands beside them and nowhere else: profiles move on, weights do not.

A perception network's configuration lists its words. A painter, and an autoencoder from a training of its
own, have a card with the name of their (sub-)vocabulary; a painter's autoencoder goes by its painter's card.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diorama.vocabulary import Vocabulary, load_vocabulary, vocabulary_names

KINDS = ("shapes", "colours", "patterns", "sizes", "settings")


def words_of(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """The names by kind, in class order, as a perception network's configuration lists them."""
    return {kind: tuple(entry.name for entry in getattr(vocabulary, kind)) for kind in KINDS}


def note_vocabulary(folder: Path, vocabulary: str) -> None:
    """Write the card of weights that were just trained; what ships them writes a fuller one."""
    card = {"vocabulary": vocabulary, "closed_vocabulary": True}
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")


def vocabulary_of(folder: Path) -> str | None:
    """The name of the (sub-)vocabulary that the weights in `folder` were taught.

    None where nothing beside them says so, or no vocabulary has exactly their words.
    """
    config = _read(folder / "config.json")
    if set(KINDS) <= set(config):
        known = {kind: tuple(config[kind]) for kind in KINDS}
        return next((name for name in vocabulary_names() if words_of(load_vocabulary(name)) == known), None)
    card = _read(folder / "card.json") or _read(folder.parent / "card.json")
    name = card.get("vocabulary")
    return name if name in vocabulary_names() else None


def lacking(known: str, wanted: str) -> tuple[str, ...]:
    """The words of the vocabulary `wanted` that the vocabulary `known` does not have."""
    ours, theirs = words_of(load_vocabulary(known)), words_of(load_vocabulary(wanted))
    return tuple(word for kind in KINDS for word in theirs[kind] if word not in ours[kind])


def lacking_names(known: str, wanted: str) -> tuple[str, ...]:
    """The cut-outs and composites of `wanted` that `known` does not have.

    For an autoencoder those alone count: one that saw some solids keeps any solid in any colour, and one
    that saw only solids smears the drawings.
    """
    ours, theirs = load_vocabulary(known), load_vocabulary(wanted)
    return tuple(word for word in theirs.shape_names if word not in {*theirs.solids, *ours.shape_names})


def choose(folders: Iterable[Path], wanted: str, *, names_only: bool = False) -> Path | None:
    """The first folder with weights that know all words of `wanted` (`names_only`: see `lacking_names`)."""
    lacks = lacking_names if names_only else lacking
    for folder in folders:
        known = vocabulary_of(folder) if (folder / "config.json").is_file() else None
        if known is not None and not lacks(known, wanted):
            return folder
    return None


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
