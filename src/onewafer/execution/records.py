"""Records of programs: one record per program, from which a report is made.

In: calls and their launches. Out: counts that add up. Unknown here: the callers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from onewafer.execution.activity import Activity
from onewafer.execution.auto import Meter
from onewafer.execution.launch_times import Origin
from onewafer.mesh import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onewafer.arch import Architecture
    from onewafer.execution.executor import Figures, Launched
    from onewafer.execution.launch_times import LaunchTimes
    from onewafer.execution.placement import Placed
    from onewafer.mesh import Launch, MeshProgram
    from onewafer.options import WaferOptions


_Key = TypeVar("_Key")


class Phase(StrEnum):
    """The purpose of a call of a program."""

    PREFILL = "prefill"
    """It adds several tokens to a sequence, or begins one."""
    DECODE = "decode"
    """It adds one token to a sequence."""
    BATCH = "batch"
    """It has rows that no later call continues."""
    FORWARD = "forward"
    """It has rows that a backward pass may follow."""
    LOSS = "loss"
    """It compares the rows of a forward pass with their targets."""
    BACKWARD = "backward"
    """It computes the gradients of a forward pass, for parameters that had none."""
    CLIP = "clip"
    """It clips gradients before a step."""
    UPDATE = "update"
    """It takes a step of an optimizer."""

    @property
    def trains(self) -> bool:
        """True if it is a part of a training step."""
        return self is Phase.FORWARD or self.goes_on

    @property
    def goes_on(self) -> bool:
        """True if its rows are counted by another phase already."""
        return self in (Phase.LOSS, Phase.BACKWARD, Phase.CLIP, Phase.UPDATE)


@dataclass(slots=True)
class PhaseRecord:
    """The calls of one phase."""

    calls: int = 0
    rows: int = 0
    """Tokens or samples, without padding."""
    again: int = 0
    """Further tokens, whose keys and values in a cache were computed again."""
    launches: Counter[Launch | None] = field(default_factory=Counter["Launch | None"])
    """None: a launch of all rows."""
    activity: Activity = field(default_factory=Activity)
    """Activity of launches that an executor ran; `ProgramRecord.activity_of` adds the others."""
    origins: Counter[Origin] = field(default_factory=Counter[Origin])
    """Launches of fidelity `auto` by the origin of their cycles."""

    def __add__(self, other: PhaseRecord) -> PhaseRecord:
        """Return the calls of both."""
        return PhaseRecord(
            self.calls + other.calls,
            self.rows + other.rows,
            self.again + other.again,
            _added(self.launches, other.launches),
            self.activity + other.activity,
            _added(self.origins, other.origins),
        )

    def times(self, factor: int) -> PhaseRecord:
        """Return these calls `factor` times."""
        return PhaseRecord(
            self.calls * factor,
            self.rows * factor,
            self.again * factor,
            Counter({launch: count * factor for launch, count in self.launches.items()}),
            self.activity.scaled(factor),
            Counter({origin: count * factor for origin, count in self.origins.items()}),
        )


def _added(one: Counter[_Key], other: Counter[_Key]) -> Counter[_Key]:
    """Return the sum of counts, which may be negative, without zeros."""
    found = Counter(one)
    found.update(other)
    return Counter({key: count for key, count in found.items() if count})


@dataclass(slots=True)
class ProgramRecord:
    """The work of one compiled program so far; the record outlives the program."""

    module: str
    options: WaferOptions
    architecture: Architecture
    reason: str
    """The reason why it was compiled."""
    is_first: bool
    """True if it is the first one of its module."""
    placed: Placed
    """Its mesh program, and the rectangles considered for it."""
    figures: Figures
    """The known facts of the program so far."""
    on_host: tuple[str, ...] = ()
    """The work of the host on arguments before the wafer begins, or beside it."""
    not_finite: str | None = None
    """The origin of the first infinity or NaN that only the wafer had."""
    phases: dict[Phase, PhaseRecord] = field(default_factory=dict[Phase, PhaseRecord])
    flop: int = 0
    """FLOP that the host would have computed for all calls, by the formulas of PyTorch (`flop`)."""
    repeated: int = 0
    """Forward passes of training made again, because others had overwritten their state."""
    parameters_sent: int = 0
    parameters_resent: int = 0
    """Tensors sent again because they had changed; gradients and moments count from the first."""
    resent_bytes: int = 0
    """Bytes of these, without padding."""
    elapsed_cycles: int = 0
    """Cycles of all launches, as known when each was made: a clock, which never goes back."""
    times: LaunchTimes | None = None
    """Cycles of launches under fidelity `auto`; None: an executor runs every launch."""

    @property
    def program(self) -> MeshProgram:
        """The mesh program."""
        return self.placed.program

    @property
    def bucket(self) -> int:
        """Rows of one launch."""
        return self.program.graph.inputs[0].shape[0]

    @property
    def clock_hertz(self) -> float:
        """The clock by which cycles are converted to time."""
        return self.options.clock or self.architecture.clock_hertz

    @property
    def calls(self) -> int:
        """Calls of all phases; a forward pass and the phases after it are one call."""
        return sum(done.calls for phase, done in self.phases.items() if not phase.goes_on)

    @property
    def launches(self) -> int:
        """Launches of all phases."""
        return sum(phase.launches.total() for phase in self.phases.values())

    @property
    def samples(self) -> int:
        """Tokens or samples of all phases, without padding, each once."""
        return sum(done.rows for phase, done in self.phases.items() if not phase.goes_on)

    @property
    def num_sent(self) -> int:
        """Number of times that a tensor that stays on the wafer was written."""
        return self.parameters_sent + self.parameters_resent

    @property
    def activity(self) -> Activity:
        """The sum over all phases."""
        return sum(map(self.activity_of, self.phases.values()), start=Activity())

    def activity_of(self, phase: PhaseRecord) -> Activity:
        """Return the activity of a phase by the best estimate so far."""
        if self.times is None:
            return phase.activity
        parts = (self.times.activity(launch).scaled(n) for launch, n in phase.launches.items())
        return sum(parts, start=Activity())

    def count_parameters(self, written: Collection[str], known: Collection[str]) -> None:
        """Add tensors that were written, of which some were `known` before."""
        outputs, parameters = (
            {item.name for item in self.program.with_role(role)}
            for role in (Role.OUTPUT, Role.PARAMETER)
        )
        there = outputs - parameters | {*known}
        again = [name for name in written if name in there]
        self.parameters_sent += len(written) - len(again)
        self.parameters_resent += len(again)
        self.resent_bytes += sum(map(self.program.num_bytes, again))

    def count_call(
        self, phase: Phase, rows: int, launches: Sequence[Launched], *, again: int = 0
    ) -> None:
        """Add a call and its launches."""
        record = self.phases.setdefault(phase, PhaseRecord())
        record.calls += 1
        record.rows += rows
        record.again += again
        self._count_launches(record, launches)

    def count_again(self, phase: Phase, launches: Sequence[Launched]) -> None:
        """Add the launches of a call that has been counted already."""
        self.repeated += phase is Phase.FORWARD
        self._count_launches(self.phases.setdefault(phase, PhaseRecord()), launches)

    def give_up(self, phase: Phase, rows: int, flop: int) -> None:
        """Remove a call from the counts: another program makes it again, and counts it."""
        self.repeated += phase is Phase.FORWARD
        record = self.phases[phase]
        record.calls -= 1
        record.rows -= rows
        self.flop -= flop

    def _count_launches(self, record: PhaseRecord, launches: Sequence[Launched]) -> None:
        for launched in launches:
            record.launches[launched.launch] += 1
            record.origins[launched.origin] += 1
            if self.times is None:
                record.activity += launched.activity
                self.elapsed_cycles += launched.activity.cycles
            else:
                self.elapsed_cycles += self.times.expect(launched.launch)


@dataclass(slots=True)
class ProgramLedger:
    """The programs of one run."""

    programs: list[ProgramRecord] = field(default_factory=list[ProgramRecord])
    meter: Meter = field(default_factory=Meter)
    """PE-cycles that have been simulated for all of them."""
