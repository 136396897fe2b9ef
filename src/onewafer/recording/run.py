"""The description of a run in a recording: the header, and the names of its columns.

Plain values, without terms of the simulator or the mesh.

    recording := header, columns, spans, moves, image, sources
    column    := a number for each PE, PE y · width + x
    tensor    := a name, a symbol, and two splits: of its rows and of its columns
    split     := an axis of the rectangle, and for each coordinate the indices that lie there
    operation := what a model computes in a launch, the line of the script that asks for it
    step      := 2 i: the work of operation i; 2 i + 1: its collectives; −1: begin and end
    window    := cycles of the run between two looks; a column of its own for each counter
"""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import datetime  # noqa: TID251  # reads a text, and no clock
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin, get_type_hints

from onewafer.geometry import Direction
from onewafer.image import SectionKind
from onewafer.recording.provenance import UNKNOWN, Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

NOT_WAITING = -1
"""In column `waits_for`: the PE waits for nothing."""
WAVELET_COLUMNS = tuple(f"wavelets_{direction.name.lower()}" for direction in Direction)
"""Wavelets that left the router, by direction; `wavelets_ramp`: to its own PE."""
SRAM_COLUMNS = tuple(f"sram_{kind.name.lower()}_bytes" for kind in SectionKind)


WINDOW_COUNTERS = ("busy_cycles", "wait_cycles", "wavelets")
"""Counters of each window: as `busy_cycles`, waits for all reasons, wavelets over links."""
WINDOW_STEP = "step"
"""The step of each PE at the end of a window."""


def file_of_program(path: Path, number: int) -> Path:
    """Return the file of one of the programs of a run, from 1 on; the first has the name itself.

    >>> from pathlib import Path
    >>> file_of_program(Path("run.parquet"), 2).name
    'run-2.parquet'
    """
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def column_of_window(number: int, counter: str) -> str:
    """Return the column of a counter in a window of the run.

    >>> column_of_window(3, "busy_cycles")
    'window_3_busy_cycles'
    """
    return f"window_{number}_{counter}"


def column_of_step(step: int) -> str:
    """Return the column with the cycles that a PE was at a step of the model.

    >>> column_of_step(4)
    'step_4_cycles'
    """
    return f"step_{step}_cycles"


def column_of_register(number: int) -> str:
    """Return the column with the word in a register.

    >>> column_of_register(2)
    'register_2'
    """
    return f"register_{number}"


def column_of_wait(reason: str) -> str:
    """Return the column with the cycles waited for a reason.

    >>> column_of_wait("input empty")
    'wait_input_empty_cycles'
    """
    return f"wait_{reason.replace(' ', '_')}_cycles"


@dataclass(frozen=True, slots=True)
class Split:
    """One dimension of a tensor over the rectangle."""

    axis: str
    """`x` or `y`: block i lies on the PEs whose coordinate is i; empty: every PE has block 0."""
    blocks: tuple[tuple[tuple[int, int], ...], ...]
    """For each block its indices, as ranges `[first, end)`."""

    def indices_at(self, x: int, y: int) -> tuple[tuple[int, int], ...]:
        """Return the ranges of indices that PE (x, y) holds."""
        place = {"x": x, "y": y}.get(self.axis, 0)
        return self.blocks[place] if place < len(self.blocks) else ()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a model on the wafer."""

    name: str
    role: str
    """`parameter`, `input` or `output`."""
    part: str
    """The part of the layer that uses it (`attention`, `MLP`, …); empty: not known."""
    dtype: str
    shape: tuple[int, ...]
    symbol: str
    """The symbol of its block on every PE."""
    num_bytes: int
    """Bytes of the block of a PE, padding included."""
    rows: int
    """Index into `RunHeader.splits`: all dimensions but the last, flattened."""
    columns: int
    """Index into `RunHeader.splits`: the last dimension."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a model in a launch, over all repeated layers."""

    name: str
    """`linear`, `linear weight gradient`."""
    layer: str
    """The path of the layer in the model, as `layers.0.mlp`; empty: not known."""
    launch: str
    """The launched function that computes it."""
    part: str
    """The part of a layer that it belongs to (`attention`, `MLP`, …)."""
    source: str
    """`file:line` of the script; empty: not known."""
    shape: tuple[int, ...]
    """Shape of the result."""
    work_cycles: int
    """Cycles of local work in one launch, by the closed form."""
    collective_cycles: int
    """Cycles of collectives in one launch, by the closed form."""
    rounds: int
    """Number of repeated layers."""
    activation_bytes: int
    """Bytes of a PE that hold activations while it runs."""

    @property
    def title(self) -> str:
        """Its name, and its layer if that is known: `linear, layers.0.mlp`."""
        layer = f"layer {self.layer}" if self.layer.isdecimal() else self.layer
        return ", ".join(filter(None, (self.name, layer)))


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """One launch: from the cycle of the host's command until the fabric is at rest."""

    name: str
    start_cycle: int
    end_cycle: int

    @property
    def cycles(self) -> int:
        """Cycles that the launch took."""
        return self.end_cycle - self.start_cycle


@dataclass(frozen=True, slots=True)
class Window:
    """Cycles of a run between two samples, `[start_cycle, end_cycle)`."""

    start_cycle: int
    end_cycle: int


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The description of a run as a whole."""

    title: str
    """The subject of the run: the folder of the program, or the module of a model."""
    arch: str
    profile: str
    """Timing profile: `sdk` or `silicon`."""
    engine: str
    clock_hertz: float
    width: int
    height: int
    cycles: int
    ending: str = ""
    """Why the run did not end well; empty: it did."""
    reasons: tuple[str, ...] = ()
    """Why units wait: the number in `waits_for` is an index."""
    launches: tuple[LaunchReport, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    splits: tuple[Split, ...] = ()
    windows: tuple[Window, ...] = ()
    """One after the other; empty: the run was not sampled."""
    is_over: bool = True
    """False: the run goes on, and its recording is rewritten repeatedly."""
    operations: tuple[Operation, ...] = ()
    """The operations of a model, in the order of its launches."""
    step_cycles: tuple[tuple[int, int], ...] = ()
    """Steps, and the cycles of the slowest PE at each, from samples."""
    memory: tuple[tuple[str, int], ...] = ()
    """Bytes of the fullest PE by use (code, weights, …), of a model."""
    provenance: Provenance = UNKNOWN
    flop_share: float | None = None
    """Share of the script's matrix FLOP that ran on the wafer, 0 to 1; None: not known."""
    spans_until: int | None = None
    """The cycle from which a traced run's spans are left out; None: all are there."""
    num_spans_left_out: int = 0

    @property
    def num_pes(self) -> int:
        """PEs of the rectangle."""
        return self.width * self.height

    @property
    def parts(self) -> tuple[str, ...]:
        """The distinct parts of a model; work and collectives are separate."""
        return tuple(dict.fromkeys(self.part_of_step)) if self.operations else ()

    @property
    def part_of_step(self) -> tuple[str, ...]:
        """The part that each step belongs to, from step −1 on."""
        named = ((one.part, f"{one.part}, collectives") for one in self.operations)
        return ("begin and end", *(part for both in named for part in both))

    def to_record(self) -> dict[str, Any]:
        """Return the header for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunHeader:
        """Return the header of a record.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        header: RunHeader = _made_of(cls, record)
        _check_numbers(header)
        return header


@cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _made_of(cls: type[Any], record: Mapping[str, Any]) -> Any:  # noqa: ANN401  # one of `cls`
    """Build a dataclass of this file from a record, which may lack fields with a default."""
    hints = _hints(cls)
    named = [one.name for one in fields(cls) if one.name in record or one.default is MISSING]
    return cls(**{name: _value_of(hints[name], record[name]) for name in named})


def _value_of(hint: Any, found: Any) -> Any:  # noqa: ANN401  # any annotation of a field here
    """Convert a value to an annotation: plain, None, a tuple, a dataclass of this file."""
    arguments = get_args(hint)
    if is_dataclass(hint):
        return _made_of(cast("type[Any]", hint), found)
    if get_origin(hint) is not tuple:
        if arguments and found is None:
            return None
        return arguments[0](found) if arguments else hint(found)  # `int | None` has arguments
    if arguments[-1] is Ellipsis:
        return tuple(_value_of(arguments[0], item) for item in found)
    return tuple(_value_of(one, item) for one, item in zip(arguments, found, strict=True))


def ranges_of(indices: NDArray[np.intp]) -> tuple[tuple[int, int], ...]:
    """Return indices as ranges `[first, end)`, in their order.

    >>> import numpy as np
    >>> ranges_of(np.array([4, 5, 6, 1, 2]))
    ((4, 7), (1, 3))
    """
    numbers: list[int] = indices.tolist()
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return tuple(ranges)


def _check_numbers(header: RunHeader) -> None:
    """Raise ValueError for impossible numbers or dates, or a tensor with an unknown split."""
    if min(header.width, header.height) < 1 or header.cycles < 0:
        raise ValueError(f"{header.width}×{header.height} PEs, {header.cycles} cycles")
    clock, share = header.clock_hertz, header.flop_share or 0.0
    if not 0 < clock < math.inf or not 0 <= share < math.inf:
        raise ValueError(f"a clock of {clock} Hz, a share of {share}")
    if header.provenance.started:
        datetime.fromisoformat(header.provenance.started)
    if any(window.end_cycle <= window.start_cycle for window in header.windows):
        raise ValueError("a window has no cycles")
    used = [number for tensor in header.tensors for number in (tensor.rows, tensor.columns)]
    if used and not 0 <= min(used) <= max(used) < len(header.splits):
        raise ValueError("a tensor has an unknown split")
