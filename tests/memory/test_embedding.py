import hashlib

import numpy as np

from memory.embedding import DIMENSIONS, EMBEDDER, embed


def test_vectors_have_length_one_and_know_likeness() -> None:
    texts = [
        "three red cubes",
        "Three red cubes!",
        "two red cubes",
        "a red cube",
        "a green ball on a table",
        "…",
    ]
    vectors = embed(texts)
    assert vectors.shape == (6, DIMENSIONS) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 1, 0])
    likeness = vectors @ vectors[0]
    assert likeness[1] > 0.999
    assert likeness[1] > likeness[2] > likeness[3] > likeness[4] + 0.2
    assert embed([]).shape == (0, DIMENSIONS)


def test_the_function_has_not_changed_under_its_name() -> None:
    # Stored vectors are compared with new ones: whoever changes this number changes EMBEDDER too.
    features = np.flatnonzero(embed(["three red cubes, größer"])[0])
    assert EMBEDDER == "hash256-v1"
    assert hashlib.sha256(features.astype(np.int64).tobytes()).hexdigest()[:16] == "5ebb3d6da2b30cec"
