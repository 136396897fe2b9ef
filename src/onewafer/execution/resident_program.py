"""Programs on the wafer: tensors that stay, launches that are watched, checked and counted.

In: tensors and inputs as arrays. Out: the outputs and cost of each launch. The executor decides
whether the wafer computes the values, or the host, with launches that are only accounted for.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onewafer.errors import UnsupportedOperationError
from onewafer.execution.arrays import convert, is_same
from onewafer.execution.tallies import Tally
from onewafer.mesh import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.execution.executor import Executor, Launched
    from onewafer.execution.finiteness import FinitenessCheck
    from onewafer.execution.records import Phase, ProgramRecord
    from onewafer.execution.watching import Watch
    from onewafer.graph import Graph
    from onewafer.mesh import Launch


class ResidentTensors:
    """The tensors of one program, as they were written last.

    A tensor has changed if its version has, which its owner increases with every change. Without a
    version, all bits are compared: a write through `.data` or NumPy leaves no other trace.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        """Tensors that were given without a version."""
        self._versions: dict[str, int] = {}
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The tensors that have been written, including those that are forgotten."""
        return frozenset(self._names)

    def changed(self, tensors: Arrays, versions: Mapping[str, int]) -> Arrays:
        """Return the tensors that are new or have changed."""
        return {
            name: array
            for name, array in tensors.items()
            if (
                self._versions.get(name) != versions[name]
                if name in versions
                else not is_same(array, self._arrays.get(name))
            )
        }

    def forget(self, names: Iterable[str]) -> None:
        """Forget the elements of tensors, which the wafer may have changed."""
        for name in names:
            self._arrays.pop(name, None)
            self._versions.pop(name, None)

    def note(self, written: Arrays, versions: Mapping[str, int]) -> None:
        """Note tensors that were written, with their versions."""
        self.forget(written)
        self._names |= written.keys()
        for name, array in written.items():
            if name in versions:
                self._versions[name] = versions[name]
            else:
                self._arrays[name] = array.copy()


class ResidentProgram:
    """A mesh program on a wafer; `Loader.load` makes one."""

    def __init__(
        self, executor: Executor, record: ProgramRecord, check: FinitenessCheck, watch: Watch
    ) -> None:
        self.record = record
        self._executor = executor
        self._check = check
        self._watch = watch
        self._residents = ResidentTensors()
        self.stage = ""
        """The progress of a training loop, for observers of launches."""
        self._lock = threading.RLock()
        self._is_at_work = False
        self._num_launches = Counter[str]()
        self._changes: dict[str, tuple[str, ...]] = {}
        """Entry → the tensors on the wafer that it changes."""

    def show_stage(self, say: Callable[[], str]) -> None:
        """Show the progress of a training loop, if there is an observer and it is time to."""
        self._watch.training(say)

    def num_launches(self, entry: str) -> int:
        """Return how often an entry was launched."""
        return self._num_launches[entry]

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the program for this thread: inside, no other changes tensors or sequences.

        Other threads wait. Raises UnsupportedOperationError for a call that interrupts another one
        of its own thread, which would wait for itself.
        """
        with self._lock:
            if self._is_at_work:
                raise UnsupportedOperationError(
                    "the wafer is at work on another call of it, which a signal handler or a hook "
                    "of the script interrupted by this call"
                )
            try:
                self._is_at_work = True
                yield
            finally:
                self._is_at_work = False

    @property
    def graph(self) -> Graph:
        """The graph, with the rows of its launches."""
        return self.record.program.graph

    @property
    def leaves_values_to_host(self) -> bool:
        """True if the host computes the values, beside launches that are accounted for."""
        return self._executor.leaves_values_to_host

    def keep(self, tensors: Arrays, versions: Mapping[str, int] | None = None) -> frozenset[str]:
        """Keep parameters on the wafer; return the names of those that are written.

        They are new, or have another version. Without a version, the bits are compared. Elements
        are converted to the program's number format.
        """
        known = versions or {}
        written = self._residents.changed(tensors, known)
        if written:
            elements = {n: convert(a, self.record.program.dtype) for n, a in written.items()}
            self._residents.forget(written)  # until all are written
            self._executor.send(elements)
            self._check.send(elements)
            self.record.count_parameters(written.keys(), self._residents.names)
            self._residents.note(written, known)
        return frozenset(written)

    def has(self, tensors: Arrays) -> bool:
        """Tell whether tensors on the wafer have these bits."""
        return not self._residents.changed(tensors, {})

    def adopt(self, tensors: Arrays, versions: Mapping[str, int] | None = None) -> None:
        """Note tensors that launches have changed on the wafer, so that they are not sent again."""
        self._executor.adopt(tensors)
        self._residents.note(tensors, versions or {})

    def launch(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        *,
        host: Callable[[], Arrays] | None = None,
    ) -> Launched:
        """Launch a bucket of rows; return the outputs and the cost.

        `launch` says where in a sequence the rows are and how many are valid; None: all, from
        position 0 on. `host` gives the rows of the outputs that the host has, for a program that
        leaves the values to it.
        """
        entry = (launch or self.record.program.whole_launch()).entry
        self._residents.forget(self._changed_by(entry))  # until they are adopted
        watch = self._watch.at(self.stage)
        launched = self._executor.run(inputs, launch, host=host, watch=watch)
        self.record.figures = self._executor.figures
        self._num_launches[entry] += 1
        self._check.look(inputs, launch, launched.outputs)
        return launched

    def repeat(self, launch: Launch) -> Launched | None:
        """Account for a launch like one before, for a program that leaves values to the host.

        None: it has to be made.
        """
        launched = self._executor.repeat(launch)
        if launched is not None:
            self._residents.forget(self._changed_by(launch.entry))
            self.record.figures = self._executor.figures
            self._num_launches[launch.entry] += 1
        return launched

    def tally(self) -> Tally:
        """Return the counts so far."""
        self.record.figures = self._executor.figures
        return Tally.of(self.record, self._num_launches)

    def repeat_all(self, tally: Tally, times: int) -> None:
        """Count the launches of a tally, and all its other counts, `times` times more."""
        self._executor.move(tally.bytes_in * times, tally.bytes_out * times)
        self.record.figures = self._executor.figures
        for entry, count in tally.entries.items():
            self._residents.forget(self._changed_by(entry))
            self._num_launches[entry] += count * times
        tally.add_to(self.record, times)

    def _changed_by(self, entry: str) -> tuple[str, ...]:
        """Return the tensors on the wafer that a launch of an entry changes."""
        if entry not in self._changes:
            outputs = self.record.program.with_role(Role.OUTPUT, entry)
            self._changes[entry] = tuple(item.name for item in outputs if item.is_resident)
        return self._changes[entry]

    def expect(self, launch: Launch | None = None) -> int:
        """Return about how many cycles a launch takes; None: one of all rows."""
        return self._executor.expect(launch)

    def note_on_host(self, what: str) -> None:
        """Note some work that the host does beside the wafer."""
        if what not in self.record.on_host:
            self.record.on_host = (*self.record.on_host, what)

    def count_call(
        self, phase: Phase, launches: Sequence[Launched], *, rows: int, flop: int, again: int = 0
    ) -> None:
        """Count a call that was answered: its launches, its tokens or samples, its FLOP.

        `again` are tokens of its cache that were computed again.
        """
        self.record.count_call(phase, rows, launches, again=again)
        self.record.flop += flop
