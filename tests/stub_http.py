"""A real HTTP server on a free port of this machine, whose every reply a test writes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Sent:
    """What the server sends back, after `seconds`. `cut` closes the connection before anything is sent."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    cut: bool = False


@contextmanager
def serve(post: Callable[[str, str, bytes], Sent], get: Callable[[], Sent]) -> Iterator[str]:
    """The base URL of the server; `post` takes a path, a content type and a body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(get())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._send(post(self.path, self.headers["content-type"], body))

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
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
