"""What is to be pruned, and how. Pure data; imports no torch."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.obs_diff.schedules import Schedule
from models.tool import ToolError

Method = Literal["obs", "wanda", "magnitude", "l1", "random"]
Trajectory = Literal["dense", "pruned"]
GIB = 2**30
_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": GIB, "TiB": 2**40}


class Order(BaseModel):
    """One pruning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "obs"
    pattern: str = "unstructured"
    """ "unstructured", "structured", or "N:M": N zeros among M neighbours."""
    sparsity: float = 0.5
    """The share that goes; of N:M it is N / M."""
    schedule: Schedule = "log_decrease"
    """How much each denoising step counts."""
    low: Annotated[float, Field(gt=0)] = 0.8
    high: Annotated[float, Field(gt=0)] = 1.2
    memory: Annotated[int, Field(gt=0)] = 8 * GIB
    """Bytes of Hessians at a time."""
    packages: Annotated[int, Field(ge=1)] | None = None
    """This many packages of as many units each, whatever memory they take."""
    trajectory: Trajectory = "dense"
    """Whose denoising path gives the inputs: the dense denoiser's, recorded once, or that of the denoiser as
    it is so far, walked anew for each package as the published code does."""
    blocks: tuple[int, int] | None = None
    """(first, end): other blocks stay dense."""
    damping: Annotated[float, Field(ge=0)] = 0.01
    precision: Literal["float32", "float64"] = "float32"
    count_rule: Literal["official", "exact"] = "exact"
    """ "official" takes one weight more of every block of columns, and rounds heads layer by layer."""
    head_score: Literal["official", "exact"] = "official"
    compensate: bool = True
    block_size: Annotated[int, Field(ge=1)] = 128
    seed: int = 0
    """Of the method "random"."""

    @model_validator(mode="after")
    def _fits(self) -> "Order":
        group = self.group
        if group is not None:
            n, m = group
            if not 0 < n < m:
                raise ToolError(f"{self.pattern} is no pattern: it takes N of M weights out, with 0 < N < M")
            if "sparsity" not in self.model_fields_set:
                object.__setattr__(self, "sparsity", n / m)
            if abs(self.sparsity - n / m) > 1e-9:
                raise ToolError(
                    f"{self.pattern} takes {n / m:g} of the weights out, not {self.sparsity:g}: leave "
                    "sparsity out"
                )
        elif self.pattern not in ("unstructured", "structured"):
            raise ToolError(
                f"{self.pattern!r} is no pattern: use unstructured, structured, or N:M such as 2:4"
            )
        if not 0 < self.sparsity < 1:
            raise ToolError(f"sparsity is {self.sparsity:g}: use a share between 0 and 1, such as 0.3")
        known = ("obs", "l1", "random") if self.structured else ("obs", "wanda", "magnitude", "random")
        if self.method not in known:
            raise ToolError(
                f"{self.method!r} does not prune by the pattern {self.pattern}: use {', '.join(known)}"
            )
        if not self.compensate and not self.structured:
            raise ToolError(
                "compensate=False goes with structured alone: the sweep over single weights is it"
            )
        return self

    @property
    def structured(self) -> bool:
        """Whether whole neurons and heads go."""
        return self.pattern == "structured"

    @property
    def group(self) -> tuple[int, int] | None:
        """(N, M) of N:M."""
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        return (int(found[1]), int(found[2])) if found else None

    def told(self) -> str:
        """In a few words, such as "obs, 2:4"."""
        return tell(self.method, self.pattern, self.sparsity)


def tell(method: str, pattern: str, sparsity: float) -> str:
    """A pruning in a few words. N:M says its sparsity itself."""
    return f"{method}, {pattern}" + ("" if ":" in pattern else f" {sparsity * 100:g} %")


def parse_bytes(text: str) -> int:
    """Bytes of "8GiB", "512 MiB", "1000000".

    Raises:
        ToolError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]iB)?", text.strip())
    if not found or not float(found[1]):
        raise ToolError(f"{text!r} is no amount of memory: use 8GiB, 512MiB or a number of bytes")
    return int(float(found[1]) * _BYTES[found[2] or ""])
