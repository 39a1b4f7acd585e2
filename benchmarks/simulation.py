"""A discrete-event model of refinements that share painters and minds: what takes how long at any size.

Runs follow traces of real ones (`benchmarks/traces.py`). Pictures, and calls that a device answers, wait in
one queue in front of the device workers, which batch as `models/batch_queue.py` does: the oldest request with
its mates, as many as a batch takes, shared evenly among idle workers. Calls to an endpoint wait for one of
its places. The graph's own work takes turns, as Python's interpreter lock makes it. Knows no real model.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import simpy

from benchmarks.traces import Paint, Think, Trace

PAINT = "paint"
"""The kind of job on a device that paints."""
Wait = Generator[Any, Any, None]


@dataclass(frozen=True, slots=True)
class Batches:
    """Seconds of a batch on a device: its first request, and each further one; at most `most` of them."""

    first: float
    further: float
    most: int

    def seconds(self, size: int) -> float:
        """Of a batch of `size`."""
        return self.first + self.further * (size - 1)


@dataclass(frozen=True, slots=True)
class World:
    """What runs share.

    `devices` has the kinds of jobs of each worker, for example `(("paint",), ("look",))`. `calls` has the
    seconds of a call to the endpoint by role, or the kind of job on a device that it is; a role that stands
    nowhere takes no time. `places` is how many calls the endpoint answers at once, `overhead` what the graph
    itself works for each of its nodes, in seconds, `interpreters` how many can do so at once.
    """

    devices: tuple[tuple[str, ...], ...]
    batches: Mapping[str, Batches]
    calls: Mapping[str, float | str] = field(default_factory=dict[str, float | str])
    places: int = 10**9
    overhead: float = 0.0
    interpreters: int = 1
    patience: float = 0.01 / 3
    """Seconds that an idle worker waits for batch mates."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds of each run from its arrival to its end, in order of arrival; seconds until the last had ended;
    share of the time that each worker was busy; mean size of the batches that painted.
    """

    latencies: tuple[float, ...]
    seconds: float
    busy: tuple[float, ...]
    batch: float


class Simulation:
    """One world and its clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = simpy.Environment()
        # simpy tells only part of its types.
        self._places: Any = simpy.Resource(self._clock, world.places)
        self._turns: Any = simpy.Resource(self._clock, world.interpreters)
        self._waiting: dict[str, list[tuple[float, int, simpy.Event]]] = {kind: [] for kind in world.batches}
        self._idle: dict[int, simpy.Event] = {}
        self._busy = [0.0] * len(world.devices)
        self._sizes: list[int] = []
        self._number = 0

    def run(self, arrivals: Sequence[tuple[float, Trace]]) -> Outcome:
        """Let runs arrive at these seconds, and wait for the last."""
        latencies = [0.0] * len(arrivals)
        for index, kinds in enumerate(self._world.devices):
            self._clock.process(self._work(index, kinds))
        runs = [
            self._clock.process(self._refine(number, at, trace, latencies))
            for number, (at, trace) in enumerate(arrivals)
        ]
        self._clock.run(simpy.AllOf(self._clock, runs))
        seconds = self._clock.now
        return Outcome(
            tuple(latencies),
            seconds,
            tuple(busy / seconds for busy in self._busy),
            sum(self._sizes) / max(1, len(self._sizes)),
        )

    def _refine(self, number: int, at: float, trace: Trace, latencies: list[float]) -> Wait:
        yield self._clock.timeout(at)
        for step in trace:
            if isinstance(step, Paint):
                yield from self._overhead(1)
                yield simpy.AllOf(self._clock, [self._ask_device(PAINT) for _ in range(step.pictures)])
            else:
                yield from self._think(step)
        latencies[number] = self._clock.now - at

    def _think(self, step: Think) -> Wait:
        yield from self._overhead(step.nodes)
        chains = [self._clock.process(self._chain(chain)) for chain in step.chains]
        if chains:
            yield simpy.AllOf(self._clock, chains)

    def _overhead(self, nodes: int) -> Wait:
        if self._world.overhead:
            with self._turns.request() as turn:
                yield turn
                yield self._clock.timeout(self._world.overhead * nodes)

    def _chain(self, roles: Sequence[str]) -> Wait:
        for role in roles:
            cost = self._world.calls.get(role, 0.0)
            if isinstance(cost, str):
                yield self._ask_device(cost)
            elif cost:
                with self._places.request() as place:
                    yield place
                    yield self._clock.timeout(cost)

    def _ask_device(self, kind: str) -> simpy.Event:
        self._number += 1
        done = self._clock.event()
        self._waiting[kind].append((self._clock.now, self._number, done))
        for index, wake in list(self._idle.items()):
            if kind in self._world.devices[index] and not wake.triggered:
                wake.succeed()
        return done

    def _work(self, index: int, kinds: tuple[str, ...]) -> Wait:
        while True:
            self._idle[index] = self._clock.event()
            while not any(self._waiting[kind] for kind in kinds):
                yield self._idle[index]
                yield self._clock.timeout(self._world.patience)
                self._idle[index] = self._clock.event()
            kind = min((kind for kind in kinds if self._waiting[kind]), key=lambda k: self._waiting[k][0][:2])
            waiting, batches = self._waiting[kind], self._world.batches[kind]
            sharers = sum(kind in self._world.devices[other] for other in self._idle)
            size = min(batches.most, ceil(len(waiting) / sharers))
            taken, self._waiting[kind] = waiting[:size], waiting[size:]
            del self._idle[index]
            seconds = batches.seconds(size)
            yield self._clock.timeout(seconds)
            self._busy[index] += seconds
            if kind == PAINT:
                self._sizes.append(size)
            for _, _, done in taken:
                done.succeed()
