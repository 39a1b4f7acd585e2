"""What a user can set: `MAULSTICK_*` variables, then `maulstick.toml`, then defaults.

The rooms never import this: what a room needs is handed to it by `serving/assembly.py`.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_config_path, user_data_path
from pydantic import Discriminator, Field, Tag, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agents.reading.card import EndpointCard, LocalCard
from memory.postgres_url import check_url
from models.cards import DiffusersCard, ImagesCard, kind_of_card

PREFIX = "MAULSTICK_"
CONFIG_NAME = "maulstick.toml"
NESTED = "__"
"""Between the parts of a variable for a setting within a setting: MAULSTICK_ENDPOINTS__LOCAL__MODEL."""
SECRET = ("database",)
"""Settings whose value no message repeats."""
OPENAI = "openai"
"""The endpoint that is always there."""

BackendCard = Annotated[
    Annotated[DiffusersCard, Tag("diffusers")] | Annotated[ImagesCard, Tag("openai-images")],
    Discriminator(kind_of_card),
]
"""A user's card of a generator; without a kind it is a diffusers pipeline's."""


class SettingsError(ValueError):
    """A setting is wrong; the message is one line that names the value, where it stands and the way out."""


class Settings(BaseSettings):
    """Every knob that outlives one command. Read it with `load_settings`. Paths may start with `~`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a traceback must not show a password; `load_settings` shows the rest
    )

    home: Path = Field(default_factory=lambda: user_data_path("maulstick", appauthor=False))
    """Where runs, pictures and lessons stay. Default: the platform's data folder."""
    backend: str = "embedded"
    """The generator that paints when a command names none."""
    backends: dict[str, BackendCard] = {}
    """Generators by a name of the user's own."""
    mind: str = "embedded"
    """Who plays the roles when a command names none."""
    minds: dict[str, str] = {}
    """Who plays single roles, or the groups "judge" and "proposer", by the names that `mind` takes."""
    endpoints: dict[str, EndpointCard] = {}
    """Endpoints in OpenAI's shape by name; a mind is then called NAME or NAME:MODEL; "openai" is built in."""
    qwen: LocalCard = LocalCard()
    """The vision-language model on this machine behind the mind "qwen" (or qwen:MODEL)."""
    depth: str = "embedded"
    """The depth network that the embedded mind asks what stands before what: a name, or a folder. "none": it
    goes by its critic's guess."""
    device: str = "auto"
    """Where models run: cpu, cuda, cuda:N or mps; "auto" takes the first CUDA device, else the CPU."""
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    """Device memory that resident models may take, in GiB. None: the executor measures the device."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of each worker. None: what the machine's load leaves."""
    executor: Literal["local", "ray"] = "local"
    """Where tools run: in this process, or in actors of Ray (the extra [ray])."""
    ray_address: str | None = None
    """A running Ray cluster: HOST:6379, or "auto" on one of its machines. None: Ray is started here."""

    database: str | None = Field(default=None, repr=False)
    """Where runs, checkpoints and lessons are kept: postgresql://user:password@host:5432/database (the extra
    [postgres]). None: in SQLite files in `home`.
    """
    chroma: str | None = None
    """A Chroma server for the lessons' vectors: http://host:8000. None: a folder in `home`. It takes no
    credentials; where it must not be open, put it behind the network.
    """

    @field_validator("home")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("endpoints")
    @classmethod
    def _check_names(cls, endpoints: dict[str, EndpointCard]) -> dict[str, EndpointCard]:
        if wrong := [
            name for name in endpoints if name in ("embedded", "qwen") or not re.fullmatch(r"[\w.-]+", name)
        ]:
            raise ValueError(
                f"an endpoint cannot be called {wrong[0]!r}: use letters, digits, dots and dashes, and not "
                "'embedded' or 'qwen'"
            )
        return endpoints

    @field_validator("database")
    @classmethod
    def _check_database(cls, url: str | None) -> str | None:
        if url is not None:
            check_url(url)
        return url

    @field_validator("chroma")
    @classmethod
    def _check_chroma(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if "@" in url:
            raise ValueError("credentials are not sent to Chroma: write http://host:port")
        if not re.fullmatch(r"https?://[^/\s:]+(:\d{1,5})?/?", url):
            raise ValueError("write http://host:port")
        return url.rstrip("/")

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", device):
            raise ValueError("use auto, cpu, cuda, cuda:N or mps")
        return device

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed in wins over the environment, which wins over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path | None:
    """The file in force: `MAULSTICK_CONFIG`, else ./maulstick.toml, else the platform's config folder.

    Raises:
        SettingsError: `MAULSTICK_CONFIG` names no file.
    """
    if named := os.environ.get(f"{PREFIX}CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"MAULSTICK_CONFIG names {named!r}, which is no file: correct it or unset it")
        return path
    places = (Path(CONFIG_NAME), user_config_path("maulstick", appauthor=False) / CONFIG_NAME)
    return next((path for path in places if path.is_file()), None)


def load_settings() -> Settings:
    """Read and check all settings.

    Raises:
        SettingsError: a variable or a key is unknown or has a value that is not allowed.
    """
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, "config")}
    nested = tuple(f"{PREFIX}{name}{NESTED}" for name in ("MINDS", "ENDPOINTS", "QWEN", "BACKENDS"))
    if unknown := sorted(
        key
        for key in os.environ
        if key.startswith(PREFIX) and key.upper() not in known and not key.upper().startswith(nested)
    ):
        raise SettingsError(f"{unknown[0]} is no setting: unset it, or use one of {', '.join(sorted(known))}")
    try:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config_file()} is no valid TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(_describe(error)) from error


def _describe(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    if parts[0] == "backends":
        del parts[2:3]  # which kind of card it was tried as
    name, variable = ".".join(parts), f"{PREFIX}{NESTED.join(parts).upper()}"
    in_environment = variable in map(str.upper, os.environ)
    if first["type"] == "extra_forbidden":
        known = _NESTED_FIELDS.get(parts[0], Settings.model_fields)
        place = variable if in_environment else f"{config_file()} sets {name!r}, which"
        return f"{place} is no setting: use {', '.join(known)}"
    place = variable if in_environment else f"{name} in {config_file()}"
    reason = first["msg"].removeprefix("Value error, ")
    if parts[0] in SECRET or ("@" in str(first["input"]) and parts[0] == "chroma"):
        return f"{place} {reason}"
    return f"{place} is {first['input']!r}: {reason[0].lower()}{reason[1:]}"


_NESTED_FIELDS = {
    "endpoints": EndpointCard.model_fields,
    "qwen": LocalCard.model_fields,
    "backends": {**DiffusersCard.model_fields, **ImagesCard.model_fields},
}
