"""Which weights may take the place of the shipped ones.

History keeps every copy of a weight file, so a replacement has to earn its bytes:

- Weights of one vocabulary are compared by their score, and the new ones have to score higher. Who ships them
  may bear a loss, for what a score does not tell; the recipe says for what.
- Scores of two vocabularies cannot be compared, for the larger world is the harder one. Weights that name
  more things than the shipped ones take their place whatever they score, and it is said so, with the words
  that are lost; weights that name no more stay outside.
- Scores in two worlds cannot be compared either: weights trained in this one replace those of an earlier.
- Critic and judge always know every word of the painter beside them: they are shipped before it.
- The shipped weights themselves get a new card: they are measured again when the autoencoder that pictures
  come from, or the world itself, is another one.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from diorama.vocabulary import load_vocabulary
from diorama.world import WORLD
from models.embedded.training.measure import write_card
from models.embedded.training.taught import lacking, vocabulary_of

Card = dict[str, object]
FIRST_WORLD = 1
"""That of cards which do not say."""


class NotBetter(RuntimeError):
    """The new weights are not better than the shipped ones."""


class LacksWords(RuntimeError):
    """A perception model would not know words of the painter, or nobody can tell which words it knows."""


def replace_shipped(
    target: Path, source: Path, card: Card, copy: Callable[[Path], None], *, loss: float = 0.0
) -> Card:
    """Let `copy` put the weights in `source` into the folder `target` in the place of what is there, and
    write their card. They may score lower by less than `loss`.

    Raises:
        NotBetter: they have not earned it.
    """
    file = target / "card.json"
    old = json.loads(file.read_text("utf-8")) if file.exists() else None
    if source.resolve() == target.resolve():
        card = {**card, "world": old.get("world", FIRST_WORLD) if old else WORLD}
        write_card(target, card)
        return card
    card = {**card, "world": WORLD}
    if old is not None:
        score, world = float(old["score"]), old.get("world", FIRST_WORLD)
        known, new = find_vocabulary(target), str(card["vocabulary"])
        if known != new:
            _compare_vocabularies(target.name, known, new)
        elif world != WORLD:
            print(
                f"{target.name}: the new weights ({card['score']}) replace those of an earlier world, which "
                f"score {score}; scores of two worlds are not compared",
                file=sys.stderr,
            )
        elif score - loss >= float(str(card["score"])):
            raise NotBetter(
                f"{target.name}: the new weights score {card['score']}, the shipped ones {score}; those stay"
            )
        shutil.rmtree(target)
    target.mkdir(parents=True)
    copy(target)
    write_card(target, card)
    return card


def _compare_vocabularies(name: str, known: str, new: str) -> None:
    ours, theirs = (len(load_vocabulary(vocabulary).shapes) for vocabulary in (known, new))
    if theirs <= ours:
        raise NotBetter(
            f"{name}: the new weights know {theirs} things ({new}), the shipped ones {ours} ({known}); "
            "those stay"
        )
    lost = ", ".join(lacking(new, known)) or "none"
    print(
        f"{name}: the new weights know {theirs} things ({new}) and replace the shipped ones, which know "
        f"{ours} ({known}); scores of two vocabularies are not compared; words lost: {lost}",
        file=sys.stderr,
    )


def check_covers(name: str, known: str, painted: str) -> None:
    """Check that a perception model's vocabulary holds all words of the painter's.

    Raises:
        LacksWords: it does not.
    """
    if lost := lacking(known, painted):
        raise LacksWords(
            f"the {name} knows the vocabulary {known} and not {', '.join(lost)} of the painter's {painted}: "
            f"train and ship a {name} that does first"
        )


def find_vocabulary(folder: Path) -> str:
    """The name of the vocabulary that weights were taught.

    Raises:
        LacksWords: nothing beside them says so.
    """
    known = vocabulary_of(folder)
    if known is None:
        raise LacksWords(
            f"nothing in {folder} says which vocabulary the weights were taught: train them again"
        )
    return known
