"""The cost of programs, as values. An unmeasured figure is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.execution.activity import PeMemory
    from onewafer.execution.placement import Candidate
    from onewafer.execution.records import Phase
    from onewafer.graph import LayerPart
    from onewafer.mesh import Axis


@dataclass(frozen=True, slots=True)
class LaunchOrigins:
    """Launches of fidelity `auto` by the origin of their cycles."""

    simulated: int
    known: int
    """Simulated by an earlier run."""
    derived: int
    """Closed form times the ratio of simulated launches of the same shape."""
    closed_form: int
    """No launch of the shape was simulated."""


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """Simulated launches of a program: how many, and how they compare with other evaluations."""

    origins: LaunchOrigins
    lowest_ratio: float | None
    """Simulated cycles over the closed form; None: nothing was simulated."""
    largest_ratio: float | None
    depends_on: tuple[str, ...]
    """Values on which cycles depend, so that derived cycles may be those of other values."""
    compared: int
    """Launches whose values on the fabric were compared."""
    other_bits: int
    """Compared launches with other bits than the NumPy reader's."""
    beyond_bound: int
    """Compared launches that are farther from the host than rounding explains."""
    distance: float | None
    """The largest distance from the host, as a share of its largest element."""
    not_simulated: str | None
    """The reason why the first launch of a shape was not simulated, and a remedy."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """The cost of a part of the layers, for a token or sample."""

    part: LayerPart | None
    """None: the work of beginning and ending launches and repeating layers."""
    is_collective: bool
    """True if values move between PEs; false if each PE works alone."""
    cycles_per_row: float | None
    """Measured, the mean of all PEs, waiting included; None where nothing was simulated."""
    busy_fraction: float | None
    """Share of these cycles in which the main thread or the data path works."""
    expected_cycles_per_row: float
    """In closed form, on the PE that finishes last."""


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """Calls of one kind: those that read a prompt, that add a token, that have samples."""

    phase: Phase
    calls: int
    launches: int
    rows: int
    """Tokens or samples, without padding."""
    cycles: int
    """Over all launches, those of tokens that were computed again included."""
    cycles_per_row: float
    seconds_per_row: float
    rows_per_second: float
    expected_cycles_per_row: float
    """In closed form."""
    busy_pe_fraction: float | None
    busy_link_fraction: float | None
    parts: tuple[PartReport, ...]
    origins: LaunchOrigins | None = None
    """None: not of fidelity `auto`."""
    again: int = 0
    """Further tokens: those of caches whose keys and values had to be computed again."""

    @property
    def expected_error(self) -> float:
        """The excess of the closed form over the measured cycles, as a fraction of these."""
        return self.expected_cycles_per_row / self.cycles_per_row - 1


@dataclass(frozen=True, slots=True)
class LimitReport:
    """Shares of the cycles of some work, 0 to 1; waiting counts for the purpose it occurs in."""

    arithmetic: float
    messages: float
    """Moving values between PEs, and combining them on the way."""
    control: float
    """Starting and ending launches, and repeating layers."""
    part: str | None
    """The part of the layers with most arithmetic; None: there is no arithmetic."""
    busy: float | None
    """Share of the cycles in which a PE works; None: all shares are in closed form."""


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Energy of some work, cooling included."""

    system: str
    """The system around the wafer: `CS-3`."""
    joules: float
    """Energy of the whole system, in which PEs that the program does not use are idle."""
    joules_of_pes: float
    """The part of the PEs that the program uses."""


@dataclass(frozen=True, slots=True)
class FastestReport:
    """The fastest rectangle of the whole wafer for some work, in closed form."""

    width: int
    height: int
    speedup: float
    """Cycles on the program's rectangle over those on this one, in closed form."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """The mean of all training steps."""

    steps: int
    """Steps of the optimizer; backward passes, if it took none on the wafer."""
    samples: float
    """Samples of a step, or tokens, without padding."""
    cycles: float
    seconds: float
    samples_per_second: float
    bytes_in: float
    """Bytes sent to the wafer for its launches, and of parameters that the host has changed;
    without padding, and without the first sending of parameters."""
    bytes_out: float
    """Bytes read from the wafer."""
    repeated: int
    """Forward passes of all steps made again, because others had overwritten their state."""
    energy: EnergyReport | None = None
    """None: the power of the system is not known."""


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The keys and values of a language model, which stay on the wafer."""

    bytes_per_token: int
    """On the whole wafer, over all layers."""
    bytes_per_token_per_pe: float
    """Bytes that a PE reserves, divided by the positions of all sequences."""
    context: int
    """Limit of the positions of a sequence."""
    longest_context: int | None
    """Positions that would fit on the same rectangle, at most the model's; None: unknown."""
    sequences: int = 1
    """Limit of the sequences."""


@dataclass(frozen=True, slots=True)
class TensorReport:
    """Tensors of one layout: inputs, or results of one kind of operation."""

    first: str
    """The name of the first one."""
    operation: str
    """The origin of the tensors: `input`, or a kind of operation of the graph."""
    count: int
    features: int
    axis: Axis
    """The axis along which features are cut; PEs along the other axis hold the same features."""
    features_per_pe: int
    """Padding included."""
    order: str
    """The order of the features along the axis, in words."""


@dataclass(frozen=True, slots=True)
class PlacementReport:
    """The choice of the rectangle, and the layout of tensors on it."""

    rows: int
    """Rows of the launch whose cycles decided the choice."""
    refused_rows: tuple[int, ...]
    """Rows of larger launches that fit on no rectangle."""
    is_pinned: bool
    """True if the user chose the rectangle."""
    candidates: tuple[Candidate, ...]
    """In the order in which they were considered."""
    tensors: tuple[TensorReport, ...]
    redistributions: int
    """Operations that lay a tensor out along the other axis."""
    sample_groups: int = 1
    """Groups of rows of PEs, each with its part of the samples of a launch."""


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """One compiled program: its place, and its costs over all its launches."""

    module: str
    compiled_because: str
    arch: str
    arch_title: str
    profile: str
    fidelity: str
    engine: str | None
    """The engine of the simulation; None: nothing was simulated."""
    dtype: str
    clock_hertz: float
    width: int
    height: int
    bucket_rows: int
    tile_programs: int | None
    memory_bytes: int
    """SRAM of a PE."""
    memory: PeMemory
    """Use of the fullest PE; in closed form where nothing was compiled."""
    cache: CacheReport | None
    """None: nothing stays from launch to launch."""
    placement: PlacementReport
    on_host: tuple[str, ...]
    """The work of the host on arguments before the wafer begins."""
    not_finite: str | None
    """The origin of the first infinity or NaN that only the wafer had."""
    calls: int
    launches: int
    samples: int
    """Tokens if `is_in_tokens`, without padding."""
    is_in_tokens: bool
    """True if rows are tokens of sequences, or the patches of pictures."""
    flop: int
    """FLOP of the script, without padding."""
    cycles: int
    """Over all launches."""
    cycles_per_launch: float | None
    cycles_per_sample: float | None
    seconds_per_launch: float | None
    seconds_per_sample: float | None
    wavelet_hops_per_launch: float | None
    busy_pe_fraction: float | None
    """Main thread cycles + data path cycles ÷ PEs × cycles; work of both at once counts twice."""
    busy_link_fraction: float | None
    """Wavelets over links between PEs ÷ links × cycles."""
    bytes_in: int
    """Over all launches, weights included. Replicas are made on the wafer and not counted."""
    bytes_out: int
    """Over all launches."""
    parameters_sent: int
    parameters_resent: int
    phases: tuple[PhaseReport, ...]
    simulation: SimulationReport | None = None
    """None: not of fidelity `auto`."""
    step: StepReport | None = None
    """None: it was not trained."""

    @property
    def num_pes(self) -> int:
        """PEs of the rectangle, all of which the program uses."""
        return self.width * self.height
