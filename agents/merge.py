"""Works a changed sentence into a prompt where no exact span can be replaced (the fallback of A.3 step 1)."""

from agents.evidence import Evidence, Sentence
from agents.role import Role, read_instructions


class MergeRequest(Evidence):
    """A prompt, one of its sentences, and what that sentence should say instead."""

    prompt: str
    sentence: Sentence
    replacement: str


class Merged(Evidence):
    """The whole prompt with the change worked in."""

    prompt: str


MERGE = Role("merge", MergeRequest, Merged, read_instructions("merge"))
