"""Programs whose values the host computes: what their launches would cost is worked out beside it.

In: calls, and the host's results. Out: the same results. The launches are those that a program with
values of its own would make; `auto` says which of them are simulated.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from onewafer.execution import Origin, Phase
from onewafer.graph import num_samples
from onewafer.mesh import Launch
from onewafer.pytorch.host_outputs import HostOutputs
from onewafer.pytorch.programs import (
    SentParameters,
    count_samples,
    cut_into_buckets,
    flop_of_tokens,
    phase_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.execution import Arrays, AutoExecutor, FinitenessCheck, ProgramRecord
    from onewafer.graph import Graph
    from onewafer.pytorch.capture import CapturedCall
    from onewafer.pytorch.programs import Observer


@dataclass(frozen=True, slots=True)
class Followed:
    """A program that is ready to be followed, and who wants to know of it."""

    executor: AutoExecutor
    record: ProgramRecord
    check: FinitenessCheck
    what: str
    """The program's name in messages to the user."""
    observer: Observer | None


class FollowedProgram:
    """A program of which some launches are simulated, checked, and all counted."""

    def __init__(self, followed: Followed) -> None:
        self._executor = followed.executor
        self._record = followed.record
        self._check = followed.check
        self._what = followed.what
        self._observer = followed.observer
        self._launched: list[tuple[Launch | None, Origin]] = []

    def _send(self, parameters: Arrays) -> None:
        self._executor.send(parameters)
        self._check.send(parameters)

    def _follow(self, inputs: Arrays, launch: Launch | None, host: Callable[[], Arrays]) -> None:
        """Account for a launch; `host` gives the rows of its outputs that the host has."""
        try:
            origin = self._account(inputs, launch, host)
        except BaseException:
            self._launched.clear()  # of a call that is not answered
            raise
        self._launched.append((launch, origin))
        self._update_record()

    def _account(self, inputs: Arrays, launch: Launch | None, host: Callable[[], Arrays]) -> Origin:
        """Return the origin of a launch's cycles; simulate the launch first if that is needed."""
        executor = self._executor
        executor.note(inputs, launch)
        self._check.note(inputs, launch)
        origin = executor.find(launch)
        if origin is not Origin.SIMULATED:
            return origin
        if not self._compile():
            return executor.give_up(launch)
        is_over = self._simulate(inputs, launch, host())
        return origin if is_over else executor.give_up(launch)

    def _compile(self) -> bool:
        executor, observer = self._executor, self._observer
        if executor.is_compiled or observer is None:
            return executor.compile()
        with observer.compiling(self._what):
            return executor.compile()

    def _simulate(self, inputs: Arrays, launch: Launch | None, host: Arrays) -> bool:
        """Simulate a launch; return whether it came to its end within the limits."""
        observer, expected = self._observer, self._executor.times.expect(launch)
        with observer.simulating(self._what, expected) if observer else nullcontext() as watcher:
            outputs = self._executor.simulate(inputs, launch, host=host, observer=watcher)
        if outputs is None:
            return False
        self._check.look(outputs)
        return True

    def _update_record(self) -> None:
        record, executor = self._record, self._executor
        record.bytes_in, record.bytes_out = executor.bytes_in, executor.bytes_out
        record.engine = executor.engine
        record.memory = executor.memory
        record.num_tile_programs = executor.num_tile_programs
        record.agreement = executor.agreement
        record.not_simulated = executor.not_simulated

    def _count_call(self, phase: Phase, rows: int, flop: int) -> None:
        """Count a call with the launches since the last one."""
        self._record.count_followed(phase, rows, self._launched)
        self._record.flop += flop
        self._launched.clear()


class FollowedSequence(FollowedProgram):
    """A language model that would remember a sequence on the wafer."""

    def send(self, parameters: Arrays) -> None:
        """Take parameters."""
        self._send(parameters)
        self._record.parameters_sent += len(parameters)

    def run(self, inputs: Arrays, start: int, num_rows: int, host: Arrays | None) -> Arrays:
        """Account for a launch of the first rows of the inputs; return what the host has of it."""
        found = host or {}
        self._follow(inputs, Launch(start, num_rows), lambda: found)
        return found

    def finish(self, num_tokens: int, asked: range) -> None:
        """Count a call, the tokens that it launched, and the positions that it asked for."""
        launch, _ = self._launched[-1]
        flop = flop_of_tokens(self._record.program.graph, asked)
        self._count_call(phase_of(launch, num_tokens), num_tokens, flop)


class FollowedModule(FollowedProgram):
    """A program with the parameters that it would hold on the wafer."""

    def __init__(self, followed: Followed) -> None:
        super().__init__(followed)
        self._parameters = SentParameters(followed.record)

    @property
    def graph(self) -> Graph:
        """What it computes, with the rows of its bucket."""
        return self._record.program.graph

    def run(self, call: CapturedCall, on_host: Callable[[], object]) -> object:
        """Return the host's result, and account for the launches that would give it."""
        result = on_host()
        host = HostOutputs(call, result)
        program = self._record.program
        launch = program.whole_launch() if self.graph.is_sequence else None
        first = 0
        for part in call.split():
            self._send(self._parameters.changed(part))
            for bucket in cut_into_buckets(part, self.graph):
                start, count = first + bucket.samples.start, len(bucket.samples)
                self._follow(bucket.inputs, launch, partial(host.samples, start, count))
            first += num_samples(part.graph)
        self._count_call(Phase.BATCH, count_samples(call), call.capture.flop)
        return result
