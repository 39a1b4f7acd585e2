"""The command `runs prune`: forgets the steps of ended runs. Pictures, results and journals stay."""

import asyncio
import json

from graphs.request import ENDED
from graphs.run import Home
from memory.checkpoints import prune
from memory.ledger import RunBusy
from serving.configuration import configure
from serving.runs import open_home


def prune_runs(as_json: bool) -> int:
    """Keep of every ended run its last checkpoint alone: enough to show and replay it, not to go back in it.

    Raises:
        StoreError: the ledger or the checkpoints cannot be read.
    """
    with open_home(configure()) as home:
        before = _size(home)
        on_disk = home.ledger.url is None
        there = home.checkpoints.exists() or not on_disk
        runs, steps = asyncio.run(_prune(home)) if there else (0, 0)
        freed = before - _size(home)
    if as_json:
        print(json.dumps({"runs": runs, "steps": steps, "bytes": freed}))
    else:
        given_back = f"{freed / 2**20:.1f} MiB given back" if on_disk else "their space is Postgres's to use"
        print(f"forgot {steps} steps of {runs} ended runs: {given_back}")
    return 0


async def _prune(home: Home) -> tuple[int, int]:
    """Runs that had steps to forget, and how many steps those were. A run that somebody works on is left."""
    runs = steps = 0
    async with home.open_checkpointer() as saver:
        for status in ENDED:
            for run in home.ledger.list(limit=-1, status=status):
                try:
                    with home.ledger.lease(run.run_id):
                        gone = await prune(saver, run.run_id)
                except RunBusy:
                    continue
                runs += gone > 0
                steps += gone
    return runs, steps


def _size(home: Home) -> int:
    """Bytes of the file of checkpoints; a server tells nothing, for it keeps what is freed."""
    return home.checkpoints.stat().st_size if home.checkpoints.exists() else 0
