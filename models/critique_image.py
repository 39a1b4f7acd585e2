"""The tool that looks: a stored picture in, what a perception model sees in it out.

Pictures are read one at a time on one CPU thread, so that a report depends on its picture alone and replays
to the bit (`models/generate_image.py` says why batches do not). Knows neither the prompt nor what should be
in the picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.artifact import ArtifactRef
from models.backends import BYTES_PER_VALUE, WEIGHTS
from models.perception import Perceiver, Perception
from models.threads import fixed_threads
from models.tool import Progress, Tool, ToolContext
from models.weights import check_folder

PerceiverName = Literal["critic", "judge"]


class CritiqueRequest(BaseModel):
    """One picture to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: ArtifactRef = Field(description="A stored picture.")
    model: PerceiverName = Field(
        default="critic",
        description="The critic works in the loop; the judge only measures, and shares nothing with it.",
    )


class CritiqueResult(BaseModel):
    """What was seen."""

    model_config = ConfigDict(frozen=True)

    perception: Perception


class CritiqueImage(Tool[CritiqueRequest, CritiqueResult, Perceiver]):
    """Reports what is in a picture. `weights` holds one folder per perception model."""

    name = "critique_image"
    summary = "Say what a picture shows: each thing's shape, colour, pattern, size, box and distance."
    request_type = CritiqueRequest
    result_type = CritiqueResult
    max_batch = 16

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """The shipped models, unless `weights` says otherwise."""
        self._weights = weights

    def model_key(self, request: CritiqueRequest) -> str:
        """The perception model's name."""
        return request.model

    def memory_bytes(self, model_key: str) -> int:
        """What the model's weights take at fp32, in bytes."""
        return BYTES_PER_VALUE * check_folder(self._weights / model_key)

    def load(self, model_key: str, device: str) -> Perceiver:
        """Load a perception model.

        Raises:
            ToolError: its weights are missing or damaged.
        """
        check_folder(self._weights / model_key)
        from models.embedded.perception import load_perceiver

        return load_perceiver(self._weights / model_key, device)

    def run(
        self, model: Perceiver, requests: Sequence[CritiqueRequest], context: ToolContext
    ) -> list[CritiqueResult]:
        """Look at each picture.

        Raises:
            ToolError: a picture is not in the store.
        """
        results: list[CritiqueResult] = []
        with fixed_threads(1):
            for request in requests:
                context.check_cancelled()
                picture = context.load_picture(request.picture)
                results.append(CritiqueResult(perception=model.perceive([picture])[0]))
                context.report(Progress(done=len(results), total=len(requests), unit="picture"))
        return results
