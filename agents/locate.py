"""Finds the words of the prompt that an error concerns (GenPilot A.2 step 11)."""

from agents.evidence import Error, Evidence, Sentence, Span
from agents.role import Role, read_instructions


class LocateRequest(Evidence):
    """The prompt, its sentences and the open errors."""

    prompt: str
    sentences: tuple[Sentence, ...]
    errors: tuple[Error, ...]


class Locations(Evidence):
    """For each error's id the exact words that went wrong."""

    spans: dict[str, Span]


LOCATE = Role("locate", LocateRequest, Locations, read_instructions("locate"))
