"""Which models stay loaded: a memory budget, least recently used leaves first, never one in use.

Room is made by the memory that a tool declares; once a model is loaded, what it really takes counts instead,
and is known when it comes again. Each worker has its own copy of a model, because pipelines and schedulers
keep state between steps; all CPU workers draw on one budget, each accelerator on its own.
"""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.device import allocated_bytes, is_out_of_memory, pool_of, return_memory, tensor_bytes
from models.tool import Tool, ToolError

_LOG = logging.getLogger(__name__)

AnyTool = Tool[Any, Any, Any]

_LOADING = threading.Lock()
"""Held while a model loads: diffusers and accelerate then patch torch for the whole process (parameters are
first made empty), so that two loads at once leave parameters without data."""


@dataclass(eq=False, slots=True)
class _Resident:
    pool: str
    taken: int
    """Bytes: declared until the model is loaded, then measured where that can be done."""
    model: Any = None
    in_use: bool = True


class Residency:
    """The loaded models of all workers. Safe to call from several threads."""

    def __init__(self, budget: int | None) -> None:
        """`budget` is bytes per memory pool; None means unlimited."""
        self._budget = budget
        self._residents: dict[tuple[str, str, str], _Resident] = {}  # least recently used first
        self._measured: dict[tuple[str, str, str], int] = {}
        """(pool, tool, model) -> bytes that it took when it was last loaded."""
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, tool: AnyTool, model_key: str, device: str) -> Generator[Any]:
        """The model of `tool` on `device`, loaded if need be, and kept there until the block ends.

        Waits when the budget is taken by models that other workers are using.

        Raises:
            ToolError: the model alone exceeds the budget, or cannot be loaded.
        """
        key = (device, tool.name, model_key)
        with self._changed:
            resident = self._residents.pop(key, None)
            if resident is not None:
                resident.in_use = True
                self._residents[key] = resident
        if resident is None:
            resident = self._load(tool, model_key, device)
        sound = False
        try:
            yield resident.model
            sound = True
        except Exception:
            sound = True
            raise
        finally:
            with self._changed:
                resident.in_use = False
                if not sound:  # its worker died under it, so nobody knows what state it is in
                    self._residents.pop(key, None)
                self._changed.notify_all()

    def taken(self) -> dict[tuple[str, str, str], int]:
        """Bytes by (device, tool, model) of what is loaded, least recently used first."""
        with self._changed:
            return {key: resident.taken for key, resident in self._residents.items()}

    def free(self, pool: str | None = None) -> bool:
        """Let go of every model that is not in use (in `pool`, if named). Says whether there was any."""
        with self._changed:
            kept = {
                key: resident
                for key, resident in self._residents.items()
                if resident.in_use or pool not in (None, resident.pool)
            }
            some = len(kept) < len(self._residents)
            self._residents = kept
            self._changed.notify_all()
        return_memory()
        return some

    def _load(self, tool: AnyTool, model_key: str, device: str) -> _Resident:
        key, pool = (device, tool.name, model_key), pool_of(device)
        expected = self._measured.get((pool, *key[1:]))
        if expected is None:
            expected = tool.memory_bytes(model_key)
        self._check_fits(key, expected)
        resident = self._reserve(key, expected)
        try:
            with _LOADING:
                before = allocated_bytes(pool)
                resident.model = self._load_with_room(tool, model_key, pool)
                after = allocated_bytes(pool)
            measured = tensor_bytes(resident.model) if after is None else after - (before or 0)
            if measured > 0:
                self._correct(key, resident, measured)
        except BaseException:
            resident.model = None
            with self._changed:
                self._residents.pop(key, None)
                self._changed.notify_all()
            raise
        return resident

    def _load_with_room(self, tool: AnyTool, model_key: str, pool: str) -> Any:
        """Load; if memory runs out, let go of every idle model and load again."""
        try:
            return tool.load(model_key, pool)
        except Exception as error:
            if not is_out_of_memory(error) or not self.free(pool):
                raise
        return tool.load(model_key, pool)

    def _check_fits(self, key: tuple[str, str, str], needed: int) -> None:
        if self._budget is not None and needed > self._budget:
            raise ToolError(
                f"{key[2]!r} of {key[1]} needs {needed:,} bytes and the memory budget is "
                f"{self._budget:,}: raise the budget or choose a smaller model"
            )

    def _correct(self, key: tuple[str, str, str], resident: _Resident, measured: int) -> None:
        """Count what the model takes instead of what was declared; what no longer fits beside it leaves."""
        expected = resident.taken
        self._measured[(resident.pool, *key[1:])] = measured
        self._check_fits(key, measured)
        evicted = False
        with self._changed:
            resident.taken = measured
            while self._budget is not None and self._used(resident.pool) > self._budget:
                if (idle := self._idle(resident.pool)) is None:
                    _LOG.warning(
                        "%r of %s takes %s bytes and declared %s: with what is in use %s is over the budget",
                        *(key[2], key[1], f"{measured:,}", f"{expected:,}", resident.pool),
                    )
                    break
                del self._residents[idle]
                evicted = True
            self._changed.notify_all()
        if evicted:
            return_memory()

    def _idle(self, pool: str) -> tuple[str, str, str] | None:
        return next((k for k, r in self._residents.items() if r.pool == pool and not r.in_use), None)

    def _reserve(self, key: tuple[str, str, str], expected: int) -> _Resident:
        pool = pool_of(key[0])
        evicted = False
        with self._changed:
            while self._budget is not None and self._used(pool) + expected > self._budget:
                if (idle := self._idle(pool)) is None:
                    self._changed.wait()
                    continue
                del self._residents[idle]
                evicted = True
            resident = self._residents[key] = _Resident(pool, expected)
        if evicted:
            return_memory()
        return resident

    def _used(self, pool: str) -> int:
        return sum(resident.taken for resident in self._residents.values() if resident.pool == pool)
