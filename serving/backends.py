"""The command `backends list`. Reads cards and file headers; downloads nothing."""

import json

from rich.console import Console
from rich.table import Table

from models.backends import known_backends, memory_bytes
from models.tool import ToolError


def print_backends(as_json: bool) -> int:
    """Print the backends that have a card. Checks the weights of those that are here; downloads nothing."""
    rows: list[dict[str, str | int | None]] = []
    for backend in known_backends():
        row: dict[str, str | int | None] = backend.model_dump(include={"name", "kind", "source", "notes"})
        if backend.kind == "embedded":
            try:
                row |= {"state": "ready", "memory_bytes": memory_bytes(backend)}
            except ToolError as error:
                row |= {"state": str(error), "memory_bytes": None}
        else:
            row |= {"state": "fetched when first used", "memory_bytes": None}
        rows.append(row)
    if as_json:
        print(json.dumps({"backends": rows}))
        return 0
    table = Table("name", "state", "notes", box=None, header_style="dim")
    for row in rows:
        table.add_row(str(row["name"]), str(row["state"]), str(row["notes"]))
    console = Console()
    console.print(table)
    console.print(
        "Also: the folder of a diffusers pipeline, or owner/name of one on the Hugging Face hub.", style="dim"
    )
    return 0
