"""Programs on the wafer: launches that are watched, checked and counted.

A call of a module is launches of its program's bucket, a call that goes on with a sequence those of
its tokens. Parameters are sent again where they have changed. Values come from the executor here,
from the host in `followed`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onewafer.execution import Phase, convert, is_same
from onewafer.graph import num_samples, with_rows
from onewafer.mesh import Launch
from onewafer.pytorch.arrays import to_numpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from onewafer.execution import Activity, Arrays, Executor, FinitenessCheck, ProgramRecord
    from onewafer.graph import Graph
    from onewafer.host import RunObserver
    from onewafer.pytorch.capture import CapturedCall


class Observer(Protocol):
    """An observer of long work, for example a progress line."""

    def compiling(self, what: str) -> AbstractContextManager[object]:
        """Enter while a program is compiled."""
        ...

    def simulating(self, what: str, expected_cycles: int) -> AbstractContextManager[RunObserver]:
        """Enter while a launch runs; the value watches it."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """A program that can be launched, and who wants to know of it."""

    executor: Executor
    record: ProgramRecord
    check: FinitenessCheck
    what: str
    """The program's name in messages to the user."""
    observer: Observer | None


class LaunchedProgram:
    """A program whose launches are watched, checked and counted."""

    def __init__(self, compiled: CompiledProgram) -> None:
        self._executor = compiled.executor
        self._record = compiled.record
        self._check = compiled.check
        self._what = compiled.what
        self._observer = compiled.observer
        self._launched: list[tuple[Launch | None, Activity]] = []

    def _send(self, parameters: Arrays) -> None:
        self._executor.send(parameters)
        self._check.send(parameters)

    def _launch(self, inputs: Arrays, launch: Launch | None) -> Arrays:
        observer, expected = self._observer, self._executor.expect(launch)
        try:
            with (
                observer.simulating(self._what, expected) if observer else nullcontext() as watcher
            ):
                outputs, activity = self._executor.run(inputs, watcher, launch)
        except BaseException:
            self._launched.clear()  # of a call that is not answered
            raise
        self._launched.append((launch, activity))
        self._record.bytes_in = self._executor.bytes_in
        self._record.bytes_out = self._executor.bytes_out
        self._check.note(inputs, launch)
        self._check.look(outputs)
        return outputs

    def _count_call(self, phase: Phase, rows: int, flop: int) -> None:
        """Count a call with the launches since the last one."""
        self._record.count_call(phase, rows, self._launched)
        self._record.flop += flop
        self._launched.clear()


class SequenceProgram(LaunchedProgram):
    """A language model that remembers a sequence."""

    def send(self, parameters: Arrays) -> None:
        """Write parameters, which stay."""
        self._send(parameters)
        self._record.parameters_sent += len(parameters)

    def run(self, inputs: Arrays, start: int, num_rows: int, host: Arrays | None) -> Arrays:
        """Run the first rows of the inputs as positions `start` and on."""
        del host  # the executor gives values
        return self._launch(inputs, Launch(start, num_rows))

    def finish(self, num_tokens: int, asked: range) -> None:
        """Count a call, the tokens that it launched, and the positions that it asked for."""
        launch, _ = self._launched[-1]
        flop = flop_of_tokens(self._record.program.graph, asked)
        self._count_call(phase_of(launch, num_tokens), num_tokens, flop)


def flop_of_tokens(graph: Graph, asked: range) -> int:
    """Return the FLOP of the positions that a call of a language model asks for."""
    rows, cached = with_rows(graph, len(asked)), asked.start
    flop = (op.count_product_flop(rows.by_name, cached_tokens=cached) for op in rows.operations)
    return sum(flop)


def phase_of(launch: Launch | None, num_tokens: int) -> Phase:
    """Return the phase of a call of a language model that ended with a launch."""
    is_decode = num_tokens == 1 and launch is not None and launch.start > 0
    return Phase.DECODE if is_decode else Phase.PREFILL


class ResidentProgram(LaunchedProgram):
    """A program on the wafer with the parameters it holds."""

    def __init__(self, compiled: CompiledProgram) -> None:
        super().__init__(compiled)
        self._parameters = SentParameters(compiled.record)

    @property
    def graph(self) -> Graph:
        """What it computes, with the rows of its bucket."""
        return self._record.program.graph

    def run(self, call: CapturedCall, on_host: Callable[[], object]) -> object:
        """Run the sequences of a call one after the other, return the module's result."""
        del on_host  # the executor gives values
        parts = [self._run_part(part) for part in call.split()]
        self._count_call(Phase.BATCH, count_samples(call), call.capture.flop)
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return call.restore(outputs)

    def _run_part(self, call: CapturedCall) -> Arrays:
        """Send what changed, run the samples bucket by bucket."""
        self._send(self._parameters.changed(call))
        chunks = [self._run_bucket(bucket) for bucket in cut_into_buckets(call, self.graph)]
        return {name: np.concatenate([c[name] for c in chunks]) for name in call.graph.outputs}

    def _run_bucket(self, bucket: Bucket) -> Arrays:
        program = self._record.program
        launch = program.whole_launch() if self.graph.is_sequence else None
        outputs = self._launch(bucket.inputs, launch)
        size = num_samples(self.graph)
        return {
            n: array[: len(array) // size * len(bucket.samples)] for n, array in outputs.items()
        }


class SentParameters:
    """Parameters as they were sent last, in the module's number format."""

    def __init__(self, record: ProgramRecord) -> None:
        self._record = record
        self._sent: dict[str, NDArray[Any]] = {}

    def changed(self, call: CapturedCall) -> Arrays:
        """Return those that a call has other bits of, in the program's format, and count them."""
        record = self._record
        arrays = {name: to_numpy(tensor) for name, tensor in call.parameters.items()}
        changed = {n: a for n, a in arrays.items() if not is_same(a, self._sent.get(n))}
        record.parameters_sent += sum(name not in self._sent for name in changed)
        record.parameters_resent += sum(name in self._sent for name in changed)
        self._sent |= {name: array.copy() for name, array in changed.items()}
        return {name: convert(array, record.program.dtype) for name, array in changed.items()}


@dataclass(frozen=True, slots=True)
class Bucket:
    """The samples of one launch."""

    samples: range
    """Their indices among the samples of the call."""
    inputs: Arrays
    """With the rows of the bucket, those behind the samples 0."""


def cut_into_buckets(call: CapturedCall, graph: Graph) -> Iterator[Bucket]:
    """Yield the samples of a call launch by launch; a sequence is one, with all its rows."""
    inputs = {t.name: convert(to_numpy(call.inputs[t.name]), t.dtype) for t in call.graph.inputs}
    total, size = num_samples(call.graph), num_samples(graph)

    def cut(array: NDArray[Any], samples: range) -> NDArray[Any]:
        rows = len(array) // total
        part = array[samples.start * rows : samples.stop * rows]
        return np.pad(part, ((0, size * rows - len(part)), (0, 0)))

    for start in range(0, total, size):
        samples = range(start, min(start + size, total))
        yield Bucket(samples, {name: cut(array, samples) for name, array in inputs.items()})


def count_samples(call: CapturedCall) -> int:
    """Return the samples of a call: rows of sequences, else rows or maps of the batch."""
    if call.graph.is_sequence:
        return call.rows * call.capture.sequences
    return num_samples(call.graph)
