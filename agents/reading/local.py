"""Speaks with a vision-language model that the executor runs on this machine.

It has no way to be held to a JSON schema, so the schema stands in its instructions; questions with yes or no
for an answer are weighed instead of spoken. Knows no role.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from agents.metering import Spent, charge
from agents.reading.card import LocalCard
from agents.reading.dialect import Dialect
from agents.reading.speaker import SpeechFault, Spoken, Turn
from models.artifact import ArtifactRef
from models.language.tool import ChatTurn, ConverseRequest, ConverseResult
from models.tool import ToolError


class Submitting(Protocol):
    """The one thing that a speaker needs of an executor."""

    async def submit(self, tool: str, request: BaseModel) -> BaseModel:
        """Run a tool."""
        ...


class LocalSpeaker:
    """One model on this machine."""

    def __init__(self, card: LocalCard, executor: Submitting) -> None:
        self._card = card
        self._executor = executor
        self._dialect = Dialect(structure="prompt")

    @property
    def identity(self) -> str:
        """The model, its bits, and what else decides a reply."""
        return f"local {self._card.model} {self._card.bits} {self._card.image_side}"

    async def say(self, instructions: str, turns: Sequence[Turn], shape: type[BaseModel]) -> Spoken:
        """The model's next turn.

        Raises:
            SpeechFault: the model cannot be loaded or run, or its reply was cut off or empty.
        """
        result = await self._converse(self._dialect.instruct(instructions, shape), turns)
        spent = Spent(tokens_in=result.tokens_in, tokens_out=result.tokens_out)
        if not result.complete or not result.text.strip():
            charge(spent)
            kind = "empty" if result.complete else "truncated"
            raise SpeechFault(
                kind,
                f"{self._card.model} gave an empty reply"
                if result.complete
                else f"{self._card.model} was cut off after {result.tokens_out} tokens: raise its max_tokens",
            )
        return Spoken(result.text, spent)

    async def weigh(
        self, instructions: str, questions: Sequence[str], picture: ArtifactRef
    ) -> tuple[float, ...]:
        """The probability of yes, against no, as the first word of the answer to each question.

        Raises:
            SpeechFault: the model cannot be loaded or run.
        """
        results = await asyncio.gather(
            *(
                self._converse(instructions, [Turn("user", question, (picture,))], choices=("yes", "no"))
                for question in questions
            )
        )
        for result in results:
            charge(Spent(tokens_in=result.tokens_in, tokens_out=result.tokens_out))
        return tuple(result.chances[0] for result in results)

    async def _converse(self, instructions: str, turns: Sequence[Turn], **more: Any) -> ConverseResult:
        said = [ChatTurn(who=turn.who, text=turn.text, pictures=turn.pictures) for turn in turns]
        request = ConverseRequest(
            model=self._card.model,
            turns=(ChatTurn(who="system", text=instructions), *said),
            max_tokens=self._card.max_tokens,
            image_side=self._card.image_side,
            bits=self._card.bits,
            **more,
        )
        try:
            result = await self._executor.submit("converse", request)
        except ToolError as error:
            raise SpeechFault("broken", f"{self._card.model} did not reply: {error}") from error
        assert isinstance(result, ConverseResult)
        return result
