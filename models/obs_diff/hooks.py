"""Listens to layers while a denoiser runs, and gathers their Hessians."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from models.obs_diff.families import Inlet, Unit
from models.obs_diff.hessian import LayerHessian
from models.tool import ToolError


class Hooks:
    """The Hessians of a package's inlets, fed by hooks on its layers."""

    def __init__(self, denoiser: Any, units: Sequence[Unit], dtype: torch.dtype) -> None:
        self._denoiser = denoiser
        self._inlets = [inlet for unit in units for inlet in unit.inlets]
        self.hessians: dict[str, LayerHessian] = {}
        """By an inlet's first layer."""
        for inlet in self._inlets:
            layer = denoiser.get_submodule(inlet[0])
            self.hessians[inlet[0]] = LayerHessian(
                layer.in_features, dtype=dtype, device=layer.weight.device, name=inlet[0]
            )
        self.weight = 1.0
        """Of the calls to come."""
        self._seen: dict[str, tuple[int, int]] = {}

    @contextmanager
    def listening(self, *, stop: type[Exception] | None = None) -> Generator[None]:
        """Gather while the block lasts. With `stop`, a call ends by it once all layers were heard."""
        waiting = {name for inlet in self._inlets for name in inlet}
        handles: list[Any] = []

        def hear(inlet: Inlet, name: str, inputs: torch.Tensor) -> None:
            if name == inlet[0]:
                self.hessians[name].update(inputs, self.weight)
            self._seen[name] = (inputs.data_ptr(), inputs.numel())
            if stop is not None and len(self._seen) == len(waiting):
                raise stop

        for inlet in self._inlets:
            for name in inlet:

                def hook(module: Any, args: Any, inlet: Inlet = inlet, name: str = name) -> None:
                    hear(inlet, name, args[0])

                handles.append(self._denoiser.get_submodule(name).register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def end_call(self) -> None:
        """A call of the denoiser is over: what it showed of shared inputs must agree with the table.

        Raises:
            ToolError: layers that are to share a Hessian were fed different inputs.
        """
        for inlet in self._inlets:
            if len({self._seen[name] for name in inlet if name in self._seen}) > 1:
                raise ToolError(
                    f"{' and '.join(inlet)} do not have one input in this model: the family's table is wrong"
                )
        self._seen.clear()
