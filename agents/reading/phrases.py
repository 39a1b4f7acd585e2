"""All phrases by the name of their role."""

from typing import Any

from agents.reading.of_edits import EXPLAIN_PHRASE, PROPOSE_PHRASE
from agents.reading.of_errors import INTEGRATE_PHRASE, LOCATE_PHRASE
from agents.reading.of_pictures import (
    ANSWER_PHRASE,
    CAPTION_PHRASE,
    CHECK_CAPTION_PHRASE,
    POINT_OUT_PHRASE,
    RATE_PHRASE,
)
from agents.reading.of_prompts import DECOMPOSE_PHRASE, MERGE_PHRASE, QUESTION_PHRASE, REWRITE_PHRASE
from agents.reading.phrase import Phrase

PHRASES: dict[str, Phrase[Any, Any, Any]] = {
    phrase.role.name: phrase
    for phrase in (
        DECOMPOSE_PHRASE,
        CAPTION_PHRASE,
        CHECK_CAPTION_PHRASE,
        QUESTION_PHRASE,
        ANSWER_PHRASE,
        INTEGRATE_PHRASE,
        LOCATE_PHRASE,
        PROPOSE_PHRASE,
        RATE_PHRASE,
        POINT_OUT_PHRASE,
        MERGE_PHRASE,
        REWRITE_PHRASE,
        EXPLAIN_PHRASE,
    )
}
