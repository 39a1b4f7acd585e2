"""What every recipe shares: optimisers, averaging, checkpoints to the step, logs and a progress bar.

Knows nothing about pictures. A recipe gives a function from a step number to a loss; every random draw in it
comes from `generator(seed, step)`, so that a training that was stopped goes on exactly as if it had not been.
"""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from models.embedded.training.muon import GroupedMuon
from models.embedded.training.team import Team

Losses = Mapping[str, Tensor]


class ForeignTraining(ValueError):
    """A checkpoint of another part, profile or vocabulary than the training that wants to go on."""


IGNORED = -100
"""The class index of what has no word, such as the colour of a natural look; it teaches nothing."""


def generator(seed: int, step: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of one step, independent of all other steps, seeds and streams."""
    return np.random.default_rng((seed, step, stream))


def torch_generator(seed: int, step: int, stream: int = 0, device: str = "cpu") -> torch.Generator:
    """The same for torch. An accelerator that draws its own numbers does not wait for those of a CPU."""
    return torch.Generator(device).manual_seed(int(generator(seed, step, stream).integers(2**62)))


def uniform(noise: torch.Generator, *size: int) -> Tensor:
    """Numbers from 0 to 1, on the generator's device."""
    return torch.rand(size, generator=noise, device=noise.device)


def normal(noise: torch.Generator, *size: int) -> Tensor:
    """Normal numbers, on the generator's device."""
    return torch.randn(size, generator=noise, device=noise.device)


def mean_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of logits (N, classes), over those that are not IGNORED; 0 where all are.

    Nothing is asked of the device for that: who asks waits for it.
    """
    told = (wanted != IGNORED).sum().clamp(min=1)
    return F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum") / told


class Average:
    """An exponential moving average of a module's state, with a ramp so that early noise is forgotten.

    The decay at step n is min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def part(self, name: str) -> dict[str, Tensor]:
        """The state of the child module of this name."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value for key, value in self.state.items() if key.startswith(prefix)
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module as it is after `step`."""
        keep = min(self.decay, (1 + step) / (10 + step))
        state = module.state_dict()
        floats = [name for name, value in state.items() if value.is_floating_point()]
        ours, theirs = [self.state[name] for name in floats], [state[name] for name in floats]
        # One launch for all: an accelerator has done each of hundreds long before the next is asked for.
        torch._foreach_lerp_(ours, theirs, 1 - keep)  # pyright: ignore[reportPrivateUsage]
        for name in state.keys() - set(floats):
            self.state[name].copy_(state[name])


def optimisers(
    module: nn.Module,
    rate: float,
    muon_rate: float | None = None,
    slow: Iterable[str] = (),
    *,
    kernels: bool = False,
) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for hidden matrices and AdamW for the rest.

    Args:
        module: what is trained.
        rate: learning rate of AdamW.
        muon_rate: learning rate of Muon, scaled to AdamW's update size (None: AdamW alone).
        slow: name fragments of matrices that stay with AdamW (inputs, outputs, embeddings).
        kernels: Muon for the kernels of convolutions too, as matrices of outputs by all that an output reads.
    """
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim == 2 or (kernels and parameter.ndim == 4)
        muon = muon_rate is not None and matrix and not any(part in name for part in slow)
        (hidden if muon else rest).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    ]
    if hidden and muon_rate is not None:
        made.append(GroupedMuon(hidden, lr=muon_rate))
    return made


def schedule(step: int, steps: int, warmup: int = 100, decay: float = 0.4) -> float:
    """Warm up linearly, hold, then fall linearly to 2 % over the last `decay` share of the steps."""
    if step < warmup:
        return (step + 1) / warmup
    start = steps * (1 - decay)
    return 1.0 if step < start else max(0.02, (steps - step) / max(1.0, steps - start))


class Training:
    """A module in training: what `run` needs, and what a checkpoint holds.

    In a team every process makes one of these of the same module. They share the gradients of each step, and
    the one that leads writes the files.
    """

    def __init__(
        self,
        module: nn.Module,
        optimisers: list[torch.optim.Optimizer],
        out: Path,
        *,
        decay: float = 0.998,
        clip: float = 1.0,
    ) -> None:
        self.module = module
        self.optimisers = optimisers
        self.average = Average(module, decay)
        self.out = out
        self.clip = clip
        self.step = 0
        self.seconds = 0.0
        self.team = Team.here()
        self.rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]

    @property
    def checkpoint(self) -> Path:
        """Where the training is kept."""
        return self.out / "training.pt"

    def save(self) -> None:
        """Write everything needed to go on, to a temporary name and then into place."""
        self.out.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_suffix(f".{os.getpid()}")
        torch.save(
            {
                "step": self.step,
                "seconds": self.seconds,
                "module": self.module.state_dict(),
                "average": self.average.state,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            },
            temporary,
        )
        os.replace(temporary, self.checkpoint)

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`, if there is one.

        Raises:
            ForeignTraining: it is of a module of other sizes.
        """
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        try:
            self.module.load_state_dict(state["module"])
        except RuntimeError as error:
            raise ForeignTraining(
                f"{self.checkpoint} is the training of another part, profile or vocabulary: "
                "delete it, or train in another --out"
            ) from error
        self.average.state = {
            name: value.to(self.average.state[name].device) for name, value in state["average"].items()
        }
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = int(state["step"]), float(state.get("seconds", 0.0))
        return True

    def spent(self, steps: int, minutes: float | None) -> int:
        """How many of `steps` are done, or the share of them that the time spent is of `minutes`."""
        return self.step if minutes is None else int(steps * self.seconds / (60 * minutes))

    def ended(self, steps: int, minutes: float | None = None) -> bool:
        """Whether all steps are done, or all the time is spent."""
        return self.spent(steps, minutes) >= steps

    def load_average(self) -> nn.Module:
        """Put the averaged weights into the module (training cannot go on after this) and return it."""
        self.module.load_state_dict(self.average.state)
        return self.module.eval()

    def run(
        self,
        steps: int,
        loss_at: Callable[[int], Losses],
        *,
        rate_at: Callable[[int], float],
        minutes: float | None = None,
        every: int = 500,
        look: Callable[[int], Mapping[str, float]] | None = None,
        look_every: int = 0,
        console: Console | None = None,
    ) -> None:
        """Train from the current step to `steps`.

        Args:
            steps: where to stop.
            loss_at: the losses by name, whose sum is minimised, on the pictures of one draw. Draws are
                numbered: alone, step n takes draw n; in a team of k its member r takes draw k n + r.
            rate_at: the factor on every learning rate at a step.
            minutes: end after so much time in all, at whatever step that is: learning rates follow the share
                of the time that is spent, as if it were that share of `steps`.
            every: steps between checkpoints, each with a line in the log.
            look: measures the average weights for the log.
            look_every: steps between looks, a multiple of `every` (0: at every checkpoint). The last step is
                always looked at.
            console: where progress goes; the log itself is `out/log.jsonl`.

        Ctrl-C and SIGTERM end the run after the current step, with a checkpoint.
        """
        stopping = False

        def stop(_signal: int, _frame: FrameType | None) -> None:
            nonlocal stopping
            stopping = True

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        self.out.mkdir(parents=True, exist_ok=True)
        sums: dict[str, Tensor] = {}
        since, began, ended = self.step, time.monotonic(), False
        started = began - self.seconds

        def spent() -> int:
            return self.spent(steps, minutes)

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = console or Console(stderr=True, quiet=not self.team.leads)
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(self.out.name, total=steps, completed=self.step)
            while spent() < steps and not ended:
                for name, value in self._advance(loss_at, rate_at(spent())).items():
                    sums[name] = sums[name] + value if name in sums else value
                ended, self.seconds = self.team.agree(stopping, time.monotonic() - started)
                progress.update(task, completed=spent())
                done = spent() >= steps
                if self.team.leads and (self.step % every == 0 or done or ended):
                    count = self.step - since
                    row = {name: round(float(total) / count, 5) for name, total in sums.items()}
                    self._check(sum(row.values()))
                    row["seconds_per_step"] = round((time.monotonic() - began) / count, 4)
                    self.save()
                    due = self.step % (look_every or every) == 0 or done
                    measured = look(self.step) if look and due else {}
                    self._log(row | {f"held_out_{name}": round(value, 5) for name, value in measured.items()})
                    sums, since, began = {}, self.step, time.monotonic()
        for number, handler in previous.items():
            signal.signal(number, handler)
        if ended and spent() < steps:
            told = f"{self.out.name}: stopped at step {self.step} of {steps}; --resume goes on from there"
            console.print(told, soft_wrap=True)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.step}: lower the learning rate")

    def _advance(self, loss_at: Callable[[int], Losses], factor: float) -> dict[str, Tensor]:
        self.module.train()
        losses = loss_at(self.step * self.team.size + self.team.rank)
        total = torch.stack(list(losses.values())).sum()
        if total.device.type == "cpu":  # an accelerator would be waited for: its sums are checked later
            self._check(float(total.detach()))
        for optimiser, rates in zip(self.optimisers, self.rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimiser.zero_grad(set_to_none=True)
        total.backward()
        self.team.average_gradients(self.module.parameters())
        nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        for optimiser in self.optimisers:
            optimiser.step()
        self.average.update(self.module, self.step)
        self.step += 1
        return {name: value.detach().double() for name, value in losses.items()}

    def _log(self, row: Mapping[str, float]) -> None:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, "time": round(time.time())} | dict(row)) + "\n")
