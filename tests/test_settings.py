import traceback
from pathlib import Path

import pytest

from settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("MAULSTICK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_defaults_follow_the_platform(tmp_path):
    settings = load_settings()
    assert settings.home == tmp_path / "data" / "maulstick"
    assert (settings.backend, settings.mind, settings.device) == ("embedded", "embedded", "auto")


def test_the_environment_wins_over_the_file(monkeypatch, tmp_path):
    (tmp_path / "maulstick.toml").write_text('backend = "from/file"\nthreads = 2\n')
    monkeypatch.setenv("MAULSTICK_BACKEND", "from/env")
    settings = load_settings()
    assert (settings.backend, settings.threads) == ("from/env", 2)


def test_a_tilde_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAULSTICK_HOME", "~/pictures")
    assert load_settings().home == tmp_path / "pictures"


def test_minds_and_endpoints_come_from_nested_names(monkeypatch, tmp_path):
    (tmp_path / "maulstick.toml").write_text(
        '[minds]\njudge = "local:qwen"\n'
        '[endpoints.local]\nbase_url = "http://localhost:1/v1"\nconcurrency = 2\n'
    )
    monkeypatch.setenv("MAULSTICK_MINDS__RATE", "openai:m")
    monkeypatch.setenv("MAULSTICK_ENDPOINTS__LOCAL__MODEL", "tiny")
    settings = load_settings()
    assert settings.minds == {"judge": "local:qwen", "rate": "openai:m"}
    local = settings.endpoints["local"]
    assert (local.base_url, local.model, local.concurrency) == ("http://localhost:1/v1", "tiny", 2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "MAULSTICK_ENDPOINTS__X__BASE_URL",
            "localhost",
            ["MAULSTICK_ENDPOINTS__X__BASE_URL", "'localhost'"],
        ),
        (
            "MAULSTICK_ENDPOINTS__X__URL",
            "http://h/v1",
            ["MAULSTICK_ENDPOINTS__X__URL", "no setting", "base_url"],
        ),
        ("MAULSTICK_ENDPOINTS__EMBEDDED__MODEL", "m", ["'embedded'", "endpoint"]),
        ("MAULSTICK_MINDSET__RATE", "m", ["MAULSTICK_MINDSET__RATE", "no setting"]),
        ("MAULSTICK_DEVICE", "tpu", ["MAULSTICK_DEVICE", "'tpu'", "cuda"]),
        ("MAULSTICK_THREADS", "0", ["MAULSTICK_THREADS", "'0'", "greater"]),
        ("MAULSTICK_THREADS", "many", ["MAULSTICK_THREADS", "'many'", "integer"]),
        ("MAULSTICK_MEMORY_GIB", "-1", ["MAULSTICK_MEMORY_GIB", "'-1'"]),
        (
            "MAULSTICK_DATABASE",
            "mysql://u:p@h/db",
            ["MAULSTICK_DATABASE begins", "'mysql://'", "postgresql://"],
        ),
        ("MAULSTICK_DATABASE", "studio.db", ["MAULSTICK_DATABASE is no URL"]),
        ("MAULSTICK_DATABASE", "postgresql://h:5432", ["MAULSTICK_DATABASE names no database"]),
        ("MAULSTICK_CHROMA", "localhost:8000", ["MAULSTICK_CHROMA", "'localhost:8000'", "http://host:port"]),
        ("MAULSTICK_CHROMA", "http://u:secret@h:8000", ["MAULSTICK_CHROMA", "credentials"]),
        ("MAULSTICK_HOEM", "x", ["MAULSTICK_HOEM", "MAULSTICK_HOME"]),
        ("MAULSTICK_CONFIG", "gone.toml", ["MAULSTICK_CONFIG", "gone.toml"]),
    ],
)
def test_a_wrong_variable_is_named_with_the_way_out(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('devise = "cpu"', ["devise", "maulstick.toml", "device"]),
        ("device = 3", ["device", "maulstick.toml", "3"]),
        ("device = ", ["maulstick.toml", "TOML"]),
    ],
)
def test_a_wrong_file_is_named_with_the_way_out(tmp_path, content, words):
    (tmp_path / "maulstick.toml").write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/db",
        "hunter2",
        "postgresql://u:hunter2",
        "postgresql://u:hunter2/x@h/db",
        "postgresql://u:hunter2@x@h/db",
        "postgresql://u:hunter2%zz@h/db",
        "postgresql://u:hunter2?x@h/db",
        "postgresql://u:hunter2#@h",
    ],
)
def test_a_password_is_never_repeated(monkeypatch, url):
    monkeypatch.setenv("MAULSTICK_DATABASE", url)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    shown = "".join(traceback.format_exception(caught.value))
    assert "MAULSTICK_DATABASE" in str(caught.value)
    assert "hunter2" not in shown
    assert "\n" not in str(caught.value)


def test_settings_are_shown_without_the_database(monkeypatch):
    url = "postgresql://u:hunter%402@h:5432/db"
    monkeypatch.setenv("MAULSTICK_DATABASE", url)
    settings = load_settings()
    assert settings.database == url
    assert "hunter" not in repr(settings) + str(settings)
