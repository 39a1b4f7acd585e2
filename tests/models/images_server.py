"""An endpoint in the shape of OpenAI's Images API over real HTTP, whose replies a test writes."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image

Asked = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """What the server sends back."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    cut: bool = False


def encoded(colour: str, size: tuple[int, int] = (32, 32), kind: str = "PNG") -> str:
    """A picture of one colour in base64."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def picture(colour: str = "red", **how: Any) -> Sent:
    """A reply with one picture."""
    return Sent(json.dumps({"created": 0, "data": [{"b64_json": encoded(colour, **how)}]}).encode())


def stream(kind: str, *colours: str) -> Sent:
    """A stream of pictures, the last of them finished."""
    rows: list[str] = []
    for number, colour in enumerate(colours):
        last = number == len(colours) - 1
        event: Asked = {
            "type": f"{kind}.{'completed' if last else 'partial_image'}",
            "b64_json": encoded(colour),
        }
        if not last:
            event["partial_image_index"] = number
        rows.append(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
    return Sent("".join(rows).encode(), headers={"content-type": "text/event-stream"})


def error(status: int, message: str, code: str = "", **headers: str) -> Sent:
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(json.dumps(body).encode(), status, named)


@dataclass
class Studio:
    """`reply` writes the answers; `asked` holds the path and fields of every request."""

    reply: Callable[[Asked], Sent]
    asked: list[Asked] = field(default_factory=list[Asked])
    url: str = ""
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: Asked) -> Sent:
        """Answer one request."""
        with self.lock:
            self.asked.append(asked)
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
        try:
            sent = self.reply(asked)
            time.sleep(sent.seconds)
            return sent
        finally:
            with self.lock:
                self.busy -= 1


def _fields(kind: str, body: bytes) -> Asked:
    if kind.startswith("application/json"):
        return json.loads(body)
    message = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: Asked = {}
    for part in message.iter_parts():  # type: ignore[attr-defined]
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[name] = content if part.get_filename() else content.decode()
    return fields


@contextmanager
def serving(studio: Studio) -> Iterator[Studio]:
    """The endpoint on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sent = studio.take({"path": self.path, **_fields(self.headers["content-type"], body)})
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
    studio.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield studio
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
