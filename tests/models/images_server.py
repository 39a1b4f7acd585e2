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
from io import BytesIO
from typing import Any

from PIL import Image

from tests.stub_http import Sent, serve

Asked = dict[str, Any]


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
    with serve(
        lambda path, kind, body: studio.take({"path": path, **_fields(kind, body)}),
        lambda: error(404, "nothing to list"),
    ) as studio.url:
        yield studio
