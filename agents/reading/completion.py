"""Reads the body of a chat completion, whatever a server sent.

The SDK's own parsing answers an HTML page with AttributeError and no choices with IndexError; here each has
a name.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.reading.speaker import SpeechFault


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Message(_Loose):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Loose):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Loose):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Body(_Loose):
    choices: list[_Choice] = []
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back, good or not."""

    text: str | None
    refusal: str | None
    finish_reason: str | None
    tokens_in: int
    tokens_out: int

    def text_or_fault(self, place: str, max_tokens: int) -> str:
        """The text.

        Raises:
            SpeechFault: the model refused, was cut off, or said nothing.
        """
        if self.refusal or self.finish_reason == "content_filter":
            why = self.refusal or "its content filter stopped the reply"
            raise SpeechFault("refused", f"{place} refuses: {why}. Say the prompt in another way")
        if self.finish_reason == "length":
            raise SpeechFault(
                "truncated", f"{place} was cut off after {max_tokens} tokens: raise its max_tokens"
            )
        if not self.text or not self.text.strip():
            raise SpeechFault("empty", f"{place} gave an empty reply")
        return self.text


def read_completion(body: bytes, content_type: str, place: str) -> Completion:
    """The first choice of a chat completion.

    Raises:
        SpeechFault: the body is no JSON, or no chat completion.
    """
    try:
        parsed: Any = json.loads(body)
        read = _Body.model_validate(parsed)
    except (ValidationError, ValueError, RecursionError) as error:
        start = body[:80].decode("utf-8", "replace")
        raise SpeechFault(
            "garbled",
            f"{place} sent {content_type or 'something'} that is no chat completion, starting {start!r}: "
            "does the base URL end in /v1?",
        ) from error
    usage = read.usage or _Usage()
    choice = read.choices[0] if read.choices else _Choice(message=_Message())
    return Completion(
        text=choice.message.content,
        refusal=choice.message.refusal,
        finish_reason=choice.finish_reason,
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
    )
