"""Finds the words of the prompt that an error concerns (GenPilot A.2 step 11)."""

from agents.evidence import Error, Evidence, Sentence, Span
from agents.role import Role


class LocateRequest(Evidence):
    """The prompt, its sentences and the open errors."""

    prompt: str
    sentences: tuple[Sentence, ...]
    errors: tuple[Error, ...]


class Locations(Evidence):
    """For each error's id the exact words that went wrong."""

    spans: dict[str, Span]


INSTRUCTIONS = """\
For each error give the exact characters of the prompt that say what was painted wrong: the shortest words
that an edit would have to replace.
"""

LOCATE = Role("locate", LocateRequest, Locations, INSTRUCTIONS)
