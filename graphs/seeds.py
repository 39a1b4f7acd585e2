"""Every random draw of a run, derived from the request's one seed. Knows no graph and no random generator."""

from hashlib import sha256

_LARGEST = 2**32


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed in [0, 2**32): the first four bytes, big-endian, of a SHA-256.

    It is taken over the text "maulstick/seed/purpose/n1/n2...". The same arguments give the same seed on
    every machine and in every release; changing this breaks replay.
    """
    text = "/".join(["maulstick", str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") % _LARGEST


def picture_seed(seed: int, number: int) -> int:
    """The run's `number`-th fresh picture seed.

    Number 0 is the request's own seed, so that a plain painting with it and a refinement begin alike.
    """
    return seed if number == 0 else derive_seed(seed, "picture", number)
