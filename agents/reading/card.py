"""Cards of models that are spoken to: where they answer, how to ask them and what that costs.

Imports neither clients nor networks.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from agents.reading.dialect import Structure

OPENAI_URL = "https://api.openai.com/v1"


class EndpointCard(BaseModel):
    """Where a model answers and what it may cost. Prices are per million tokens, in any one currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: Annotated[str, Field(pattern=r"^https?://")] = OPENAI_URL
    model: str | None = None
    """None: the one model that the endpoint lists."""
    api_key: SecretStr | None = None
    structured: Literal["auto"] | Structure = "auto"
    """How to ask for JSON; "auto" tries it out once."""
    concurrency: Annotated[int, Field(ge=1)] = 8
    """Requests under way at the same time."""
    image_side: Annotated[int, Field(ge=16)] = 1024
    """The longer side of pictures that are sent, in pixels; larger ones are scaled down."""
    max_tokens: Annotated[int, Field(ge=16)] = 4096
    """The longest reply, in tokens."""
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    """None sends none."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds until a request counts as lost."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a lost, limited or failed request is sent again, after the wait that is asked for."""
    price_in: Annotated[float, Field(ge=0)] = 0.0
    price_out: Annotated[float, Field(ge=0)] = 0.0


class LocalCard(BaseModel):
    """Which model to speak with, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """A folder, or owner/name on the hub."""
    bits: Literal[4, 8, 16] | None = None
    """Bits per weight; None: fp32 on a CPU, bf16 elsewhere. 4 and 8 need a CUDA device and bitsandbytes."""
    image_side: Annotated[int, Field(ge=28)] = 1024
    """The longer side of pictures, in pixels; larger ones are scaled down."""
    max_tokens: Annotated[int, Field(ge=16)] = 2048
    """The longest reply, in tokens."""
