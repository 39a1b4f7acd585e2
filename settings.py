"""What a user can set: `MAULSTICK_*` variables, then `maulstick.toml`, then defaults.

The rooms never import this: what a room needs is handed to it by `serving/assembly.py`.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_config_path, user_data_path
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "MAULSTICK_"
CONFIG_NAME = "maulstick.toml"


class SettingsError(ValueError):
    """A setting is wrong; the message is one line that names the value, where it stands and the way out."""


class Settings(BaseSettings):
    """Every knob that outlives one command. Read it with `load_settings`. Paths may start with `~`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    home: Path = Field(default_factory=lambda: user_data_path("maulstick", appauthor=False))
    """Where runs, pictures and lessons stay. Default: the platform's data folder."""
    backend: str = "embedded"
    """The generator that paints when a command names none."""
    mind: str = "embedded"
    """Who plays the roles when a command names none."""
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

    @field_validator("home")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return path.expanduser().absolute()

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
    if unknown := sorted(key for key in os.environ if key.startswith(PREFIX) and key.upper() not in known):
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
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{config_file()} sets {name!r}, which is no setting: use {', '.join(Settings.model_fields)}"
    variable = f"{PREFIX}{name.upper()}"
    place = variable if variable in os.environ else f"{name} in {config_file()}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{place} is {first['input']!r}: {reason[0].lower()}{reason[1:]}"
