"""Backends: what paints, by name, and what each is set to when a request leaves it open.

A name is a built-in card, a folder with a saved diffusers pipeline, or a repository on the Hugging Face hub.
Looking a name up reads small JSON files only; torch and diffusers are imported when a pipeline is loaded.
Knows nothing about requests.
"""

import json
import logging
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.tool import ToolError
from models.weights import check_pipeline

WEIGHTS = Path(__file__).parent / "embedded" / "weights"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BYTES_PER_VALUE = 4
"""Memory is declared for fp32, which is what a CPU runs; an accelerator's bf16 takes half."""

Feature = Literal["seed", "guidance", "size"]


class UnknownBackend(ToolError, LookupError):
    """No backend has this name."""


class Defaults(BaseModel):
    """How to paint where a request leaves it open (`card.json` in a folder). None: as the pipeline does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    """Denoising steps."""
    guidance: Annotated[float, Field(ge=0)] | None = None
    """Guidance scale; 1 and less switch classifier-free guidance off."""
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
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads to paint with, where pixels must be the same at any load; None takes the executor's."""
    notes: str = ""


class Backend(Defaults):
    """A backend's card."""

    name: str
    kind: Literal["embedded", "diffusers"]
    source: str
    """A folder, or a repository's name on the hub."""
    supports: tuple[Feature, ...] = ("seed", "guidance", "size")

    def folder(self) -> Path:
        """Where the pipeline lies. One from the hub is downloaded first, unless `HF_HUB_OFFLINE` is set.

        Raises:
            ToolError: it is not in the cache and cannot be fetched.
        """
        if self.kind == "embedded" or (Path(self.source) / "model_index.json").is_file():
            return Path(self.source)
        return _fetch(self.source)

    def memory_bytes(self) -> int:
        """What the loaded weights take at fp32, in bytes.

        Raises:
            ToolError: weights are missing or damaged.
        """
        return BYTES_PER_VALUE * check_pipeline(self.folder())


EMBEDDED = Backend(
    name="embedded",
    kind="embedded",
    source=str(WEIGHTS / "painter"),
    steps=20,
    guidance=2.5,
    width=128,
    height=128,
    fixed_size=True,
    closed_vocabulary=True,
    threads=1,
    supports=("seed", "guidance"),
    notes="A small Flux trained on the diorama; knows its words only. Ships with the project.",
)

_FLUX_TEXT = "Its CLIP summary reads the first 77 tokens of a prompt, its T5 text all."

_BUILTIN = {
    card.name: card
    for card in (
        EMBEDDED,
        Backend(
            name="black-forest-labs/FLUX.1-schnell",
            kind="diffusers",
            source="black-forest-labs/FLUX.1-schnell",
            steps=4,
            guidance=0.0,
            width=1024,
            height=1024,
            max_prompt_tokens=256,
            notes=f"Distilled to few steps without guidance. {_FLUX_TEXT}",
        ),
        Backend(
            name="black-forest-labs/FLUX.1-dev",
            kind="diffusers",
            source="black-forest-labs/FLUX.1-dev",
            steps=28,
            guidance=3.5,
            width=1024,
            height=1024,
            max_prompt_tokens=512,
            notes=f"Guidance is distilled into the model. {_FLUX_TEXT}",
        ),
    )
}


def known_backends() -> tuple[Backend, ...]:
    """The built-in cards."""
    return tuple(resolve(name) for name in _BUILTIN)


def resolve(name: str) -> Backend:
    """The card of a backend: built in, a folder that holds a pipeline, or `owner/repository` on the hub.

    Raises:
        UnknownBackend: it is none of these.
        ToolError: the folder's card.json is not one.
    """
    if name in _BUILTIN:
        return _with_card(_BUILTIN[name], Path(_BUILTIN[name].source))
    folder = Path(name).expanduser()
    if (folder / "model_index.json").is_file():
        side = _picture_side(folder)
        return _with_card(
            Backend(name=name, kind="diffusers", source=str(folder), width=side, height=side), folder
        )
    if folder.exists():
        raise UnknownBackend(f"{name!r} exists and is no diffusers pipeline: it has no model_index.json")
    if HUB_NAME.fullmatch(name):
        return Backend(name=name, kind="diffusers", source=name)
    raise UnknownBackend(
        f"no backend is called {name!r}; known: {', '.join(_BUILTIN)}, the path of a folder that holds a "
        "diffusers pipeline, or the owner/name of one on the Hugging Face hub"
    )


def load_pipeline(backend: Backend, device: str) -> Any:
    """The backend's pipeline on `device`: fp32 on a CPU, bf16 elsewhere; safetensors only, no remote code.

    Raises:
        ToolError: weights are missing or damaged, or the hub's cache lacks the backend.
    """
    folder = backend.folder()
    check_pipeline(folder)
    for library in ("diffusers", "transformers"):  # they report optional packages that painting does not use
        logging.getLogger(library).setLevel(logging.ERROR)
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if backend.kind == "embedded":
        from models.embedded.painter import load_painter

        return load_painter(folder, device)
    stock: Any = DiffusionPipeline
    pipeline = stock.from_pretrained(
        str(folder),
        dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _with_card(backend: Backend, folder: Path) -> Backend:
    path = folder / "card.json"
    if not path.is_file():
        return backend
    try:
        card = Defaults.model_validate_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ToolError(f"{path} is no backend card: {error}") from error
    return backend.model_copy(update=card.model_dump(exclude_unset=True))


def _picture_side(folder: Path) -> int | None:
    """The size in pixels at which a saved pipeline was trained, by its autoencoder's configuration."""
    config = folder / "vae" / "config.json"
    return json.loads(config.read_text("utf-8")).get("sample_size") if config.is_file() else None


def _fetch(repository: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE:
        import huggingface_hub

        hub: Any = huggingface_hub
        try:
            return Path(hub.snapshot_download(repository, local_files_only=True))
        except LocalEntryNotFoundError as error:
            raise ToolError(
                f"{repository} is not in the cache {constants.HF_HUB_CACHE} and HF_HUB_OFFLINE is set: "
                "pass the path of a local folder, or set HF_HUB_OFFLINE=0"
            ) from error
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    stock: Any = DiffusionPipeline
    try:
        # Chooses the pipeline's own files: repositories also hold other formats of the same weights.
        return Path(stock.download(repository, use_safetensors=True, trust_remote_code=False))
    except (HfHubHTTPError, OSError) as error:
        raise ToolError(f"{repository} could not be fetched from the Hugging Face hub: {error}") from error
