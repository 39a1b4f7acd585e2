"""Says freely what a picture shows, without having read the prompt (GenPilot A.2 step 4)."""

from agents.evidence import Evidence
from agents.role import Role, read_instructions


class CaptionRequest(Evidence):
    """Carries nothing but its one picture: a captioner that reads the prompt sees what it expects."""


class Caption(Evidence):
    """A description of everything visible."""

    text: str


CAPTION = Role("caption", CaptionRequest, Caption, read_instructions("caption"), pictures=1)
