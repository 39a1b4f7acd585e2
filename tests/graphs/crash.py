"""Runs one refinement, has its process killed at named points (`*` is any round), and resumes it:
`crash.py FOLDER PLACES`, where PLACES is a JSON object: for each point the place of its ledger.

Prints a JSON object: for each point (and for "whole", a run that nobody killed) the signal that ended the
first process, and the pictures of the run once another process had finished it. Every run has a process of
its own; they are forked before anything has started a thread, so that the imports are paid once.
"""

import asyncio
import json
import os
import signal
import sys
from fnmatch import fnmatchcase
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from conftest import open_studio  # noqa: E402

from graphs.request import Budget, RefineRequest  # noqa: E402
from graphs.run import Home, load_state, refine, resume  # noqa: E402
from tests.ledgers import open_ledger  # noqa: E402

REQUEST = RefineRequest(
    prompt="a photo of a red cube left of two blue spheres", satisfied_at=5.0, budget=Budget(pictures=9)
)


async def work(root: Path, place: str, point: str, *, again: bool) -> None:
    """Begin the run, or go on with it; at `point` the process kills itself."""

    def crash_at(here: str) -> None:
        if fnmatchcase(here, point):
            os.kill(os.getpid(), signal.SIGKILL)

    with open_ledger(place) as ledger:
        home = Home(root, ledger)
        studio = open_studio(home, crash_at=crash_at)
        if again:
            assert [run.run_id for run in ledger.interrupted()] == ["crash"]
            await resume("crash", studio, home)
        else:
            await refine(REQUEST, studio, home, run_id="crash")
        state = await load_state("crash", home)
        pictures = [[candidate.prompt, view.seed, view.picture.sha256] for candidate, view in state.views]
        told = {
            "pictures": pictures,
            "status": ledger.get("crash").status,
            "episodes": studio.episodes.count(),
        }
        (root / "told.json").write_text(json.dumps(told))
        await studio.executor.close()
        studio.episodes.close()


def in_a_process(root: Path, place: str, point: str, *, again: bool) -> int:
    """The signal that ended the process, 0 if it ended well."""
    child = os.fork()
    if child == 0:
        asyncio.run(work(root, place, point, again=again))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{point}: exit {status}"
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(folder: Path, places: dict[str, str]) -> None:
    """Tell how each point went."""
    told = {}
    for point, place in places.items():
        root = folder / point.replace(":", "-").replace("*", "any")
        root.mkdir(parents=True)
        killed = in_a_process(root, place, point, again=False)
        if killed:
            assert in_a_process(root, place, "", again=True) == 0
        told[point] = {"killed": killed, **json.loads((root / "told.json").read_text())}
    print(json.dumps(told))


main(Path(sys.argv[1]), json.loads(sys.argv[2]))
