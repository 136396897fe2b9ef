"""Reports of programs that tests show and write."""

from dataclasses import replace

from onewafer.execution import Phase
from onewafer.execution.activity import PeMemory
from onewafer.execution.placement import Candidate
from onewafer.execution.report import (
    CacheReport,
    PartReport,
    PhaseReport,
    PlacementReport,
    ProgramReport,
    TensorReport,
)
from onewafer.graph import LayerPart
from onewafer.mesh import Axis
from onewafer.terminal.console import PlainConsole

PROGRAM = ProgramReport(
    module="Sequential",
    compiled_because="first call",
    arch="wse3",
    arch_title="WSE-3 (CS-3, 2024)",
    profile="sdk",
    fidelity="fabric",
    engine="fast",
    dtype="f32",
    clock_hertz=850e6,
    width=4,
    height=2,
    bucket_rows=64,
    tile_programs=8,
    memory_bytes=49152,
    memory=PeMemory(1, 0, 6000, 1234, 2048, 0, 1006),
    cache=None,
    placement=PlacementReport(
        rows=64,
        refused_rows=(256, 128),
        is_pinned=False,
        candidates=(
            Candidate(1, 1, 60_000, None, "10,848 B too many"),
            Candidate(2, 2, 20_000, 15_000, None),
            Candidate(4, 2, 10_288, 10_000, None),
            Candidate(4, 4, 9_000, 10_000, None),
        ),
        tensors=(
            TensorReport("x", "input", 1, 64, Axis.X, 16, "as numbered"),
            TensorReport("y", "Linear", 2, 32, Axis.Y, 16, "2 heads interleaved"),
        ),
        redistributions=0,
    ),
    on_host=(),
    not_finite=None,
    calls=6,
    launches=6,
    samples=360,
    is_in_tokens=False,
    cycles=60000,
    cycles_per_launch=10000.0,
    cycles_per_sample=60000 / 360,
    seconds_per_launch=10000 / 850e6,
    seconds_per_sample=60000 / 360 / 850e6,
    wavelet_hops_per_launch=20576.0,
    busy_pe_fraction=0.6251,
    busy_link_fraction=0.0432,
    bytes_in=100000,
    bytes_out=15360,
    parameters_sent=4,
    parameters_resent=2,
    flop=600_000,
    phases=(),
)


def part(name, measured, expected, *, is_collective=False):
    busy = None if measured is None else 0.5
    return PartReport(name, is_collective, measured, busy, expected)


DECODE = PhaseReport(
    phase=Phase.DECODE,
    calls=14,
    launches=14,
    rows=14,
    cycles=14 * 40_000,
    cycles_per_row=40_000.0,
    seconds_per_row=40_000 / 850e6,
    rows_per_second=850e6 / 40_000,
    expected_cycles_per_row=40_800.0,
    busy_pe_fraction=0.9,
    busy_link_fraction=0.003,
    parts=(
        part(LayerPart.ATTENTION, 20_000.0, 21_000.0),
        part(LayerPart.ATTENTION, 6_000.0, 5_500.0, is_collective=True),
        part(LayerPart.MLP, 10_000.0, 10_500.0),
        part(LayerPart.MLP, 3_000.0, 2_800.0, is_collective=True),
        part(None, 1_000.0, 1_000.0),
    ),
)
PREFILL = replace(
    DECODE,
    phase=Phase.PREFILL,
    calls=1,
    launches=1,
    rows=1_234,
    cycles_per_row=9_000.0,
    expected_cycles_per_row=8_910.0,
    rows_per_second=850e6 / 9_000,
)
MODEL = replace(
    PROGRAM,
    module="LlamaForCausalLM",
    memory=PeMemory(1, 0, 6000, 1234, 2048, 512, 1006),
    cache=CacheReport(512, 8.0, 64, 496),
    is_in_tokens=True,
    on_host=("cutting 'pixels' into patches", "adding 1 row of zeros"),
    not_finite=None,
    phases=(PREFILL, DECODE),
)


def shown(value, width=100):
    """Return what a terminal shows of something."""
    console = PlainConsole(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(value)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
