"""Holds a caption against each sentence of the prompt (GenPilot A.2 step 5)."""

from agents.evidence import CaptionVerdict, Evidence, Sentence
from agents.role import Role


class CheckCaptionRequest(Evidence):
    """A caption and the sentences that the picture should bear out."""

    sentences: tuple[Sentence, ...]
    caption: str


class CaptionCheck(Evidence):
    """One verdict per sentence."""

    verdicts: tuple[CaptionVerdict, ...]


INSTRUCTIONS = """\
For each sentence say whether the caption matches it, contradicts it, leaves it unclear or does not mention
it, and why in a few words. Things in the caption that no sentence asks for are not your concern.
"""

CHECK_CAPTION = Role("check_caption", CheckCaptionRequest, CaptionCheck, INSTRUCTIONS)
