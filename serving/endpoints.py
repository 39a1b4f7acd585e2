"""Which endpoints the settings name, and whether they answer. Asks for lists of models, never for a reply."""

import asyncio

import openai
from pydantic import BaseModel

from agents.reading.card import EndpointCard
from serving.failures import UserError
from serving.minds import check_roles, find_endpoint, roles
from settings import Settings

PATIENCE = 5.0
"""Seconds for a list of models."""


class EndpointState(BaseModel):
    """An endpoint that answers, or does not. `models` is what it lists."""

    name: str
    base_url: str
    state: str
    models: tuple[str, ...] = ()


def find_endpoints(settings: Settings, problems: list[str]) -> tuple[EndpointState, ...]:
    """Every endpoint of the settings, and those with a role; what is wrong goes to `problems`."""
    try:
        check_roles(settings)
    except UserError as error:
        problems.append(str(error))
    wanted = dict.fromkeys([settings.mind, *roles(settings).values(), *settings.endpoints])
    cards: dict[str, EndpointCard] = {}
    for who in wanted:
        if who.partition(":")[0] in ("embedded", "qwen"):
            continue
        try:
            cards.setdefault(who.partition(":")[0], find_endpoint(settings, who))
        except UserError as error:
            problems.append(str(error))

    async def ask_all() -> list[EndpointState]:
        return await asyncio.gather(*(_ask(name, card) for name, card in cards.items()))

    found = asyncio.run(ask_all())
    problems.extend(
        f"endpoint {state.name!r} at {state.base_url}: {state.state}"
        for state in found
        if state.state != "ok"
    )
    return tuple(found)


async def _ask(name: str, card: EndpointCard) -> EndpointState:
    key = card.api_key.get_secret_value() if card.api_key else "none"
    try:
        async with openai.AsyncOpenAI(
            base_url=card.base_url, api_key=key, timeout=PATIENCE, max_retries=0
        ) as client:
            models = tuple([model.id async for model in client.models.list()])
    except openai.APIConnectionError as error:
        return EndpointState(name=name, base_url=card.base_url, state=f"no answer ({error}): is it running?")
    except openai.APIStatusError as error:
        return EndpointState(
            name=name, base_url=card.base_url, state=f"{error.message}: check its address and key"
        )
    except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
        return EndpointState(
            name=name, base_url=card.base_url, state=f"no list of models ({error}): does it end in /v1?"
        )
    return EndpointState(name=name, base_url=card.base_url, state="ok", models=models)
