"""How much each denoising step counts in calibration (OBS-Diff, "timestep-aware Hessian")."""

import math
from typing import Literal, get_args

from models.tool import ToolError

Schedule = Literal["uniform", "linear_increase", "linear_decrease", "log_increase", "log_decrease"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


def timestep_weights(
    num_steps: int, schedule: Schedule = "log_decrease", low: float = 0.8, high: float = 1.2
) -> tuple[float, ...]:
    """A weight for each denoising step, the first one (the most noise) first.

    With i = 0..T-1: linear_increase is low + (high - low) i / (T - 1), log_increase is
    low + (high - low) ln(1 + i) / ln T, and the decreasing ones are those reversed; the paper uses
    log_decrease. Only their ratios matter. A single step weighs 1.

    Raises:
        ToolError: the schedule is unknown, there is no step, or a bound is not positive.
    """
    if schedule not in SCHEDULES:
        raise ToolError(f"no timestep schedule is called {schedule!r}: use one of {', '.join(SCHEDULES)}")
    if num_steps < 1 or low <= 0 or high < low:
        raise ToolError(
            f"{num_steps} steps cannot be weighted from {low} to {high}: use at least one step and "
            "0 < low <= high"
        )
    if schedule == "uniform" or num_steps == 1:
        return (1.0,) * num_steps
    last = num_steps - 1
    rising = [
        low + (high - low) * (i / last if "linear" in schedule else math.log(1 + i) / math.log(num_steps))
        for i in range(num_steps)
    ]
    return tuple(rising if "increase" in schedule else reversed(rising))
