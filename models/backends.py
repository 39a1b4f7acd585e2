"""Backends by name.

A name is a built-in card, a user's card, a folder with a saved diffusers pipeline, or a repository on the
Hugging Face hub. Looking a name up reads small JSON files only. Knows nothing about requests.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from models.cards import Backend, Defaults
from models.obs_diff.saving import read_pruning
from models.tool import ToolError
from models.weights import check_pipeline
from models.weights_hash import hash_denoiser

WEIGHTS = Path(__file__).parent / "embedded" / "weights"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BYTES_PER_VALUE = 4
"""Memory is declared for fp32, which is what a CPU runs; an accelerator's bf16 takes half."""


class UnknownBackend(ToolError, LookupError):
    """No backend has this name."""


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
    supports=("seed", "guidance", "steps", "edit"),
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


_named: dict[str, Backend] = {}


def name_backends(cards: Mapping[str, Backend]) -> None:
    """Make a user's cards known by their names, in place of those named before.

    They belong to the process: tools resolve names in worker threads, far from any settings.

    Raises:
        ToolError: a card has a built-in backend's name.
    """
    if taken := next((name for name in cards if name in _BUILTIN), None):
        raise ToolError(f"{taken!r} is a built-in backend: give the card in maulstick.toml another name")
    _named.clear()
    _named.update(cards)


_shelves: list[Path] = []


def keep_backends_in(folder: Path) -> None:
    """The folder whose pipelines are backends by the names of their own folders: where pruned ones are kept.

    It belongs to the process, and is read whenever a name is looked up.
    """
    _shelves[:] = [folder]


def shelf() -> Path:
    """Where backends that are made here are kept.

    Raises:
        ToolError: nobody has said where.
    """
    if not _shelves:
        raise ToolError("there is no folder to keep backends in: call keep_backends_in first")
    return _shelves[0]


def shelf_if_any() -> Path | None:
    """`shelf`, or None: what another process has to be told."""
    return _shelves[0] if _shelves else None


def kept_backends() -> tuple[str, ...]:
    """The names of backends that were made here."""
    found = _shelves[0].glob("*/model_index.json") if _shelves else ()
    return tuple(sorted(path.parent.name for path in found if not path.parent.name.startswith(".")))


def user_backends() -> dict[str, Backend]:
    """The user's cards as `name_backends` took them: what another process has to be told."""
    return dict(_named)


def learnt_as(name: str) -> str:
    """The name under which memory keeps what was learnt about a backend.

    The embedded painter's carries a hash of its transformer, since new weights ship under the same name: a
    seed that suits the old ones says nothing about them. Other backends are what their names say.
    """
    return f"{name}@{_hash_embedded()}" if name == EMBEDDED.name else name


@cache
def _hash_embedded() -> str:
    """Eight hexadecimal digits of the transformer's SHA-256."""
    return hash_denoiser(Path(EMBEDDED.source))[:8]


def is_builtin(name: str) -> bool:
    """Whether the project itself names this backend."""
    return name in _BUILTIN


def known_backends() -> tuple[Backend, ...]:
    """The built-in cards, the user's, and those that were made here."""
    return tuple(resolve(name) for name in (*_BUILTIN, *_named, *kept_backends()))


def resolve(name: str) -> Backend:
    """The card of a backend: built in, a user's, made here, a folder with a pipeline, or `owner/repository`
    on the hub.

    Raises:
        UnknownBackend: it is none of these.
        ToolError: the folder's card.json is not one.
    """
    if name in _BUILTIN:
        return _with_card(_BUILTIN[name], Path(_BUILTIN[name].source))
    if name in _named:
        return _with_size(_named[name])
    if name in kept_backends():
        return _in_folder(name, shelf() / name)
    folder = Path(name).expanduser()
    if (folder / "model_index.json").is_file():
        return _in_folder(name, folder)
    if folder.exists():
        raise UnknownBackend(f"{name!r} exists and is no diffusers pipeline: it has no model_index.json")
    if HUB_NAME.fullmatch(name):
        return Backend(name=name, kind="diffusers", source=name)
    known = ", ".join((*_BUILTIN, *_named, *kept_backends()))
    raise UnknownBackend(
        f"no backend is called {name!r}; known: {known}, the path of a folder that "
        "holds a diffusers pipeline, or the owner/name of one on the Hugging Face hub"
    )


def find_folder(backend: Backend) -> Path:
    """Where the pipeline lies. One from the hub is downloaded first, unless `HF_HUB_OFFLINE` is set.

    Raises:
        ToolError: it is no pipeline's folder, not in the cache, or cannot be fetched.
    """
    if backend.kind == "embedded":
        return Path(backend.source)
    if here := backend.folder_if_here:
        return here
    if not HUB_NAME.fullmatch(backend.source) or Path(backend.source).expanduser().exists():
        raise ToolError(
            f"{backend.name} has the source {backend.source!r}, which is no folder of a diffusers pipeline "
            "and no owner/name on the Hugging Face hub"
        )
    return _fetch(backend)


def memory_bytes(backend: Backend) -> int:
    """What the loaded weights take on the device at fp32, in bytes; nothing for an endpoint.

    Raises:
        ToolError: weights are missing or damaged.
    """
    if backend.kind == "openai-images":
        return 0
    folder = find_folder(backend)
    if backend.allow_pickle or backend.variant:
        files = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin")]
        return 2 * sum(path.stat().st_size for path in files)
    return BYTES_PER_VALUE * check_pipeline(folder)


def _with_size(backend: Backend) -> Backend:
    """The card with the size that its pipeline was trained at, where it names none itself."""
    here = backend.folder_if_here
    if backend.kind != "diffusers" or here is None:
        return backend
    side = _picture_side(here)
    return backend.model_copy(update={"width": backend.width or side, "height": backend.height or side})


def _in_folder(name: str, folder: Path) -> Backend:
    """The card of a pipeline in a folder; a pruned one paints as its parent does."""
    side = _picture_side(folder)
    backend = Backend(name=name, kind="diffusers", source=str(folder), width=side, height=side)
    if (found := read_pruning(folder)) is not None:
        pruning = found[1]
        changes: dict[str, Any] = {"parent": pruning.parent, "pruning": pruning.told, "kind": pruning.kind}
        if pruning.kind == "embedded":
            changes["supports"] = EMBEDDED.supports
        backend = backend.model_copy(update=changes)
    return _with_card(backend, folder)


def _with_card(backend: Backend, folder: Path) -> Backend:
    path = folder / "card.json"
    if not path.is_file():
        return backend
    try:
        # Cards of trainings say more than how to paint; the rest is for readers.
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        card = Defaults.model_validate({key: said[key] for key in said if key in Defaults.model_fields})
    except (ValueError, TypeError) as error:
        raise ToolError(f"{path} is no backend card: {error}") from error
    return backend.model_copy(update=card.model_dump(exclude_unset=True))


def _picture_side(folder: Path) -> int | None:
    """The size in pixels at which a saved pipeline was trained, by its autoencoder's configuration."""
    config = folder / "vae" / "config.json"
    return json.loads(config.read_text("utf-8")).get("sample_size") if config.is_file() else None


def _fetch(backend: Backend) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = backend.source
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
    chosen = {"use_safetensors": None if backend.allow_pickle else True, "variant": backend.variant}
    try:
        # Chooses the pipeline's own files: repositories also hold other formats of the same weights.
        return Path(stock.download(repository, trust_remote_code=False, **chosen))
    except (HfHubHTTPError, OSError) as error:
        raise ToolError(f"{repository} could not be fetched from the Hugging Face hub: {error}") from error
