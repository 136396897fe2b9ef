"""Loading of placed programs for a fidelity, with a record in the ledger."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.execution.auto import AutoExecutor, Budget
from onewafer.execution.csl_folder import write_csl
from onewafer.execution.executable import Simulation, build_executor
from onewafer.execution.finiteness import FinitenessCheck, NonFiniteWarning
from onewafer.execution.records import ProgramLedger, ProgramRecord
from onewafer.execution.resident_program import ResidentProgram
from onewafer.execution.watching import Watch
from onewafer.mesh import emit
from onewafer.options import Fidelity

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.arch import Architecture
    from onewafer.execution.executor import Executor
    from onewafer.execution.placement import Placed
    from onewafer.execution.watching import Observer
    from onewafer.graph import DataType
    from onewafer.options import WaferOptions


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program to be loaded, and the reason."""

    placed: Placed
    name: str
    """The class of the module that the program is made of."""
    reason: str = "asked for"
    """The reason why it is compiled."""
    is_first: bool = True
    """True if it is the first one of that name."""
    host_stores: DataType | None = None
    """The type of the results on the host; None: the program's."""
    on_host: tuple[str, ...] = ()
    """The work of the host on arguments before the wafer begins."""

    @property
    def what(self) -> str:
        """The program's name in messages to the user."""
        program = self.placed.program
        bucket = program.graph.inputs[0].shape[0]
        rows = "1 row" if bucket == 1 else f"{bucket} rows"
        return f"{self.name}, {rows} on {program.width}×{program.height} PEs"


def _warn(text: str) -> None:
    warnings.warn(text, NonFiniteWarning, stacklevel=3)


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads programs on one wafer."""

    options: WaferOptions
    simulation: Simulation = field(default_factory=Simulation)
    ledger: ProgramLedger = field(default_factory=ProgramLedger)
    observer: Observer | None = None
    warn: Callable[[str], None] = _warn
    """Called with warnings about a program's values."""

    @property
    def architecture(self) -> Architecture:
        """The machine that the options name."""
        return load_architecture(self.options.arch, profile=self.options.profile)

    def load(self, wanted: Wanted) -> ResidentProgram:
        """Return a program that can be launched; its record is in the ledger from now on.

        Raises UnsupportedOperationError if it cannot be compiled for the wafer, ConfigurationError
        if its CSL cannot be written where the options say.
        """
        self._write_csl(wanted)
        watch = Watch(wanted.what, self.observer)
        executor = self._build(wanted, watch)
        record = ProgramRecord(
            wanted.name,
            self.options,
            self.architecture,
            wanted.reason,
            wanted.is_first,
            wanted.placed,
            executor.figures,
            wanted.on_host,
            times=executor.times,
        )
        self.ledger.programs.append(record)
        return ResidentProgram(executor, record, self._check(wanted, record), watch)

    def _write_csl(self, wanted: Wanted) -> None:
        """Write the CSL of a program if a user wants it, whether or not it will be simulated."""
        folder = self.options.csl
        if folder is None:
            return
        try:
            emitted = emit(wanted.placed.program, self.architecture)
        except UnsupportedOperationError:
            return  # there is no CSL; whether that is an error depends on the fidelity
        arch = self.architecture.name
        write_csl(emitted, folder, name=wanted.name, what=wanted.what, arch=arch)

    def _build(self, wanted: Wanted, watch: Watch) -> Executor:
        program, options = wanted.placed.program, self.options
        if options.fidelity is Fidelity.AUTO:
            budget = Budget(options.simulate_budget, self.ledger.meter)
            host_stores = wanted.host_stores or program.dtype
            return AutoExecutor(program, self.architecture, self.simulation, budget, host_stores)
        with watch.compiling():
            return build_executor(program, self.architecture, options.fidelity, self.simulation)

    def _check(self, wanted: Wanted, record: ProgramRecord) -> FinitenessCheck:
        what = wanted.what

        def tell(found: str) -> None:
            record.not_finite = found
            self.warn(f"{what}: {found}")

        program = wanted.placed.program
        is_over = program.trains  # the host takes no steps
        return FinitenessCheck(program, wanted.host_stores or program.dtype, tell, is_over)
