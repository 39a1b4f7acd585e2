"""Rewrites a whole prompt once, before anything is painted: the baseline that a loop has to beat."""

from agents.evidence import Evidence
from agents.role import Role, read_instructions


class RewriteRequest(Evidence):
    """A prompt as a person wrote it. Nothing has been painted, so nothing is known to be wrong."""

    prompt: str


class Rewritten(Evidence):
    """The same wish in clearer words."""

    prompt: str


REWRITE = Role("rewrite", RewriteRequest, Rewritten, read_instructions("rewrite"))
