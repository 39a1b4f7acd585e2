"""The event model's arithmetic on runs small enough to reckon by hand, and its traces on real ones."""

from pathlib import Path

import pytest

from benchmarks.simulation import Batches, Simulation, World
from benchmarks.synthetic import PROMPT, Latency, SleepingMind, SleepingPainter
from benchmarks.traces import Paint, Think, record
from graphs.context import Studio
from graphs.request import Budget, RefineRequest
from graphs.run import Home, load_state
from memory.artifacts import Artifacts
from memory.ledger import Ledger
from models.executor import LocalExecutor

SLOW = {"paint": Batches(first=1.0, further=0.25, most=8)}
CLOSE = pytest.approx


def run(world: World, *traces: tuple[Paint | Think, ...], at: float = 0.0) -> list[float]:
    return list(Simulation(world).run([(at, trace) for trace in traces]).latencies)


def test_a_batch_costs_its_first_picture_and_the_further_ones() -> None:
    world = World(devices=(("paint",),), batches=SLOW, patience=0.0)
    assert run(world, (Paint(1),)) == CLOSE([1.0])
    assert run(world, (Paint(8),)) == CLOSE([2.75])
    assert run(world, (Paint(9),)) == CLOSE([3.75])
    assert run(world, (Paint(1), Paint(1)), at=5.0) == CLOSE([2.0])


def test_runs_share_a_batch_and_idle_workers_share_the_pictures() -> None:
    one = World(devices=(("paint",),), batches=SLOW, patience=0.01)
    assert run(one, (Paint(4),), (Paint(4),)) == CLOSE([2.76, 2.76])
    two = World(devices=(("paint",), ("paint",)), batches=SLOW, patience=0.01)
    assert run(two, (Paint(8),)) == CLOSE([1.76])


def test_calls_run_side_by_side_as_far_as_there_are_places() -> None:
    chains = (("answer", "rate"),) * 4
    for places, seconds in ((8, 1.0), (4, 1.0), (2, 2.0), (1, 4.0)):
        world = World(devices=(), batches={}, calls={"answer": 0.5, "rate": 0.5}, places=places)
        assert run(world, (Think(chains, nodes=4),)) == CLOSE([seconds])


def test_a_role_may_be_a_device_s_work_or_cost_nothing() -> None:
    batches = SLOW | {"look": Batches(first=0.5, further=0.1, most=16)}
    world = World(devices=(("paint", "look"),), batches=batches, calls={"answer": "look"}, patience=0.0)
    trace = (Paint(2), Think((("answer", "rate"),) * 2, nodes=2))
    assert run(world, trace) == CLOSE([1.25 + 0.6])


def test_the_graphs_own_work_takes_turns() -> None:
    world = World(devices=(), batches={}, overhead=0.1)
    assert run(world, (Think((), nodes=3),), (Think((), nodes=3),)) == CLOSE([0.3, 0.6])
    aside = World(devices=(), batches={}, overhead=0.1, interpreters=2)
    assert run(aside, (Think((), nodes=3),), (Think((), nodes=3),)) == CLOSE([0.3, 0.3])


def test_workers_tell_how_busy_they_were() -> None:
    world = World(devices=(("paint",),), batches=SLOW, patience=0.0)
    outcome = Simulation(world).run([(0.0, (Paint(8),)), (4.0, (Paint(8),))])
    assert outcome.seconds == CLOSE(6.75) and outcome.busy == CLOSE((5.5 / 6.75,)) and outcome.batch == 8


async def test_a_trace_holds_every_picture_and_call_of_its_run(tmp_path: Path) -> None:
    latency = Latency(0.0, 0.0, 0.0)
    mind, artifacts = SleepingMind(latency), Artifacts(tmp_path / "artifacts")
    request = RefineRequest(prompt=PROMPT, candidates=5, budget=Budget(pictures=20))
    with Ledger(tmp_path / "ledger.db") as ledger:
        home = Home(tmp_path, ledger)
        async with LocalExecutor([SleepingPainter(latency)], artifacts, devices=("cpu",)) as executor:
            studio = Studio(executor=executor, artifacts=artifacts, mind=mind, patterns=("there_is",))
            trace = await record(request, studio, home)
        state = await load_state(ledger.list()[0].run_id, home)
    pictures = [step.pictures for step in trace if isinstance(step, Paint)]
    assert sum(pictures) == len(state.views) == 20 and pictures[:3] == [1, 5, 3]
    asked = [role for step in trace if isinstance(step, Think) for chain in step.chains for role in chain]
    assert {role: asked.count(role) for role in set(asked)} == mind.calls
