"""Which failures are the user's to mend, and how they are told: one line, no traceback.

Everything else is a bug and keeps its traceback.
"""

from pydantic import ValidationError

OPTIONS: dict[int | str, str] = {"pictures": "--images", "seed": "--seed"}
"""What a field of a request is called on the command line."""


class UserError(RuntimeError):
    """Something that the user asked for cannot be done; the message names the value and the way out."""


def describe_failure(error: BaseException) -> str | None:
    """The line to show for `error`, or None if it is a bug."""
    from agents.role import MindError
    from memory.errors import StoreError
    from memory.ledger import RunBusy
    from models.tool import ToolError
    from settings import SettingsError

    if isinstance(error, UserError | SettingsError | MindError | StoreError | RunBusy | ToolError):
        return " ".join(str(error).split())
    return None


def describe_validation(error: ValidationError) -> str:
    """The first thing wrong with a request, in one line."""
    first = error.errors(include_url=False)[0]
    name = OPTIONS.get(first["loc"][-1], first["loc"][-1])
    if first["type"] == "string_unicode":
        return f"the {name} is no text: pass UTF-8"
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    return f"{name} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
