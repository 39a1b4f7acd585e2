"""A damped Hessian and its inverse, which OBS takes all its numbers from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.tool import ToolError

_LOG = logging.getLogger(__name__)
RETRIES = 4
"""Times that the damping is raised tenfold before it is given up."""


@dataclass(frozen=True, slots=True)
class Inverse:
    """H^-1 of a damped Hessian, (n, n), and its upper Cholesky factor U with H^-1 = U^T U; which inputs were
    always zero; the damping that it took, as a share of the mean of the diagonal.
    """

    matrix: torch.Tensor
    factor: torch.Tensor
    dead: torch.Tensor
    damping: float


def invert(hessian: torch.Tensor, damping: float = 0.01, name: str = "a layer") -> Inverse:
    """Damp and invert. Inputs that never were anything but zero get a one on the diagonal.

    Where the damped matrix is not positive definite in its precision, the damping is raised, which is logged.

    Raises:
        ToolError: no damping helped.
    """
    dead = hessian.diagonal() == 0
    damped = hessian.clone()
    damped[dead, dead] = 1
    mean = float(damped.diagonal().mean())
    tried = damping
    for _ in range(RETRIES + 1):
        attempt = damped.clone()
        attempt.diagonal().add_(tried * mean)
        lower, failed = torch.linalg.cholesky_ex(attempt)
        if not int(failed):
            inverse = torch.cholesky_inverse(lower)
            upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
            if not int(failed):
                if tried != damping:
                    _LOG.warning("%s needed a damping of %g instead of %g", name, tried, damping)
                return Inverse(inverse, upper, dead, tried)
        tried = max(10 * tried, 1e-6)
    raise ToolError(
        f"the Hessian of {name} cannot be inverted with any damping up to {tried / 10:g}: calibrate with "
        "more prompts, or in float64"
    )


def downdate(inverse: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """Change P = H^-1 into what it is once the inputs `removed` (indices) are gone, in place:
    P <- P - P[:, Q] P_QQ^-1 P[Q, :], rows and columns Q zero with a one on the diagonal.

    Equal to inverting the smaller Hessian anew, at a fraction of the cost. Returns P_QQ^-1 P[Q, :] of before,
    (removed, n), which is also how the weights that are left make up for W[:, Q].
    """
    shares = torch.linalg.solve(inverse[removed][:, removed], inverse[removed])
    inverse -= inverse[:, removed] @ shares
    inverse[removed, :] = 0
    inverse[:, removed] = 0
    inverse[removed, removed] = 1
    return shares


def relative_error(weight: torch.Tensor, changed: torch.Tensor, hessian: torch.Tensor) -> float:
    """Squared output error of changed weights (out, in) against the squared output,
    tr(dW H dW^T) / tr(W H W^T).
    """
    return relative_errors(weight, (changed,), hessian)[0]


def relative_errors(
    weight: torch.Tensor, changed: Sequence[torch.Tensor], hessian: torch.Tensor
) -> list[float]:
    """`relative_error` of several changes of the same weights, with products in the Hessian's precision."""
    weight = weight.to(hessian)

    def square(matrix: torch.Tensor) -> float:
        return float(((matrix @ hessian) * matrix).sum(dtype=torch.float64))

    base = square(weight)
    return [square(one.to(hessian) - weight) / base if base else 0.0 for one in changed]
