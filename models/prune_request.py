"""What `prune_backend` is asked and what it answers. Pure data."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.obs_diff.order import Method, Order
from models.tool import ToolError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class PruneRequest(BaseModel):
    """A backend to prune, by one order for each sparsity, from one calibration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str = Field(description="The backend to prune: a name, a folder, or owner/name on the hub.")
    prompts: tuple[str, ...] = Field(
        description="What the calibration paints: some dozens of usual prompts, a hundred for large models."
    )
    name: str | None = Field(default=None, description="What the pruned backend is called.")
    order: Order = Field(default=Order(), description="Method, pattern, weighting of steps and the like.")
    sparsities: tuple[float, ...] = Field(
        default=(), description="Several shares from one calibration, a backend each, instead of the order's."
    )
    steps: Annotated[int, Field(ge=1, le=200)] | None = Field(
        default=None, description="Denoising steps in calibration; None: as the backend paints."
    )
    guidance: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Guidance in calibration; None: as the backend paints."
    )
    batch: int = Field(default=4, ge=1, description="Prompts at a time.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Decides the noise of every prompt.")
    on_disk: bool = Field(default=False, description="Keep activations in files instead of main memory.")

    @field_validator("prompts")
    @classmethod
    def _some(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        if not prompts:
            raise ToolError("there are no prompts to calibrate with: give at least one")
        return prompts

    @model_validator(mode="after")
    def _orders_fit(self) -> "PruneRequest":
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ToolError(f"{self.name!r} is no name for a backend: use letters, digits, '.', '_' and '-'")
        if self.sparsities and self.order.group:
            raise ToolError(f"{self.order.pattern} has one sparsity: leave sparsity out")
        if len(set(self.sparsities)) < len(self.sparsities):
            raise ToolError(f"sparsity {self.sparsities} names one share twice")
        _ = self.orders
        return self

    @property
    def orders(self) -> tuple[Order, ...]:
        """One for each backend that is made."""
        own = self.order.model_dump(exclude_unset=True)
        made = (Order.model_validate(own | {"sparsity": share}) for share in self.sparsities)
        return tuple(made) or (self.order,)

    def name_of(self, order: Order) -> str:
        """What the backend of one order is called."""
        share = "" if order.group else f"-{order.sparsity * 100:g}"
        if self.name is not None:
            return self.name + (share if len(self.sparsities) > 1 else "")
        parent = re.sub(r"[^\w.-]+", "-", self.backend.rstrip("/").rpartition("/")[2])
        return f"{parent}-{order.method}-{order.pattern.replace(':', 'of')}{share}"


class PrunedBackend(BaseModel):
    """A backend that was made."""

    model_config = ConfigDict(frozen=True)

    name: str
    parent: str
    folder: str
    method: Method
    pattern: str
    sparsity: float
    removed: float = Field(description="The share of the pruned layers' weights, or columns, that went.")
    parameters_before: int = Field(description="Of the denoiser.")
    parameters: int
    error_before: float = Field(description="Mean relative output error of a layer, uncompensated.")
    error: float = Field(description="Mean relative output error of a layer, compensated.")
    packages: int
    hessian_bytes: int
    seconds: float


class PruneResult(BaseModel):
    """The backends that were made, in the order of their sparsities."""

    model_config = ConfigDict(frozen=True)

    backends: tuple[PrunedBackend, ...]
