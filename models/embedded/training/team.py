"""Processes that train one module together: each draws a share of every step's pictures, and all make the
same step.

Two cores train nearly twice as fast as one this way. Two threads of one process do not: on busy cores they
were 5 to 35 times slower than one.
"""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Team:
    """This process among those that train together: number `rank` of `size`. One process is a team too."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> "Team":
        """The team that this process was started in by `train_together`, else itself alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and shows the progress of all."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the mean over the team."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joined)
        shares = (joined / self.size).split([gradient.numel() for gradient in gradients])
        for gradient, share in zip(gradients, shares, strict=True):
            gradient.copy_(share.view_as(gradient))

    def agree(self, wish: bool, seconds: float) -> tuple[bool, float]:
        """True for all as soon as it is for one, and the longest time that one has spent.

        Who stopped alone, by a signal or by a clock that began earlier, would leave the others waiting.
        """
        if self.size == 1:
            return wish, seconds
        votes: Tensor = torch.tensor([float(wish), seconds], dtype=torch.float64)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes[0].item()), float(votes[1].item())

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            dist.barrier()


def train_together(processes: int, work: Callable[[], object]) -> None:
    """Run `work`, which must pickle, in `processes` processes with one thread each that form a team.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of them failed; the others were ended.
    """
    if processes == 1:
        work()
        return
    with TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_join, (processes, Path(folder) / "meeting", work), nprocs=processes)


def _join(rank: int, size: int, meeting: Path, work: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=size)
    try:
        work()
        Team.here().wait()
    finally:
        dist.destroy_process_group()
    # Python 3.11 ends threads that ask for its lock while it shuts down, and a thread of gloo's then takes
    # the process with it (SIGABRT, seen once in some hundred teams): all is written, so nothing shuts down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
