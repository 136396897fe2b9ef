"""The figures of a run against the same figures worked out by hand from the block sizes."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.execution import Fidelity, Loader, Phase, WaferOptions, Wanted, place
from onewafer.execution.executable import build_executor
from onewafer.execution.report import report_program
from onewafer.mesh.banks import PERIOD_BYTES
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")
ROWS, FEATURES, HIDDEN, CLASSES = 4, 6, 5, 3
WIDTH, HEIGHT = 3, 2
F32_BYTES = 4
GRAPH = mlp([FEATURES, HIDDEN, CLASSES], batch=ROWS)
WEIGHTS, INPUTS = random_arrays(GRAPH.parameters, 0), random_arrays(GRAPH.inputs, 1)


def run(fidelity, *, calls):
    loader = Loader(WaferOptions(fidelity=fidelity, rectangle=(WIDTH, HEIGHT)))
    program = loader.load(Wanted(place(GRAPH, WSE3, loader.options), "perceptron"))
    for _ in range(calls):
        program.keep(WEIGHTS)
        program.count_call(Phase.BATCH, [program.launch(INPUTS)], rows=ROWS, flop=0)
    return program.record


# The first layer has its inputs along x and its results along y; the second the other way round.
FIRST_INPUT, FIRST_RESULT = ceil(FEATURES / WIDTH), ceil(HIDDEN / HEIGHT)
SECOND_RESULT = ceil(CLASSES / WIDTH)


def test_wavelet_hops_are_those_of_the_reductions_and_broadcasts():
    record = run(Fidelity.FABRIC, calls=2)
    along_x = ROWS * FIRST_RESULT * (WIDTH - 1) * HEIGHT
    along_y = ROWS * SECOND_RESULT * (HEIGHT - 1) * WIDTH
    assert record.launches == 2
    assert record.activity.wavelet_hops == 2 * 2 * (along_x + along_y)


def test_bytes_are_those_of_padded_blocks_without_replicas():
    record = run(Fidelity.FABRIC, calls=2)
    weights = WIDTH * HEIGHT * FIRST_RESULT * (FIRST_INPUT + SECOND_RESULT)
    biases = HEIGHT * FIRST_RESULT + WIDTH * SECOND_RESULT
    inputs, outputs = ROWS * WIDTH * FIRST_INPUT, ROWS * WIDTH * SECOND_RESULT
    assert record.figures.bytes_in == F32_BYTES * (weights + biases + 2 * inputs)
    assert record.figures.bytes_out == F32_BYTES * 2 * outputs


def test_launches_add_up_and_fractions_are_fractions():
    once = run(Fidelity.FABRIC, calls=1)
    twice = run(Fidelity.FABRIC, calls=2)
    both = once.activity + once.activity
    assert replace(twice.activity, spent={}) == replace(both, spent={})
    assert sum(spent.cycles for spent in twice.activity.spent.values()) == pytest.approx(
        twice.activity.cycles
    )
    program = report_program(twice)
    assert program.cycles_per_sample == once.activity.cycles / ROWS
    assert program.cycles_per_launch == once.activity.cycles
    assert 0 < program.busy_pe_fraction < 1
    num_links = 2 * ((WIDTH - 1) * HEIGHT + WIDTH * (HEIGHT - 1))
    hops = once.activity.wavelet_hops
    expected = hops / (num_links * once.activity.cycles)
    assert program.busy_link_fraction == pytest.approx(expected)


def test_memory_is_that_of_the_fullest_pe():
    program = place(GRAPH, WSE3, WaferOptions(rectangle=(WIDTH, HEIGHT))).program
    executor = build_executor(program, WSE3, Fidelity.FABRIC)
    memory, image = executor.figures.memory, executor.image
    totals = [sum(section.num_bytes for section in p.sections) for p in image.programs]
    used = np.array(totals)[image.program_of_pe]
    assert memory.total_bytes == used.max() == used[memory.y, memory.x]
    first = FIRST_RESULT * FIRST_INPUT, FIRST_RESULT
    second = SECOND_RESULT * FIRST_RESULT, SECOND_RESULT
    # Each block begins in the first bank, so that its rows meet no conflicts (M13).
    padded = [ceil(F32_BYTES * size / PERIOD_BYTES) * PERIOD_BYTES for size in first + second]
    assert memory.weight_bytes == sum(padded)
    assert memory.activation_bytes >= F32_BYTES * ROWS * (FIRST_INPUT + FIRST_RESULT)
    assert min(memory.code_bytes, memory.buffer_bytes) > 0


def test_model_fidelity_knows_cycles_bytes_and_an_upper_bound_of_memory():
    record = run(Fidelity.MODEL, calls=2)
    simulated = run(Fidelity.FABRIC, calls=2)
    assert record.activity.cycles == pytest.approx(simulated.activity.cycles, rel=0.1, abs=400)
    parameters = HIDDEN * (FEATURES + 1) + CLASSES * (HIDDEN + 1)
    assert record.figures.bytes_in == F32_BYTES * (parameters + 2 * ROWS * FEATURES)
    assert record.figures.bytes_out == F32_BYTES * 2 * ROWS * CLASSES
    program = report_program(record)
    assert program.tile_programs is program.busy_pe_fraction is program.memory.x is None
    measured = simulated.figures.memory
    assert program.memory.weight_bytes == measured.weight_bytes
    assert measured.total_bytes <= program.memory.total_bytes < 1.5 * measured.total_bytes
