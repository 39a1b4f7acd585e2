"""Lines of an evaluation's file, a JSON object each, appended as they become known. Knows no rows."""

from pathlib import Path


def read_lines(path: Path) -> list[str]:
    """The whole lines of a file, none where there is no file; the folder above it is made.

    A last line that its process died in is cut off: that row will be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    return whole.splitlines()


def append_line(path: Path, line: str) -> None:
    """Add a line at the end."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
