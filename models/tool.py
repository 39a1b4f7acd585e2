"""A tool: one thing the studio can do, written once and offered everywhere.

A tool knows its requests, its results and its model. It does not know who asks, nor when it runs: that is the
executor's part.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from PIL import Image
from pydantic import BaseModel, ConfigDict

from models.artifact import ArtifactRef, ArtifactStore

RequestT = TypeVar("RequestT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)
ModelT = TypeVar("ModelT")


class ToolError(RuntimeError):
    """A tool could not do what was asked; the message names the value and the way out."""


class ToolUnavailable(ToolError):
    """What a tool needs did not answer; the same request may work a little later."""


class ToolCancelled(RuntimeError):
    """Everyone who asked for this batch has gone away."""


class Sketch(BaseModel):
    """What a picture of this prompt and seed looks like on its way, after `step` steps."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    seed: int
    step: int
    png: bytes


class Progress(BaseModel):
    """How far a request has come: `done` of `total` in `unit` ("step", "picture", "layer")."""

    model_config = ConfigDict(frozen=True)

    done: int
    total: int
    unit: str = "step"
    message: str = ""
    sketches: tuple[Sketch, ...] = ()
    """Of the pictures in work, those of batch mates among them; see `GenerateRequest.sketches`."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a running batch may use: stored pictures, a way to report progress, a way to learn that it is
    cancelled.
    """

    artifacts: ArtifactStore
    report: Callable[[Progress], None]
    """Tells everyone waiting for this batch how far it is."""
    check_cancelled: Callable[[], None]
    """Raises ToolCancelled once nobody waits for the batch any more. Call it between steps."""

    def load_picture(self, ref: ArtifactRef) -> Image.Image:
        """A stored picture.

        Raises:
            ToolError: it is not in the store.
        """
        try:
            return self.artifacts.load_image(ref)
        except LookupError as error:
            raise ToolError(f"no picture is stored under {ref.sha256}: {error}") from error


class Tool(ABC, Generic[RequestT, ResultT, ModelT]):
    """One thing that runs on a device. Instances are stateless: what stays resident is the model that `load`
    returns.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    request_type: type[RequestT]
    result_type: type[ResultT]
    max_batch: int = 16
    """No batch is larger; out of memory halves it further."""

    @abstractmethod
    def model_key(self, request: RequestT) -> str:
        """Which resident model serves this request (a backend's name, say)."""

    def batch_key(self, request: RequestT) -> Hashable:
        """Requests with equal keys may run in one batch. By default: all requests to one model."""
        return self.model_key(request)

    @abstractmethod
    def memory_bytes(self, model_key: str) -> int:
        """The device memory that the loaded model declares, in bytes."""

    @abstractmethod
    def load(self, model_key: str, device: str) -> ModelT:
        """Bring the model onto `device` ("cpu", "cuda:0").

        Raises:
            ToolError: the model is unknown, missing or damaged.
        """

    @abstractmethod
    def run(self, model: ModelT, requests: Sequence[RequestT], context: ToolContext) -> list[ResultT]:
        """One result per request, in order. A result depends on its own request alone, never on its batch
        mates.

        Raises:
            ToolError: a request asks for what this model cannot do.
            ToolCancelled: from `context.check_cancelled`.
        """
