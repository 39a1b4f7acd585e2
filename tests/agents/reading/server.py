"""An endpoint in OpenAI's shape over real HTTP, whose every reply a test writes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stub_http import Sent, serve

Body = dict[str, Any]


def chat(text: str | None, finish: str = "stop", refusal: str | None = None) -> Sent:
    """A chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    return Sent(json.dumps(body).encode())


def error(status: int, message: str, **headers: str) -> Sent:
    """An error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(json.dumps({"error": {"message": message, "type": "invalid"}}).encode(), status, named)


def is_probe(body: Body) -> bool:
    """Whether this is the speaker's question in which dialect to speak."""
    return "set ready to" in str(body["messages"][-1]["content"])


READY = chat('{"ready": true}')


@dataclass
class Endpoint:
    """`reply` writes the answers; `asked` holds the bodies of all chat requests that are no probes."""

    reply: Callable[[Body], Sent]
    models: list[str] = field(default_factory=lambda: ["tiny"])
    probe: Callable[[Body], Sent] = lambda body: READY
    asked: list[Body] = field(default_factory=list[Body])
    probes: list[Body] = field(default_factory=list[Body])
    busy: int = 0
    busiest: int = 0
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: Body) -> Sent:
        """Answer one chat request."""
        with self._lock:
            (self.probes if is_probe(body) else self.asked).append(body)
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
        try:
            sent = self.probe(body) if is_probe(body) else self.reply(body)
            time.sleep(sent.seconds)
            return sent
        finally:
            with self._lock:
                self.busy -= 1


def in_turn(*replies: Sent) -> Callable[[Body], Sent]:
    """One reply after another; the last again and again."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint on a free port of this machine."""
    listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in endpoint.models]}
    with serve(
        lambda path, kind, body: endpoint.take(json.loads(body)), lambda: Sent(json.dumps(listed).encode())
    ) as endpoint.url:
        yield endpoint
