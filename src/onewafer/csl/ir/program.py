"""The parts of a program as a whole: tasks, exports, instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl.ir.types import node
from onewafer.image import ALL_MASKED, ScalarType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.csl.ir.code import AddressOf, Function, Global, LoadDsr
    from onewafer.diagnostics import Span
    from onewafer.image import ColorConfig, Export, FifoAction, QueueBinding, Rotation, TaskKind


@node
class TaskBinding:
    """`@bind_local_task`, `@bind_data_task`, `@bind_control_task`."""

    kind: TaskKind
    task_id: int
    function: Function
    is_blocked: bool = False
    is_active: bool = False


@node
class Fifo:
    """`@allocate_fifo`."""

    variable: Global
    activate_push: int
    """Local task id, or `NO_TASK`."""
    activate_pop: int
    empty_action: FifoAction
    full_action: FifoAction


@node
class ExportedSymbol:
    """`@export_symbol`: host-visible name → a function, a variable, or a pointer to one."""

    name: str
    target: Function | AddressOf
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A value that differs between PEs and decided a branch while this instance was compiled."""

    params: tuple[str, ...]
    """The params that determine the value, `name` or `name.field`."""
    value: str
    """Its value in this instance."""
    reason: str
    span: Span | None


@node
class InstanceIr:
    """Everything reachable in one instance."""

    name: str
    """Entry file, and the params that distinguish its instances: `pe.csl (is_first=true)`."""
    globals: tuple[Global, ...]
    functions: tuple[Function, ...]
    tasks: tuple[TaskBinding, ...]
    queues: tuple[QueueBinding, ...]
    blocked_channels: tuple[int, ...]
    exports: tuple[ExportedSymbol, ...]
    pes: tuple[tuple[int, int], ...]
    """(x, y) of every PE that runs it, row by row."""
    unblocked_channels: tuple[int, ...] = ()
    """Channels without a data task that start unblocked."""
    fifos: tuple[Fifo, ...] = ()
    """By `DsdDescriptor.fifo`."""
    loads: tuple[LoadDsr, ...] = ()
    """DSRs with an initial DSD, which is a constant and the same on all PEs."""
    reaches_registers: bool = False
    """Loads and stores may go to the registers of the router."""
    reaches_queues: bool = False
    """True if stores may go to the registers of queues, too."""
    rotations: tuple[Rotation, ...] = ()
    """`@bind_rotating_tasks`."""
    control_mask: int = 0
    """The initial mask for the entry of kept control wavelets."""
    unmasks_exceptions: bool = False
    """Floating-point exceptions may stop the program."""
    exception_mask: int = ALL_MASKED
    """The exceptions that are masked at first."""
    half: ScalarType = ScalarType.F16
    """The 16-bit float format of the instance."""
    per_pe: tuple[tuple[int, ...], ...] = ()
    """`PerPe.index` → canonical words, one per PE in the order of `pes`."""
    path: str = ""
    """The entry file."""
    params: tuple[tuple[str, str], ...] = ()
    """Params of the first PE, as text."""
    decisions: tuple[Decision, ...] = ()


@node
class ProgramIr:
    """The whole program: what `csl.sema` and `csl.layout` hand to `csl.codegen`."""

    width: int
    height: int
    instances: tuple[InstanceIr, ...]
    color_configs: tuple[ColorConfig, ...]
    """Interned."""
    config_of_color: NDArray[np.int16]
    """`[height, width, 24]` → `color_configs`; −1: not configured."""
    exports: tuple[Export, ...]
    """`@export_name`, in source order."""
    export_spans: dict[str, Span] = field(default_factory=dict[str, "Span"])
    """Where each name is exported."""
    color_names: dict[str, str] = field(default_factory=dict[str, str])
    """Names of colors in the file with the layout: name → number."""
