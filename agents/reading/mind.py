"""The mind that reads: plays every role by speaking with a language model.

Asks once more, with what was wrong, where a reply makes no sense; keeps replies, so that a run that is
resumed or replayed hears the same. Knows no endpoint.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from pydantic import ValidationError

from agents.metering import Spent, charge
from agents.reading.json_text import find_object
from agents.reading.phrase import Misunderstood, Phrase, Said
from agents.reading.phrases import PHRASES
from agents.reading.replies import Forgetful, Replies, reply_key
from agents.reading.speaker import WORTH_ASKING_AGAIN, Speaker, SpeechFault, Turn
from agents.role import MindError, ReplyT, RequestT, Role
from models.artifact import ArtifactRef

MANNERS = resources.files("agents.reading").joinpath("manners.md").read_text("utf-8")
"""What every role is told before its own instructions."""
_COMPLAINT_CHARACTERS = 2000


class ReadingMind:
    """Plays roles through `speaker`. Equal requests that come at the same time are spoken once."""

    def __init__(self, name: str, speaker: Speaker, replies: Replies | None = None) -> None:
        self.name = name
        self._speaker = speaker
        self._replies: Replies = replies if replies is not None else Forgetful()
        self._speaking: dict[str, asyncio.Lock] = {}

    async def ask(
        self, role: Role[RequestT, ReplyT], request: RequestT, images: Sequence[ArtifactRef] = ()
    ) -> ReplyT:
        """Play `role`. A reply that was kept is understood again, and spoken anew if it no longer can be.

        Raises:
            MindError: the role is unknown, pictures are missing, or no reply could be understood.
        """
        if len(images) != role.pictures:
            raise MindError(f"the role {role.name!r} takes {role.pictures} picture(s), not {len(images)}")
        if role.name not in PHRASES:
            raise MindError(f"{self.name} does not play {role.name!r}; it plays: {', '.join(PHRASES)}")
        phrase: Phrase[RequestT, Any, ReplyT] = PHRASES[role.name]
        told = phrase.tell(request)
        key = reply_key(self._speaker.identity, phrase, told, images, MANNERS)
        async with self._one_at_a_time(key):
            kept = await asyncio.to_thread(self._replies.find, key)
            if kept is not None:
                try:
                    reply = _understand(phrase, request, kept)
                except Misunderstood:  # kept by an older version that took what this one does not
                    pass
                else:
                    charge(Spent(cached=1))
                    return reply
            text = json.dumps(told, ensure_ascii=False, indent=1)
            reply, said = await self._converse(phrase, request, Turn("user", text, tuple(images)))
            await asyncio.to_thread(self._replies.keep, key, said)
            return reply

    @asynccontextmanager
    async def _one_at_a_time(self, key: str) -> AsyncGenerator[None]:
        try:
            async with self._speaking.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._speaking.pop(key, None)

    async def _converse(
        self, phrase: Phrase[RequestT, Any, ReplyT], request: RequestT, opening: Turn
    ) -> tuple[ReplyT, str]:
        """Ask, and once more if the reply cannot be read; the second time it carries what was wrong."""
        turns = [opening]
        instructions = f"{MANNERS}\n{phrase.role.instructions}"
        for last in (False, True):
            try:
                spoken = await self._speaker.say(instructions, turns, phrase.said)
            except SpeechFault as fault:
                if last or fault.kind not in WORTH_ASKING_AGAIN:
                    raise
                complaint, said = _plain(fault), ""
            else:
                charge(spoken.spent)
                try:
                    return _understand(phrase, request, spoken.text), spoken.text
                except Misunderstood as error:
                    complaint, said = str(error), spoken.text
                if last:
                    raise MindError(
                        f"{self.name} gave no reply to {phrase.role.name!r} that makes sense, not even when "
                        f"asked again: {complaint}. Try another model, or give this role to another mind"
                    )
            charge(Spent(asked_again=1))
            # Some chat templates take only turns that alternate, and none that is empty.
            turns.append(Turn("assistant", said or "(no reply)"))
            turns.append(
                Turn("user", f"That reply cannot be used: {complaint[:_COMPLAINT_CHARACTERS]}\nReply again.")
            )
        raise AssertionError("the loop returns or raises")


def _understand(phrase: Phrase[RequestT, Any, ReplyT], request: RequestT, said: str) -> ReplyT:
    """What was said, in the role's own terms.

    Raises:
        Misunderstood: it is no JSON object of the wanted shape, or does not fit the request.
    """
    try:
        shaped = phrase.said.model_validate(_shape(phrase.said, said))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
        raise Misunderstood("; ".join(faults)) from error
    except ValueError as error:
        raise Misunderstood(str(error)) from error
    return phrase.understand(request, shaped)


def _shape(wanted: type[Said], said: str) -> dict[str, Any]:
    """The JSON object of a reply. Where a text is all that is wanted, a reply without JSON is that text."""
    return {wanted.plain: said.strip()} if wanted.plain and "{" not in said else find_object(said)


def _plain(fault: SpeechFault) -> str:
    """A fault in words for the model that made it."""
    match fault.kind:
        case "truncated":
            return "it was cut off at the token limit: be much shorter"
        case "empty":
            return "it was empty"
        case _:
            return "it was no JSON object"
