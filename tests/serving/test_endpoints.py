"""What the doctor says of endpoints, asked over real HTTP."""

from pathlib import Path

import pytest

from serving.endpoints import find_endpoints
from settings import Settings
from tests.agents.reading.server import READY, Endpoint, serving


def chosen(tmp_path: Path, url: str, **changes: object) -> Settings:
    return Settings.model_validate({"home": tmp_path, "endpoints": {"local": {"base_url": url}}} | changes)


def test_an_endpoint_that_answers_tells_its_models(tmp_path: Path) -> None:
    problems: list[str] = []
    with serving(Endpoint(lambda body: READY, models=["a", "b"])) as endpoint:
        [found] = find_endpoints(chosen(tmp_path, endpoint.url, mind="local:a"), problems)
        assert (found.name, found.state, found.models) == ("local", "ok", ("a", "b"))
        assert endpoint.asked == endpoint.probes == [] and problems == []
    [gone] = find_endpoints(chosen(tmp_path, endpoint.url), problems)
    assert gone.models == () and gone.state.startswith("no answer")
    assert len(problems) == 1 and endpoint.url in problems[0] and "is it running" in problems[0]


def test_wrong_roles_and_missing_keys_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    problems: list[str] = []
    settings = Settings.model_validate({"home": tmp_path, "minds": {"poet": "embedded", "rate": "openai:m"}})
    assert find_endpoints(settings, problems) == ()
    assert len(problems) == 2 and "poet" in problems[0] and "OPENAI_API_KEY" in problems[1]


def test_the_embedded_mind_alone_asks_nobody(tmp_path: Path) -> None:
    problems: list[str] = []
    assert find_endpoints(Settings.model_validate({"home": tmp_path}), problems) == () and problems == []
