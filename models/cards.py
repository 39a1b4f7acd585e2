"""Cards of backends: what a generator is set to, how it is loaded, and what it can do. Pure data.

Knows no names; those are in `models/backends.py`. Imports neither torch nor diffusers.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Feature = Literal["seed", "guidance", "size", "steps", "negative_prompt", "edit"]
DIFFUSERS_FEATURES: tuple[Feature, ...] = ("seed", "guidance", "size", "steps", "negative_prompt", "edit")
"""What a diffusers pipeline may support; whether this one does shows when it is loaded."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(_Part):
    """How to paint where a request leaves it open (`card.json` in a folder). None: as the pipeline does."""

    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    """Denoising steps."""
    guidance: Annotated[float, Field(ge=0)] | None = None
    """Guidance scale; 1 and less switch classifier-free guidance off."""
    negative_prompt: str | None = None
    """What pictures should not show, for pipelines that take it."""
    width: Annotated[int, Field(ge=8)] | None = None
    """Pixels."""
    height: Annotated[int, Field(ge=8)] | None = None
    """Pixels."""
    fixed_size: bool = False
    """Whether the model was trained at this one size and must not be asked for another."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    """A longer prompt is refused; None takes the tokenizer's own length."""
    closed_vocabulary: bool = False
    """Whether a word that the tokenizer does not know is refused instead of painted as something else."""
    vocabulary: str | None = None
    """The diorama's (sub-)vocabulary that an embedded painter was taught."""
    gains_near: tuple[str, ...] | None = None
    """The names of things that come out better when they are painted once more from close up; None: any may
    (`python -m benchmarks.close_ups`)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads to paint with, where pixels must be the same at any load; None takes the executor's."""
    notes: str = ""


class Lora(_Part):
    """A low-rank adapter: a file or folder with safetensors, and how strongly it speaks."""

    path: str
    weight: float = 1.0


class Loading(_Part):
    """How a diffusers pipeline is brought onto a device."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """ "auto": fp32 on a CPU, bf16 elsewhere."""
    offload: Literal["none", "model", "sequential"] = "none"
    """What waits in main memory until it is needed: whole models, or single layers (slow, least memory)."""
    vae_tiling: bool = False
    """Decode in tiles: large pictures in less memory."""
    scheduler: str | None = None
    """A scheduler's class in diffusers, such as "DPMSolverMultistepScheduler"; None: the pipeline's own."""
    scheduler_config: dict[str, JsonValue] = {}
    """What is changed in the scheduler's configuration."""
    loras: tuple[Lora, ...] = ()
    variant: str | None = None
    """Files of another precision in the same folder, such as "fp16"."""
    allow_pickle: bool = False
    """Whether weights that are not safetensors are loaded. They can run any code."""


class Images(_Part):
    """An endpoint that paints, in the shape of OpenAI's Images API."""

    base_url: Annotated[str, Field(pattern=r"^https?://")] = "https://api.openai.com/v1"
    model: str = "gpt-image-1"
    api_key_env: str = "OPENAI_API_KEY"
    """The variable that holds the key; keys never stand in a file."""
    seeds: bool = False
    """Whether the endpoint takes a seed. Where it does not, the same request gives another picture."""
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Pictures on the way that the endpoint streams; 0: it does not stream."""
    quality: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 4
    """Requests under way at the same time."""
    timeout: Annotated[float, Field(gt=0)] = 180.0
    """Seconds until a request counts as lost."""
    retries: Annotated[int, Field(ge=0)] = 2


class DiffusersCard(Defaults, Loading):
    """A user's card of a pipeline, as `[backends.NAME]` in maulstick.toml holds it."""

    kind: Literal["diffusers"] = "diffusers"
    source: str
    """A folder, or owner/name on the Hugging Face hub."""


class ImagesCard(Defaults, Images):
    """A user's card of an endpoint, as `[backends.NAME]` in maulstick.toml holds it."""

    kind: Literal["openai-images"]


def kind_of_card(card: Any) -> str:
    """Which kind of card this is; one that does not say is a pipeline."""
    return card.get("kind", "diffusers") if isinstance(card, dict) else getattr(card, "kind", "")


class Backend(Defaults, Loading):
    """A backend by its name."""

    name: str
    kind: Literal["embedded", "diffusers", "openai-images"]
    source: str
    """A folder, a repository's name on the hub, or an endpoint's URL."""
    endpoint: Images | None = None
    """For openai-images."""
    supports: tuple[Feature, ...] = DIFFUSERS_FEATURES
    parent: str | None = None
    """The backend that this one was pruned from."""
    pruning: str | None = None
    """How, such as "obs, structured 30 %"."""

    @property
    def folder_if_here(self) -> Path | None:
        """The pipeline's folder, if it is on this machine under its own name."""
        folder = Path(self.source).expanduser()
        return folder if (folder / "model_index.json").is_file() else None


def backend_of(name: str, card: DiffusersCard | ImagesCard) -> Backend:
    """The backend that a user's card describes."""
    if isinstance(card, DiffusersCard):
        return Backend(name=name, **card.model_dump())
    endpoint = Images(**card.model_dump(include=set(Images.model_fields)))
    rest = card.model_dump(include=set(Defaults.model_fields))
    features: tuple[Feature, ...] = ("size", "edit", "seed") if card.seeds else ("size", "edit")
    return Backend(
        name=name, kind="openai-images", source=card.base_url, endpoint=endpoint, supports=features, **rest
    )
