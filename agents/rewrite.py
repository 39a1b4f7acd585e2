"""Rewrites a whole prompt once, before anything is painted: the baseline that a loop has to beat."""

from agents.evidence import Evidence
from agents.role import Role


class RewriteRequest(Evidence):
    """A prompt as a person wrote it. Nothing has been painted, so nothing is known to be wrong."""

    prompt: str


class Rewritten(Evidence):
    """The same wish in clearer words."""

    prompt: str


INSTRUCTIONS = """\
Rewrite the prompt so that a text-to-image model understands it: short, concrete, every object with its number
and attributes, every relation said plainly. Keep the meaning to the letter; add nothing.
"""

REWRITE = Role("rewrite", RewriteRequest, Rewritten, INSTRUCTIONS)
