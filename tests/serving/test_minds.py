"""Who plays which role, by the names in the settings."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from agents.embedded import EmbeddedMind
from agents.reading.card import EndpointCard
from agents.reading.mind import ReadingMind
from memory.artifacts import Artifacts
from models.executor import LocalExecutor
from serving.failures import UserError
from serving.minds import Company, assemble_minds, find_endpoint
from settings import Settings


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def chosen(tmp_path: Path, **changes: object) -> Settings:
    return Settings.model_validate({"home": tmp_path} | changes)


async def assemble(settings: Settings, name: str) -> Company:
    artifacts = Artifacts(settings.home / "artifacts")
    async with LocalExecutor([], artifacts, devices=("cpu",)) as executor, AsyncExitStack() as stack:
        return await assemble_minds(settings, name, "embedded", executor, artifacts, stack)


LOCAL = EndpointCard(base_url="http://127.0.0.1:9/v1")


async def test_roles_and_groups_get_their_minds_each_once(tmp_path: Path) -> None:
    roles = {"judge": "local:a", "rate": "local:b", "propose": "embedded"}
    company = await assemble(chosen(tmp_path, minds=roles, endpoints={"local": LOCAL}), "local:a")
    names = {role: mind.name for role, mind in company.minds.items()}
    assert names == {
        "caption": "local:a",
        "check_caption": "local:a",
        "answer": "local:a",
        "point_out": "local:a",
        "rate": "local:b",
        "propose": "embedded",
    }
    assert isinstance(company.mind, ReadingMind) and company.minds["caption"] is company.mind
    assert isinstance(company.minds["propose"], EmbeddedMind)


async def test_the_embedded_mind_needs_no_cache(tmp_path: Path) -> None:
    assert isinstance((await assemble(chosen(tmp_path), "embedded")).mind, EmbeddedMind)
    assert not (tmp_path / "replies.db").exists()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "gpt",
            {},
            [
                "no mind is called 'gpt'",
                "embedded, qwen[:MODEL], openai[:MODEL]",
                "MAULSTICK_ENDPOINTS__GPT__BASE_URL",
            ],
        ),
        ("openai:gpt", {}, ["'openai:gpt' needs a key", "OPENAI_API_KEY"]),
        ("embedded", {"minds": {"poet": "embedded"}}, ["'poet'", "decompose", "judge"]),
        ("embedded", {"minds": {"rate": "nobody"}}, ["no mind is called 'nobody'"]),
    ],
)
async def test_a_wrong_name_is_told_with_the_way_out(
    tmp_path: Path, name: str, changes: dict, words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        await assemble(chosen(tmp_path, **changes), name)
    assert all(word in str(caught.value) for word in words)


def test_openais_key_goes_to_openai_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    settings = chosen(tmp_path, endpoints={"local": LOCAL})
    card = find_endpoint(settings, "openai:gpt")
    assert (card.model, card.api_key) == ("gpt", SecretStr("sk-1"))
    assert find_endpoint(settings, "local").api_key is None
