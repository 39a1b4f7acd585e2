"""Settings read and put to use, and the user's backends kept in maulstick.toml."""

import os
from pathlib import Path
from typing import Any

import tomlkit
from platformdirs import user_config_path
from pydantic import TypeAdapter, ValidationError
from tomlkit.exceptions import TOMLKitError

from models.backends import is_builtin, keep_backends_in, name_backends
from models.cards import DiffusersCard, ImagesCard, backend_of
from serving.failures import UserError
from serving.home import DataFolder
from settings import CONFIG_NAME, BackendCard, Settings, config_file, load_settings

_CARD: TypeAdapter[DiffusersCard | ImagesCard] = TypeAdapter(BackendCard)


def configure() -> Settings:
    """Read all settings, and make the backends that they describe known by name.

    Raises:
        SettingsError: a setting is wrong.
        ToolError: a card has a built-in backend's name.
    """
    settings = load_settings()
    name_backends({name: backend_of(name, card) for name, card in settings.backends.items()})
    keep_backends_in(DataFolder(settings.home).backends)
    return settings


def make_card(kind: str, source: str, settings: list[str]) -> DiffusersCard | ImagesCard:
    """A card from the words of a command line; `settings` are KEY=VALUE, values as TOML or plain text.

    Raises:
        UserError: a setting is unknown, or its value is not allowed.
    """
    fields: dict[str, Any] = {"kind": kind, "base_url" if kind == "openai-images" else "source": source}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set takes KEY=VALUE, not {setting!r}")
        fields[key.strip()] = _parse(value)
    folder = Path(source).expanduser()
    if kind == "diffusers" and folder.is_dir():
        fields["source"] = str(folder.absolute())
    try:
        return _CARD.validate_python(fields)
    except ValidationError as error:
        raise UserError(_describe(error, kind)) from error


def add_card(name: str, card: DiffusersCard | ImagesCard) -> Path:
    """Write a card to maulstick.toml, where its other lines and comments stay; gives the file.

    Raises:
        UserError: the name is taken, or the file cannot be read or written.
    """
    if is_builtin(name):
        raise UserError(f"{name!r} is a built-in backend: take another name")
    path, document = _open()
    backends = document.setdefault("backends", tomlkit.table(is_super_table=True))
    if name in backends:
        raise UserError(f"{path} has a backend {name!r} already: `maulstick backends remove {name}` first")
    table = tomlkit.table()
    for key, value in card.model_dump(mode="json", exclude_defaults=True).items():
        table.add(key, value)
    if isinstance(card, ImagesCard):
        table["kind"] = card.kind
    backends[name] = table
    _write(path, document)
    return path


def remove_card(name: str) -> Path:
    """Take a card out of maulstick.toml; gives the file.

    Raises:
        UserError: it is not there, or the file cannot be read or written.
    """
    path, document = _open()
    backends: Any = document.get("backends", {})
    if name not in backends:
        known = ", ".join(backends) or "none"
        raise UserError(f"{path} has no backend {name!r}; it has: {known}")
    del backends[name]
    if not backends:
        del document["backends"]
    _write(path, document)
    return path


def _open() -> tuple[Path, Any]:
    """The file in force, or the one that will be in the platform's config folder."""
    path = config_file() or user_config_path("maulstick", appauthor=False) / CONFIG_NAME
    try:
        return path, tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _write(path: Path, document: Any) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(document.as_string().rstrip("\n") + "\n", "utf-8")
        os.replace(new, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def _parse(value: str) -> Any:
    """A TOML value; text that is none stands for itself."""
    try:
        return tomlkit.parse(f"value = {value}").unwrap()["value"]
    except TOMLKitError:
        return value


def _describe(error: ValidationError, kind: str) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "kind"
    if first["type"] == "extra_forbidden":
        known = ImagesCard.model_fields if kind == "openai-images" else DiffusersCard.model_fields
        return f"a backend of kind {kind!r} has no setting {name!r}; it has: {', '.join(sorted(known))}"
    return f"{name} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
