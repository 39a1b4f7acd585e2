"""What `generate_image` is asked and what it answers. Pure data."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.artifact import ArtifactRef


class GenerateRequest(BaseModel):
    """One picture to paint. None takes the backend's own setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1, description="What the picture shows.")
    backend: str = Field(
        default="embedded",
        description="A backend's name, the folder of a saved pipeline, or owner/name on the hub.",
    )
    seed: int = Field(ge=0, lt=2**32, description="Decides the noise that the picture starts from.")
    steps: int | None = Field(default=None, ge=1, le=200, description="Denoising steps.")
    guidance: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Guidance scale; 1 and less switch guidance off."
    )
    width: int | None = Field(default=None, ge=8, le=4096, description="Pixels.")
    height: int | None = Field(default=None, ge=8, le=4096, description="Pixels.")
    negative_prompt: str | None = Field(default=None, description="What the picture should not show.")
    sketches: int = Field(
        default=0, ge=0, le=16, description="How often the progress shows what the picture looks like so far."
    )
    edit_of: ArtifactRef | None = Field(
        default=None, description="A stored picture to change, for backends that edit."
    )
    strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="How much of edit_of is painted anew: the share of the steps made. 1 keeps nothing.",
    )

    @model_validator(mode="after")
    def _check_strength(self) -> Self:
        if self.strength is not None and self.edit_of is None:
            raise ValueError(
                f"strength={self.strength:g} says how much of a picture is painted anew: name one by edit_of"
            )
        return self


class GenerateResult(BaseModel):
    """A painted picture."""

    model_config = ConfigDict(frozen=True)

    picture: ArtifactRef
    seconds: float = Field(ge=0, description="Wall time that painting and storing took, in seconds.")
