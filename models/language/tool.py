"""The tool that converses: turns with pictures in, the model's next turn or the probabilities of words out.

Knows no role; what the words mean is for minds.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.artifact import ArtifactRef
from models.backends import BYTES_PER_VALUE, HUB_NAME
from models.tool import Progress, Tool, ToolContext, ToolError
from models.weights import check_folder

if TYPE_CHECKING:
    from models.language.qwen import Qwen

Bits = Literal[4, 8, 16]


class ChatTurn(BaseModel):
    """One message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[ArtifactRef, ...] = ()


class ConverseRequest(BaseModel):
    """A conversation whose next turn is wanted. With `choices`, how probable each is as its first word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="The folder of a Qwen2.5-VL, or owner/name of one on the hub.")
    turns: tuple[ChatTurn, ...] = Field(min_length=1, description="The conversation so far.")
    choices: tuple[str, ...] = Field(default=(), description="Words to be weighed against each other.")
    max_tokens: int = Field(default=2048, ge=1, le=32_768, description="The longest reply, in tokens.")
    image_side: int = Field(default=1024, ge=28, description="Pictures are scaled down to this, in pixels.")
    bits: Bits | None = Field(default=None, description="Bits per weight; 4 and 8 need a CUDA device.")


class ConverseResult(BaseModel):
    """The next turn, or the chances of the choices (they add up to 1)."""

    model_config = ConfigDict(frozen=True)

    text: str = ""
    chances: tuple[float, ...] = ()
    tokens_in: int = Field(ge=0)
    tokens_out: int = Field(ge=0)
    complete: bool = Field(default=True, description="False: the reply was cut at `max_tokens`.")


class Converse(Tool[ConverseRequest, ConverseResult, "Qwen"]):
    """Speaks with a vision-language model on a device of this machine."""

    name = "converse"
    summary = "Read turns with pictures and say the next one, or weigh words against each other."
    request_type = ConverseRequest
    result_type = ConverseResult
    max_batch = 8

    def model_key(self, request: ConverseRequest) -> str:
        """The model and how many bits its weights get."""
        return f"{request.model}@{request.bits or 'auto'}"

    def batch_key(self, request: ConverseRequest) -> Hashable:
        """What is weighed is never batched with what is said."""
        return self.model_key(request), bool(request.choices), request.max_tokens

    def memory_bytes(self, model_key: str) -> int:
        """What the weights take, in bytes: fp32 unless fewer bits are asked for."""
        name, bits = split_key(model_key)
        values = check_folder(find_model(name))
        return values * BYTES_PER_VALUE if bits is None else values * bits // 8

    def load(self, model_key: str, device: str) -> "Qwen":
        """Load the model.

        Raises:
            ToolError: it is missing, damaged, no Qwen2.5-VL, or asked for in bits that the device lacks.
        """
        from models.language.qwen import load_qwen

        name, bits = split_key(model_key)
        return load_qwen(find_model(name), device, bits)

    def run(
        self, model: "Qwen", requests: Sequence[ConverseRequest], context: ToolContext
    ) -> list[ConverseResult]:
        """One result per request.

        Raises:
            ToolError: a picture is not stored, or a conversation is longer than the model reads.
        """
        if requests[0].choices:
            return model.weigh(requests, context)
        results = model.say(requests, context)
        context.report(Progress(done=len(results), total=len(requests), unit="reply"))
        return results


def split_key(model_key: str) -> tuple[str, Bits | None]:
    """The model's name and bits."""
    name, _, bits = model_key.rpartition("@")
    known: dict[str, Bits | None] = {"auto": None, "4": 4, "8": 8, "16": 16}
    return name, known[bits]


def find_model(name: str) -> Path:
    """The folder of a model; one from the hub is downloaded first, unless `HF_HUB_OFFLINE` is set.

    Raises:
        ToolError: there is no such folder, or it cannot be fetched.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if not HUB_NAME.fullmatch(name) or folder.exists():
        raise ToolError(
            f"{name!r} is no folder with a model (it has no config.json), and no owner/name on the hub"
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=constants.HF_HUB_OFFLINE))
    except LocalEntryNotFoundError as error:
        raise ToolError(
            f"{name} is not in the cache {constants.HF_HUB_CACHE} and cannot be fetched: pass the path of a "
            "local folder, or set HF_HUB_OFFLINE=0"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ToolError(f"{name} could not be fetched from the Hugging Face hub: {error}") from error
