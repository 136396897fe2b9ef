"""Programs on the wafer: launches that are watched, checked and counted.

A call of a module is launches of its program's bucket, a call that goes on with a sequence those of
its tokens. Parameters are sent again where they have changed.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onewafer.graph import count_product_flop, num_samples, with_rows
from onewafer.mesh import Launch
from onewafer.pytorch.arrays import convert, is_same, to_numpy
from onewafer.pytorch.ledger import Phase

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from onewafer.graph import Graph
    from onewafer.host import RunObserver
    from onewafer.pytorch.activity import Activity
    from onewafer.pytorch.capture import CapturedCall
    from onewafer.pytorch.executable import Arrays, Executor
    from onewafer.pytorch.finiteness import FinitenessCheck
    from onewafer.pytorch.ledger import ProgramRecord


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
    """What it is called in front of the user."""
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
        self._check.check(inputs, launch, outputs)
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

    def run(self, inputs: Arrays, start: int, num_rows: int) -> Arrays:
        """Run the first rows of the inputs as positions `start` and on."""
        return self._launch(inputs, Launch(start, num_rows))

    def finish(self, num_tokens: int, asked: range) -> None:
        """Count a call, the tokens that it launched, and the positions that it asked for."""
        launch, _ = self._launched[-1]
        is_decode = num_tokens == 1 and launch is not None and launch.start > 0
        graph = with_rows(self._record.program.graph, len(asked))
        flop = count_product_flop(graph, cached_tokens=asked.start)
        self._count_call(Phase.DECODE if is_decode else Phase.PREFILL, num_tokens, flop)


class ResidentProgram(LaunchedProgram):
    """A program on the wafer with the parameters it holds."""

    def __init__(self, compiled: CompiledProgram) -> None:
        super().__init__(compiled)
        self._sent: dict[str, NDArray[Any]] = {}
        """Parameters as they are on the wafer, in the module's number format."""

    @property
    def graph(self) -> Graph:
        """What it computes, with the rows of its bucket."""
        return self._record.program.graph

    def run(self, call: CapturedCall) -> object:
        """Run the sequences of a call one after the other, return the module's result."""
        parts = [self._run_part(part) for part in call.split()]
        is_sequence = call.graph.is_sequence
        samples = call.rows * len(parts) if is_sequence else num_samples(call.graph)
        self._count_call(Phase.BATCH, samples, call.capture.flop)
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return call.restore(outputs)

    def _run_part(self, call: CapturedCall) -> Arrays:
        """Send what changed, run the samples bucket by bucket."""
        self._update_parameters(call)
        inputs = {
            t.name: convert(to_numpy(call.inputs[t.name]), t.dtype) for t in call.graph.inputs
        }
        total, bucket = num_samples(call.graph), num_samples(self.graph)
        chunks = [
            self._run_samples(inputs, range(start, min(start + bucket, total)), total)
            for start in range(0, total, bucket)
        ]
        return {name: np.concatenate([c[name] for c in chunks]) for name in call.graph.outputs}

    def _update_parameters(self, call: CapturedCall) -> None:
        dtype = self._record.program.dtype
        arrays = {name: to_numpy(tensor) for name, tensor in call.parameters.items()}
        changed = {n: a for n, a in arrays.items() if not is_same(a, self._sent.get(n))}
        self._send({name: convert(array, dtype) for name, array in changed.items()})
        self._record.parameters_sent += sum(name not in self._sent for name in changed)
        self._record.parameters_resent += sum(name in self._sent for name in changed)
        self._sent |= {name: array.copy() for name, array in changed.items()}

    def _run_samples(self, inputs: Arrays, samples: range, total: int) -> Arrays:
        """Run some samples, at most a bucket of them; a sequence is one, with all its rows."""
        bucket = num_samples(self.graph)

        def cut(array: NDArray[Any]) -> NDArray[Any]:
            rows = len(array) // total
            part = array[samples.start * rows : samples.stop * rows]
            return np.pad(part, ((0, bucket * rows - len(part)), (0, 0)))

        program = self._record.program
        launch = program.whole_launch() if self.graph.is_sequence else None
        outputs = self._launch({name: cut(array) for name, array in inputs.items()}, launch)
        return {n: array[: len(array) // bucket * len(samples)] for n, array in outputs.items()}
