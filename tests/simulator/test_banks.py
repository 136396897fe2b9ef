"""Banks of memory, and rows of blocks in it: M13, M151."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import DsdOperation, ScalarType
from tests.simulator.assembly import WSE2, WSE3, Kernel, boot, eastward, receiver

FADDS, FADDH = DsdOperation.FADDS, DsdOperation.FADDH
N = 32
WORDS = 3 * N + 8
"""Words of the memory that both sources are taken from."""


def with_factor(factor, architecture=WSE2):
    return replace(
        architecture, timing=replace(architecture.timing, bank_conflict_factor=Fraction(factor))
    )


def operand(kernel, address, *, form="mem1d", stride=1):
    if form == "mem1d":
        return kernel.vector(address, N, stride)
    return kernel.block(address, (N // 4, 4), (4 * stride, stride))


def duration(engine, left, right, *, kind=FADDS, architecture=None, **strides):
    """Return the cycles of an operation on vectors that begin at two byte offsets."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=WORDS)
    result = kernel.data("result", ScalarType.U32, num_elements=N)
    kernel.function("main")
    kernel.operate(
        kind,
        kernel.vector(result, N),
        operand(kernel, base + left, stride=strides.get("left_stride", 1)),
        operand(kernel, base + right, form=strides.get("form", "mem1d")),
    )
    run = boot(kernel.finish(), engine=engine, architecture=architecture or with_factor(2))
    return run.launch().duration()


@pytest.mark.parametrize(("words", "cycles"), [(0, 64), (1, 32), (2, 32), (3, 32), (4, 64)])
def test_equal_banks_take_turns(engine, words, cycles):
    """M13: one of four alignments takes twice as long (SPMM: 2n + 6 for n + 6)."""
    assert duration(engine, 0, 4 * words) == cycles
    assert duration(engine, 4 * words, 0) == cycles


def test_the_word_counts_not_the_byte(engine):
    """M13: two f16 in one word lie in one bank."""
    assert duration(engine, 0, 2, kind=FADDH) == 2 * duration(engine, 0, 4, kind=FADDH)


def test_sources_at_different_paces_do_not_conflict(engine):
    """M13: only a conflict that lasts counts."""
    assert duration(engine, 0, 0, left_stride=2) == N


def test_a_block_walks_like_a_vector(engine):
    """M13: of a mem4d operand, the innermost loop counts."""
    wraps = 2 * (N // 4 - 1)  # M151
    assert duration(engine, 0, 4, form="mem4d") == N + wraps
    assert duration(engine, 0, 16, form="mem4d") == 2 * N + wraps


@pytest.mark.parametrize(
    ("row", "skipped", "num_wraps"), [(4, 0, 7), (4, 2, 8), (5, 0, 6), (N, 0, 0), (N, 1, 1)]
)
def test_end_of_a_row_takes_cycles(engine, row, skipped, num_wraps):
    """M151: as often as the innermost loop begins again; it may begin within a row (M124)."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=WORDS)
    kernel.function("main")
    block = kernel.block(base + 4, (N, row), (row, 1), skipped=skipped, extent=N)
    kernel.operate(FADDS, kernel.vector(base, N), kernel.vector(base, N), block)
    run = boot(kernel.finish(), engine=engine, architecture=WSE2).launch()
    assert run.duration() == N + num_wraps * WSE2.timing.wrap_cycles


@pytest.mark.parametrize("loops", [1, 2])
def test_rows_of_one_source_or_one_loop_cost_nothing(engine, loops):
    """M151: the first loop goes on past its extent, and no second source asks for a bank."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=WORDS)
    kernel.function("main")
    extents, strides = ((N // 4, 4), (4, 1)) if loops > 1 else ((4,), (1,))
    block = kernel.block(base + 4, extents, strides, extent=N)
    left = kernel.vector(base, N) if loops == 1 else None
    kernel.operate(
        FADDS if left else DsdOperation.MOV32,
        kernel.vector(base, N),
        *filter(None, (left,)),
        src1=block,
    )
    run = boot(kernel.finish(), engine=engine, architecture=WSE2).launch()
    assert run.duration() == (N if left else N // 2)


def test_factor_is_an_exact_fraction(engine):
    """M13, M32: rounded up once an operation, after the rate."""
    architecture = with_factor("97/50", WSE3)
    assert duration(engine, 0, 0, architecture=architecture) == 32  # 32 / 2 · 1.94 = 31.04
    assert duration(engine, 0, 4, architecture=architecture) == 16


def test_one_source_in_memory_has_no_conflict(engine):
    """M13: the destination does not count."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=N)
    kernel.function("main")
    vector = kernel.vector(base, N)
    kernel.operate(DsdOperation.MOV32, vector, src1=vector)
    run = boot(kernel.finish(), engine=engine, architecture=with_factor(2))
    assert run.launch().duration() == N // 2


@pytest.mark.parametrize(("words", "cycles"), [(0, 2), (1, 1)])
def test_elements_to_the_fabric_take_turns_too(engine, words, cycles):
    """M13, M33: an element keeps the data path while its words are read one after the other."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=WORDS)
    kernel.function("main")
    left = kernel.vector(base, N)
    right = kernel.vector(base + 4 * words, N)
    kernel.operate(FADDS, kernel.outgoing(0, N), left, right)
    programs = {(0, 0): kernel.finish(), (1, 0): receiver(0, N)}
    run = boot(
        programs, engine=engine, architecture=with_factor(2), width=2, routes=eastward(0, 0, 1)
    ).launch()
    assert run.duration() == N * cycles


@given(left=st.integers(0, 31), right=st.integers(0, 31), kind=st.sampled_from([FADDS, FADDH]))
def test_only_the_distance_of_the_words_counts(left, right, kind):
    """M13: read straight from the rule."""
    conflict = (left // 4 - right // 4) % 4 == 0
    best = duration("reference", 0, 4, kind=kind)
    assert duration("reference", left, right, kind=kind) == best * (1 + conflict)
