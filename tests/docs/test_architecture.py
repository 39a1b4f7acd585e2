import re
from pathlib import Path

from graphs.refine import mermaid

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_the_drawing_is_the_compiled_graph():
    [drawn] = re.findall(
        r"<!-- refine graph:.*?-->\n```mermaid\n(.*?)```\n<!-- end", PAGE.read_text("utf-8"), re.S
    )
    assert drawn == mermaid()


def test_every_room_is_described():
    root = PAGE.parents[1]
    rooms = {path.parent.name for path in root.glob("*/__init__.py")}
    section = PAGE.read_text("utf-8").split("## Rooms")[1].split("## One refinement")[0]
    described = set(re.findall(r"^\| `(\w+)/` \|", section, re.M))
    assert rooms == described
