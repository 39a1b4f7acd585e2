"""An endpoint in OpenAI's shape over real HTTP, whose every reply a test writes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """What the server sends back. `cut` closes the connection before anything is sent."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    cut: bool = False


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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in endpoint.models]}
            self._send(Sent(json.dumps(listed).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(endpoint.take(body))

        def _send(self, sent: Sent) -> None:
            if sent.cut:
                self.close_connection = True
                return
            headers = {"content-type": "application/json", "content-length": str(len(sent.body))}
            try:
                self.send_response(sent.status)
                for name, value in (headers | sent.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent.body)
            except OSError:  # the client did not wait
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """A test's output is no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
