"""How an endpoint wants to be asked: its way to structured output, its name for the token limit.

OpenAI's API is spoken in dialects: llama.cpp's server fails at JSON schemas, some models take no temperature,
the token limit has two names. Knows how a refusal reads, not how to send a request.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Structure = Literal["json_schema", "json_object_schema", "json_object", "prompt"]
STRUCTURES: tuple[Structure, ...] = ("json_schema", "json_object_schema", "json_object", "prompt")
"""Ways to get JSON, strictest first. The second is llama.cpp's: a JSON object with a schema beside it."""


class Dialect(BaseModel):
    """What works with one model of one endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    structure: Structure
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """The older name, which all but OpenAI's newer models take. Those turn it down aloud; a server that does
    not know the newer name may ignore it in silence and write until its context is full, as llama.cpp's
    Python server does."""
    temperature: bool = True
    """Whether a temperature may be sent."""

    def arguments(self, shape: type[BaseModel], max_tokens: int, temperature: float | None) -> dict[str, Any]:
        """The parts of a chat request that depend on the dialect."""
        wanted: dict[str, Any] = {self.limit: max_tokens}
        if self.temperature and temperature is not None:
            wanted["temperature"] = temperature
        schema = shape.model_json_schema()
        match self.structure:
            case "json_schema":
                named = {"name": shape.__name__, "schema": schema, "strict": True}
                wanted["response_format"] = {"type": "json_schema", "json_schema": named}
            case "json_object_schema":
                wanted["response_format"] = {"type": "json_object", "schema": schema}
            case "json_object":
                wanted["response_format"] = {"type": "json_object"}
            case "prompt":
                pass
        return wanted

    def instruct(self, instructions: str, shape: type[BaseModel]) -> str:
        """The instructions, with the reply's schema where nothing else carries it."""
        if self.structure == "json_schema":
            return instructions
        return f"{instructions}\nThe JSON schema of your reply:\n{json.dumps(shape.model_json_schema())}\n"

    def after(self, complaint: str) -> "Dialect | None":
        """What to try when the endpoint turned a request down with `complaint`; None if nothing is left."""
        said = complaint.casefold()
        if self.temperature and "temperature" in said:
            return self.model_copy(update={"temperature": False})
        if "max_completion_tokens" in said:
            other = "max_tokens" if self.limit == "max_completion_tokens" else "max_completion_tokens"
            return self.model_copy(update={"limit": other})
        return self.looser()

    def looser(self) -> "Dialect | None":
        """The same with the next way to structured output; None after the last."""
        left = STRUCTURES[STRUCTURES.index(self.structure) + 1 :]
        return self.model_copy(update={"structure": left[0]}) if left else None
