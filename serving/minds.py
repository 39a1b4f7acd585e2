"""Who plays which role, by the names that settings give: the embedded mind, or models behind endpoints.

Knows no command. Nothing is sent anywhere until a mind is asked.
"""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from pydantic import SecretStr

from agents.embedded import EmbeddedMind
from agents.reading.card import OPENAI_URL, EndpointCard, LocalCard
from agents.reading.endpoint import EndpointSpeaker
from agents.reading.local import LocalSpeaker
from agents.reading.mind import ReadingMind
from agents.reading.phrases import PHRASES
from agents.reading.replies import Replies
from agents.reading.weighing import WeighingMind
from agents.role import Mind
from diorama.vocabulary import load_vocabulary
from memory.replies import KeptReplies
from models.artifact import ArtifactStore
from models.backends import resolve
from models.estimate_depth import find_depth_model
from models.executor import Executor
from serving.failures import UserError
from serving.stores import place_replies
from settings import OPENAI, Settings

GROUPS: Mapping[str, tuple[str, ...]] = {
    "judge": ("caption", "check_caption", "answer", "rate", "point_out"),
    "proposer": ("propose", "merge", "rewrite"),
}
"""Names for several roles at once, for `MAULSTICK_MINDS__JUDGE` and the like."""


@dataclass(frozen=True, slots=True)
class Company:
    """The minds of a studio: `mind` plays every role that `minds` does not name."""

    mind: Mind
    minds: Mapping[str, Mind] = field(default_factory=dict[str, Mind])


async def assemble_minds(
    settings: Settings,
    name: str,
    backend: str,
    executor: Executor,
    artifacts: ArtifactStore,
    stack: AsyncExitStack,
) -> Company:
    """Everybody that `name` and the settings' roles call for, each once; closed with `stack`.

    Raises:
        UserError: a mind or a role is unknown, or an endpoint lacks its key.
        StoreError: the cache of replies is damaged.
    """
    check_roles(settings)
    called: dict[str, Mind] = {}
    kept: list[Replies] = []

    async def call(who: str) -> Mind:
        if who not in called:
            if who == "embedded":
                called[who] = _embedded(settings, executor, backend)
                return called[who]
            if not kept:
                kept.append(KeptReplies(place_replies(settings)))
            if who.partition(":")[0] == "qwen":
                called[who] = WeighingMind(who, LocalSpeaker(find_local(settings, who), executor), kept[0])
            else:
                card = find_endpoint(settings, who)
                speaker = await stack.enter_async_context(EndpointSpeaker(who, card, artifacts, kept[0]))
                called[who] = ReadingMind(who, speaker, kept[0])
        return called[who]

    return Company(await call(name), {role: await call(who) for role, who in roles(settings).items()})


def roles(settings: Settings) -> dict[str, str]:
    """The mind of each role that the settings name; a role by itself wins over its group."""
    chosen = {role: who for group, who in settings.minds.items() if group in GROUPS for role in GROUPS[group]}
    return chosen | {role: who for role, who in settings.minds.items() if role not in GROUPS}


def check_roles(settings: Settings) -> None:
    """Check that every name under `minds` is a role or a group of roles.

    Raises:
        UserError: one is neither.
    """
    known = (*PHRASES, *GROUPS)
    if unknown := [role for role in settings.minds if role not in known]:
        raise UserError(f"minds names the role {unknown[0]!r}; there are: {', '.join(known)}")


def find_endpoint(settings: Settings, who: str) -> EndpointCard:
    """The card of a mind called "ENDPOINT" or "ENDPOINT:MODEL".

    Raises:
        UserError: there is no such endpoint, or OpenAI's own is meant and there is no key for it.
    """
    name, _, model = who.partition(":")
    known = {OPENAI: EndpointCard(), **settings.endpoints}
    if name not in known:
        names = ", ".join(["embedded", "qwen[:MODEL]", *sorted(f"{key}[:MODEL]" for key in known)])
        raise UserError(
            f"no mind is called {who!r}; known: {names}. "
            f"Set MAULSTICK_ENDPOINTS__{name.upper()}__BASE_URL to add it"
        )
    card = known[name]
    if model:
        card = card.model_copy(update={"model": model})
    if card.base_url == OPENAI_URL and card.api_key is None:
        key = os.environ.get("OPENAI_API_KEY")
        if not key:
            raise UserError(f"the mind {who!r} needs a key: set OPENAI_API_KEY")
        card = card.model_copy(update={"api_key": SecretStr(key)})
    return card


def find_local(settings: Settings, who: str) -> LocalCard:
    """The card of a mind called "qwen" or "qwen:MODEL"."""
    model = who.partition(":")[2]
    return settings.qwen.model_copy(update={"model": model}) if model else settings.qwen


def _embedded(settings: Settings, executor: Executor, backend: str) -> EmbeddedMind:
    """The embedded mind takes only prompts whose words the backend was taught.

    Raises:
        ToolError: there is no depth network of the name that the settings give.
    """
    taught = resolve(backend).vocabulary
    depth = None if settings.depth == "none" else settings.depth
    if depth is not None:
        find_depth_model(depth)
    return EmbeddedMind(executor, vocabulary=load_vocabulary(taught) if taught else None, depth=depth)
