"""References to stored pictures, and the store as tools see it.

Bytes live in the store (`memory/artifacts.py`); everything else passes these references around.
"""

from collections.abc import Mapping
from typing import Annotated, Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, JsonValue

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ArtifactRef(BaseModel):
    """Names stored bytes by their SHA-256. `width` and `height` are pixels; `seed` is what drew a picture."""

    model_config = ConfigDict(frozen=True)

    sha256: Sha256
    media_type: str = "image/png"
    width: int | None = None
    height: int | None = None
    seed: int | None = None


class ArtifactStore(Protocol):
    """What a tool may do with stored pictures."""

    def save_image(
        self, image: Image.Image, *, seed: int | None, provenance: Mapping[str, JsonValue]
    ) -> ArtifactRef:
        """Store a picture as PNG under its content's hash, with a sidecar that says where it comes from.
        Idempotent.
        """
        ...

    def load_image(self, ref: ArtifactRef) -> Image.Image:
        """The stored picture in RGB.

        Raises:
            LookupError: nothing is stored under `ref`.
        """
        ...
