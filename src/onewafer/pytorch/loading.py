"""Placed programs made ready to run, in the way that the fidelity asks for, and written down."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from onewafer.execution import (
    AutoExecutor,
    Budget,
    Fidelity,
    FinitenessCheck,
    ProgramRecord,
    build_executor,
)
from onewafer.graph import DataType
from onewafer.pytorch.followed import Followed, FollowedModule, FollowedSequence
from onewafer.pytorch.programs import CompiledProgram, ResidentProgram, SequenceProgram

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.arch import Architecture
    from onewafer.execution import Executor, Placed, Simulation, WaferOptions
    from onewafer.graph import Graph
    from onewafer.pytorch.capture import CapturedCall
    from onewafer.pytorch.language_model import SequenceExecutor
    from onewafer.pytorch.ledger import Ledger
    from onewafer.pytorch.programs import Observer


class ModuleProgram(Protocol):
    """A program with the parameters of a module."""

    @property
    def graph(self) -> Graph:
        """What it computes, with the rows of its bucket."""
        ...

    def run(self, call: CapturedCall, on_host: Callable[[], object]) -> object:
        """Return the module's result; `on_host` computes it there."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program that is to be loaded, and why."""

    module: torch.nn.Module
    placed: Placed
    reason: str
    is_first: bool
    """Whether it is the first one of its module."""
    on_host: tuple[str, ...] = ()
    """What the host does with arguments before the wafer begins."""

    @property
    def name(self) -> str:
        """The module's class."""
        return type(self.module).__name__

    @property
    def what(self) -> str:
        """The program's name in messages to the user."""
        program = self.placed.program
        bucket = program.graph.inputs[0].shape[0]
        rows = "1 row" if bucket == 1 else f"{bucket} rows"
        return f"{self.name}, {rows} on {program.width}×{program.height} PEs"


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads programs for one session."""

    options: WaferOptions
    architecture: Architecture
    simulation: Simulation
    ledger: Ledger
    observer: Observer | None
    warn: Callable[[str], None]
    """Gets what is to be said of a program's values."""

    def load_module(self, wanted: Wanted) -> ModuleProgram:
        """Return the program of a graph."""
        if self.options.fidelity is Fidelity.AUTO:
            return FollowedModule(self._follow(wanted))
        return ResidentProgram(self._compile(wanted))

    def load_sequence(self, wanted: Wanted) -> SequenceExecutor:
        """Return the program of a language model."""
        if self.options.fidelity is Fidelity.AUTO:
            return FollowedSequence(self._follow(wanted))
        return SequenceProgram(self._compile(wanted))

    def _compile(self, wanted: Wanted) -> CompiledProgram:
        program = wanted.placed.program
        with self.observer.compiling(wanted.what) if self.observer else nullcontext():
            executor = build_executor(
                program, self.architecture, self.options.fidelity, self.simulation
            )
        record = self._write_down(wanted, executor)
        return CompiledProgram(
            executor, record, self._check(wanted, record), wanted.what, self.observer
        )

    def _follow(self, wanted: Wanted) -> Followed:
        executor = AutoExecutor(
            wanted.placed.program,
            self.architecture,
            self.simulation,
            Budget(self.options.simulate_budget, self.ledger.meter),
            self._host_stores(wanted),
        )
        record = self._write_down(wanted, executor)
        record.times = executor.times
        return Followed(executor, record, self._check(wanted, record), wanted.what, self.observer)

    def _write_down(self, wanted: Wanted, executor: Executor | AutoExecutor) -> ProgramRecord:
        record = ProgramRecord(
            wanted.name,
            self.options,
            self.architecture,
            wanted.reason,
            wanted.is_first,
            wanted.placed,
            executor.engine,
            executor.num_tile_programs,
            executor.memory,
            wanted.on_host,
        )
        self.ledger.programs.append(record)
        return record

    def _check(self, wanted: Wanted, record: ProgramRecord) -> FinitenessCheck:
        what = wanted.what  # and not the module, whose end is the program's

        def tell(found: str) -> None:
            record.not_finite = found
            self.warn(f"{what}: {found}")

        return FinitenessCheck(wanted.placed.program, self._host_stores(wanted), tell)

    def _host_stores(self, wanted: Wanted) -> DataType:
        """Return the type of a module's results on the host."""
        if self.options.dtype is None:
            return wanted.placed.program.dtype
        parameters = wanted.module.parameters()
        is_half = any(parameter.dtype == torch.float16 for parameter in parameters)
        return DataType.F16 if is_half else DataType.F32
