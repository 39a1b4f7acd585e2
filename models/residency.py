"""Which models stay loaded: a memory budget, least recently used leaves first, never one in use.

Goes by the memory that tools declare; it does not measure any. Each worker has its own copy of a model,
because pipelines and schedulers keep state between steps; all CPU workers draw on one budget, each
accelerator on its own.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.device import pool_of, return_memory
from models.tool import Tool, ToolError

AnyTool = Tool[Any, Any, Any]

_LOADING = threading.Lock()
"""Held while a model loads: diffusers and accelerate then patch torch for the whole process (parameters are
first made empty), so that two loads at once leave parameters without data."""


@dataclass(eq=False, slots=True)
class _Resident:
    pool: str
    declared: int
    model: Any = None
    in_use: bool = True


class Residency:
    """The loaded models of all workers. Safe to call from several threads."""

    def __init__(self, budget: int | None) -> None:
        """`budget` is bytes per memory pool; None means unlimited."""
        self._budget = budget
        self._residents: dict[tuple[str, str, str], _Resident] = {}  # least recently used first
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
        try:
            yield resident.model
        finally:
            with self._changed:
                resident.in_use = False
                self._changed.notify_all()

    def names(self) -> list[tuple[str, str, str]]:
        """(device, tool, model) of what is loaded, least recently used first."""
        with self._changed:
            return list(self._residents)

    def free(self) -> None:
        """Let go of every model that is not in use."""
        with self._changed:
            self._residents = {key: kept for key, kept in self._residents.items() if kept.in_use}
        return_memory()

    def _load(self, tool: AnyTool, model_key: str, device: str) -> _Resident:
        declared = tool.memory_bytes(model_key)
        if self._budget is not None and declared > self._budget:
            raise ToolError(
                f"{model_key!r} of {tool.name} needs {declared:,} bytes and the memory budget is "
                f"{self._budget:,}: raise the budget or choose a smaller model"
            )
        key = (device, tool.name, model_key)
        resident = self._reserve(key, declared)
        try:
            with _LOADING:
                resident.model = tool.load(model_key, pool_of(device))
        except BaseException:
            with self._changed:
                del self._residents[key]
                self._changed.notify_all()
            raise
        return resident

    def _reserve(self, key: tuple[str, str, str], declared: int) -> _Resident:
        pool = pool_of(key[0])
        evicted = False
        with self._changed:
            while self._budget is not None and self._used(pool) + declared > self._budget:
                idle = next((k for k, r in self._residents.items() if r.pool == pool and not r.in_use), None)
                if idle is None:
                    self._changed.wait()
                    continue
                del self._residents[idle]
                evicted = True
            resident = self._residents[key] = _Resident(pool, declared)
        if evicted:
            return_memory()
        return resident

    def _used(self, pool: str) -> int:
        return sum(resident.declared for resident in self._residents.values() if resident.pool == pool)
