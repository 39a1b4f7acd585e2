"""Holds a caption against each sentence of the prompt (GenPilot A.2 step 5)."""

from agents.evidence import CaptionVerdict, Evidence, Sentence
from agents.role import Role, read_instructions


class CheckCaptionRequest(Evidence):
    """A caption and the sentences that the picture should bear out."""

    sentences: tuple[Sentence, ...]
    caption: str


class CaptionCheck(Evidence):
    """One verdict per sentence."""

    verdicts: tuple[CaptionVerdict, ...]


CHECK_CAPTION = Role("check_caption", CheckCaptionRequest, CaptionCheck, read_instructions("check_caption"))
