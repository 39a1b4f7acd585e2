"""What a linear layer was fed in calibration, as the Hessian of its squared output error.

For y = x W^T the error of a changed W is 1/2 tr(dW H dW^T) with H = (2 / S) sum_t a_t X_t^T X_t, where a_t is
the weight of denoising step t and S the weighted number of samples (OBS-Diff, timestep-aware Hessian).
"""

from typing import Any

import torch

from models.tool import ToolError

CHUNK = 4096
"""Rows of inputs that are converted and multiplied at a time."""
STRIP = 128
"""Rows of the Hessian that are summed up at a time, from the diagonal on: the rest is their mirror image."""


class NeverRan(ToolError):
    """A layer that was to be pruned got no inputs in calibration, so nothing is known about it."""


class LayerHessian:
    """Accumulates one layer's Hessian. Layers with the same input, such as q, k and v, share one."""

    def __init__(
        self,
        in_features: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        name: str = "",
    ) -> None:
        """`name` is what messages call the layer."""
        self.in_features = in_features
        self.name = name or f"a layer with {in_features} inputs"
        self.samples = 0.0
        """The weighted number of samples so far."""
        self._sum = torch.zeros(in_features, in_features, dtype=dtype, device=device)

    def update(self, inputs: torch.Tensor, weight: float = 1.0) -> None:
        """Take in the inputs of one call, (..., in_features); all but the last two axes count samples.

        Raises:
            ToolError: the inputs have another width, or NaN or infinite values.
        """
        if inputs.shape[-1] != self.in_features:
            raise ToolError(
                f"{self.name} takes {self.in_features} inputs and was fed {inputs.shape[-1]}: "
                "a Hessian belongs to one layer"
            )
        tokens = inputs.reshape(-1, self.in_features)
        for start in range(0, len(tokens), CHUNK):
            # Converted before it is weighted: a_t in half precision would cost digits.
            part = tokens[start : start + CHUNK].to(self._sum)
            for row in range(0, self.in_features, STRIP):
                strip = self._sum[row : row + STRIP, row:]
                strip.addmm_(part[:, row : row + STRIP].T, part[:, row:], alpha=weight)
        if not bool(torch.isfinite(self._sum.diagonal()).all()):
            raise ToolError(
                f"{self.name} was fed NaN or infinite values: calibrate in fp32 or bf16, or with other "
                "prompts"
            )
        self.samples += weight * (inputs.shape[:-2].numel() if inputs.ndim > 2 else 1)

    @property
    def matrix_bytes(self) -> int:
        """What it takes in memory."""
        return self._sum.nbytes

    @property
    def matrix(self) -> torch.Tensor:
        """H, (in_features, in_features).

        Raises:
            NeverRan: no inputs came.
        """
        if not self.samples:
            raise NeverRan(
                f"{self.name} got no inputs in calibration: leave it out, or calibrate with what runs it"
            )
        upper = self._sum.triu() * (2 / self.samples)
        return upper + upper.triu(1).T

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes, to go on in another process."""
        return {"sum": self._sum, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another one was."""
        self._sum.copy_(state["sum"])
        self.samples = state["samples"]
