"""Text as vectors without a model: counts of words, word pairs and letter groups, hashed. Knows no meaning.

Near in spelling is near in the space ("red cube", "a red cube"); synonyms are not. The same text gives the
same vector in every process and on every machine. Importing scikit-learn takes about a second, so it waits
for the first call.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

EMBEDDER = "hash256-v1"
"""Names this function of text; a change of the function is another name, so that vectors of two never mix."""
DIMENSIONS = 256


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of length 1, shape (texts, 256); a text without a letter or digit is the zero vector."""
    if not texts:
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    return _vectorizer().transform(texts).toarray().astype(np.float32)


def split_features(text: str) -> Iterator[str]:
    """The features of a text: words, pairs of neighbouring words, and groups of 3 and 4 letters within a
    word.

    A prefix keeps the kinds apart; words count three times, for letter groups are many.
    """
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    for word in words:
        yield from (f"w:{word}",) * 3
        padded = f" {word} "
        for size in (3, 4):
            yield from (f"c:{padded[i : i + size]}" for i in range(len(padded) - size + 1))
    yield from (f"p:{left} {right}" for left, right in pairwise(words))


@cache
def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    # Signed hashing keeps the inner product unbiased when two features fall on one number.
    settings: dict[str, Any] = {"analyzer": split_features, "norm": "l2", "alternate_sign": True}
    return HashingVectorizer(n_features=DIMENSIONS, **settings)
