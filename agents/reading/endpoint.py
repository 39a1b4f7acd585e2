"""Speaks with a model behind any endpoint in OpenAI's shape (OpenAI, vLLM, Ollama, llama.cpp).

Finds out once in which dialect, keeps at most so many requests under way, and turns every way in which an
endpoint can fail into a `SpeechFault`. Knows no role.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import openai
from pydantic import BaseModel, ConfigDict, ValidationError

from agents.metering import Spent, charge
from agents.reading.card import OPENAI_URL, EndpointCard
from agents.reading.completion import read_completion
from agents.reading.dialect import Dialect
from agents.reading.json_text import find_object
from agents.reading.pictures import data_url
from agents.reading.replies import Replies
from agents.reading.speaker import SpeechFault, Spoken, Turn
from models.artifact import ArtifactStore


class _Ready(BaseModel):
    """The reply to the probe."""

    model_config = ConfigDict(extra="forbid")

    ready: bool


class EndpointSpeaker:
    """One model of one endpoint. Close it, or use it as an async context manager."""

    def __init__(self, name: str, card: EndpointCard, artifacts: ArtifactStore, replies: Replies) -> None:
        self.name = name
        self._card = card
        self._artifacts = artifacts
        self._replies = replies
        self._model = card.model
        self._dialect: Dialect | None = None
        self._finding = asyncio.Lock()
        self._room = asyncio.Semaphore(card.concurrency)
        self._client = openai.AsyncOpenAI(
            base_url=card.base_url,
            api_key=card.api_key.get_secret_value() if card.api_key else "none",
            timeout=card.timeout,
            max_retries=card.retries,
        )

    async def __aenter__(self) -> "EndpointSpeaker":
        """Nothing is sent until somebody speaks."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def identity(self) -> str:
        """Endpoint, model, and what else decides a reply."""
        card = self._card
        return f"{card.base_url} {card.model or '(its only model)'} {card.temperature} {card.image_side}"

    async def say(self, instructions: str, turns: Sequence[Turn], shape: type[BaseModel]) -> Spoken:
        """The model's next turn.

        Raises:
            SpeechFault: no reply came.
        """
        async with self._finding:
            if self._dialect is None:
                self._dialect = await self._find_dialect()
        messages = await self._write(self._dialect.instruct(instructions, shape), turns)
        wanted = self._dialect.arguments(shape, self._card.max_tokens, self._card.temperature)
        return await self._send(messages, wanted)

    async def _write(self, instructions: str, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}]
        for turn in turns:
            if not turn.pictures:
                messages.append({"role": turn.who, "content": turn.text})
                continue
            content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
            for picture in turn.pictures:
                url = await asyncio.to_thread(data_url, self._artifacts, picture, self._card.image_side)
                content.append({"type": "image_url", "image_url": {"url": url}})
            messages.append({"role": turn.who, "content": content})
        return messages

    async def _send(self, messages: list[dict[str, Any]], wanted: dict[str, Any]) -> Spoken:
        """Send one request; the SDK sends it again where that may help."""
        model = self._model = self._model or await self._find_model()
        try:
            async with self._room:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=model, messages=cast(Any, messages), extra_body=wanted
                )
                body = raw.http_response.content
        except openai.OpenAIError as error:
            raise self._fault(error) from error
        completion = read_completion(body, raw.headers.get("content-type", ""), self._place)
        spent = self._price(completion.tokens_in, completion.tokens_out)
        try:
            return Spoken(completion.text_or_fault(self._place, self._card.max_tokens), spent)
        except SpeechFault:
            charge(spent)  # a reply that cannot be used was paid for all the same
            raise

    def _price(self, tokens_in: int, tokens_out: int) -> Spent:
        cost = (tokens_in * self._card.price_in + tokens_out * self._card.price_out) / 1e6
        return Spent(tokens_in=tokens_in, tokens_out=tokens_out, cost=cost)

    @property
    def _place(self) -> str:
        return f"{self.name} ({self._model or 'model not known yet'} at {self._card.base_url})"

    async def _find_model(self) -> str:
        try:
            names = [model.id async for model in self._client.models.list()]
        except (openai.OpenAIError, ValidationError, ValueError, AttributeError, TypeError) as error:
            raise SpeechFault(
                "rejected",
                f"{self._place} does not list its models ({error}): name one, as {self.name}:MODEL",
            ) from error
        if len(names) != 1:
            listed = ", ".join(names[:20]) or "none"
            raise SpeechFault("rejected", f"{self._place} has these models: {listed}. Use {self.name}:MODEL")
        return names[0]

    async def _find_dialect(self) -> Dialect:
        """The dialect that was found earlier, else one that the endpoint takes now.

        Raises:
            SpeechFault: it takes none, or cannot be reached.
        """
        card = self._card
        limit = "max_completion_tokens" if card.base_url == OPENAI_URL else "max_tokens"
        if card.structured != "auto":
            return Dialect(structure=card.structured, limit=limit)
        key = f"dialect 2 {self.identity}"
        if kept := await asyncio.to_thread(self._replies.find, key):
            return Dialect.model_validate_json(kept)
        dialect: Dialect | None = Dialect(structure="json_schema", limit=limit)
        tried = [dialect]
        fault = SpeechFault("rejected", f"{self._place} takes no request")
        while dialect is not None:
            try:
                await self._probe(dialect)
            except SpeechFault as error:
                if error.kind not in ("rejected", "broken", "garbled", "empty", "truncated"):
                    raise
                fault, following = error, dialect.after(str(error))
                dialect = dialect.looser() if following in tried else following
                if dialect is not None:
                    tried.append(dialect)
            else:
                await asyncio.to_thread(self._replies.keep, key, dialect.model_dump_json())
                return dialect
        raise fault

    async def _probe(self, dialect: Dialect) -> None:
        """Ask for the smallest reply there is.

        Raises:
            SpeechFault: the endpoint does not take the request, or its model does not reply in this shape.
        """
        instructions = dialect.instruct("Reply with one JSON object and nothing else.", _Ready)
        turns = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": '{"set ready to": true}'},
        ]
        limit = min(self._card.max_tokens, 1024)  # models that think aloud need room for it
        spoken = await self._send(turns, dialect.arguments(_Ready, limit, self._card.temperature))
        charge(spoken.spent)
        try:
            _Ready.model_validate(find_object(spoken.text))
        except ValueError as error:
            raise SpeechFault(
                "garbled", f"{self._place} does not reply in JSON when asked by {dialect.structure}: {error}"
            ) from error

    def _fault(self, error: openai.OpenAIError) -> SpeechFault:
        """What the SDK raised, after its own retries, as a fault with the way out."""
        place = self._place
        match error:
            case openai.APITimeoutError():
                asked = self._card.retries + 1
                return SpeechFault(
                    "unreachable",
                    f"{place} gave no reply in {self._card.timeout:g} s, {asked} times: raise its timeout",
                )
            case openai.APIConnectionError():
                why = error.__cause__ or error
                return SpeechFault("unreachable", f"{place} cannot be reached ({why}): is it running?")
            case openai.RateLimitError():
                return SpeechFault(
                    "limited", f"{place} takes no more requests now ({error.message}): lower its concurrency"
                )
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return SpeechFault("denied", f"{place} denies access ({error.message}): check its API key")
            case openai.InternalServerError():
                return SpeechFault("broken", f"{place} failed: {error.message}")
            case openai.APIStatusError():
                return SpeechFault("rejected", f"{place} does not take the request: {error.message}")
            case _:
                return SpeechFault("garbled", f"{place} gave a reply that cannot be read: {error}")
