"""The NumPy reader, the cost model and the fabric say the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import (
    FLOATING,
    AddBias,
    DataType,
    Graph,
    LayerNorm,
    Linear,
    RmsNorm,
    Tensor,
    evaluate_graph,
)
from onewafer.image import SectionKind
from onewafer.mesh import emit, estimate, evaluate, footprint, numpy_dtype, shard
from onewafer.mesh.budget import num_tile_programs
from onewafer.mesh.collectives import ChainReduce
from onewafer.mesh.entry import ENTRY_WORDS
from tests.graph.strategies import graphs
from tests.mesh.fabric import compile_emitted, run_on_fabric
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays, turned_input

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
MACHINE = ARCHITECTURES["wse3"]
sides = st.integers(1, 4)
architectures = st.sampled_from(sorted(ARCHITECTURES))


SPECIAL_VALUES = (np.inf, np.nan, -0.0, 1e-45)


def check(graph, width, height, architecture, seed=0, *, tolerance=0.1):
    """Compare values bit by bit, and cycles with their tolerance."""
    program = shard(graph, width=width, height=height, architecture=architecture)
    inputs = random_arrays(graph.inputs, seed)
    parameters = random_arrays(graph.parameters, seed + 1)
    run = run_on_fabric(program, architecture, inputs, parameters)
    for name, value in evaluate(program, inputs, parameters).items():
        assert_same_bits(run.outputs[name], value)
    cycles = estimate(program, architecture).cycles
    assert abs(cycles - run.cycles) <= max(tolerance * run.cycles, 200)


@settings(max_examples=12)
@given(graphs(), sides, sides, architectures, st.integers(0, 9))
def test_random_graphs(graph, width, height, architecture, seed):
    check(graph, width, height, ARCHITECTURES[architecture], seed)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    graphs(max_features=40, max_operations=12),
    st.integers(1, 15),
    st.integers(1, 15),
    architectures,
    st.integers(0, 9),
)
def test_random_graphs_on_larger_rectangles(graph, width, height, architecture, seed):
    check(graph, width, height, ARCHITECTURES[architecture], seed)


@settings(max_examples=6)
@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=4),
    st.integers(1, 3),
    st.sampled_from(FLOATING),
    st.tuples(sides, sides),
    architectures,
)
def test_random_multilayer_perceptrons(sizes, batch, dtype, rectangle, architecture):
    check(mlp(sizes, batch=batch, dtype=dtype), *rectangle, ARCHITECTURES[architecture])


@pytest.mark.parametrize(
    ("sizes", "architecture", "dtype"),
    [
        pytest.param((13, 9, 13), "wse2", DataType.F16, id="even, wse2, f16"),
        pytest.param((13, 9, 13), "wse3", DataType.F32, id="even, wse3, f32"),
        pytest.param((13, 13), "wse2", DataType.F32, id="odd, wse2, f32"),
        pytest.param((13, 13), "wse3", DataType.F16, id="odd, wse3, f16"),
    ],
)
@pytest.mark.parametrize("rectangle", [(1, 1), (5, 1), (1, 4), (4, 5)], ids=str)
@pytest.mark.alternate(4)
def test_perceptron_with_residual(rectangle, sizes, architecture, dtype):
    graph = mlp(sizes, batch=2, dtype=dtype, is_residual=True)
    check(graph, *rectangle, ARCHITECTURES[architecture])


def test_silicon_profile():
    architecture = load_architecture("wse3", profile="silicon")
    check(mlp([13, 9, 13, 13], batch=3, is_residual=True), 4, 4, architecture)


def test_special_values_pass_through():
    graph = mlp([4, 4], batch=5)
    program = shard(graph, width=2, height=2, architecture=ARCHITECTURES["wse3"])
    x = np.ones((5, 4), np.float32)
    x[0, 0], x[1, 1], x[2, 2], x[3, 3] = SPECIAL_VALUES
    weight = np.eye(4, dtype=np.float32) * np.float32(3e38)
    parameters = {"0.weight": weight, "0.bias": -np.ones(4, np.float32)}
    run = run_on_fabric(program, ARCHITECTURES["wse3"], {"x": x}, parameters)
    assert_same_bits(run.outputs["0.sum"], evaluate(program, {"x": x}, parameters)["0.sum"])


@pytest.mark.parametrize("rectangle", [(1, 1), (3, 2), (5, 1)], ids=str)
def test_norms_of_groups_of_several_sizes_follow_one_another(rectangle):
    x, y, z = (Tensor(name, (3, 12), DataType.F16) for name in "xyz")
    weights = (Tensor("four", (4,), DataType.F16), Tensor("two", (2,), DataType.F16))
    norms = (RmsNorm(y, "x", "four", 1e-5, 3), RmsNorm(z, "y", "two", 1e-5, 6))
    check(Graph("norms", (x,), weights, norms, ("z",)), *rectangle, ARCHITECTURES["wse3"])


@pytest.mark.parametrize("kind", [RmsNorm, LayerNorm])
@pytest.mark.alternate
def test_a_weight_of_groups_is_repeated_as_often_as_each_norm_has_groups(kind):
    """On 8×8 PEs one group of 4 features and two lie in blocks of the same size."""
    sizes = {"x": 5, "y": 4, "z": 8}
    x, y, z = (Tensor(name, (3, size), DataType.F32) for name, size in sizes.items())
    vectors = ("four",) if kind is RmsNorm else ("four", "other")
    parameters = tuple(Tensor(name, (4,), DataType.F32) for name in vectors)
    weights = tuple(Tensor(f"{t.name}.weight", (t.shape[1], 5), DataType.F32) for t in (y, z))
    operations = []
    for tensor, weight in zip((y, z), weights, strict=True):
        operations.append(Linear(tensor, "x", weight.name))
        normed = Tensor(f"{tensor.name}.normed", tensor.shape, DataType.F32)
        operations.append(kind(normed, tensor.name, *vectors, 1e-5, tensor.shape[1] // 4))
    outputs = ("y.normed", "z.normed")
    graph = Graph("norms", (x,), (*parameters, *weights), tuple(operations), outputs)
    check(graph, 8, 8, ARCHITECTURES["wse3"])
    inputs, arrays = random_arrays(graph.inputs, 0), random_arrays(graph.parameters, 1)
    program = shard(graph, width=8, height=8, architecture=ARCHITECTURES["wse3"])
    found, exact = evaluate(program, inputs, arrays), evaluate_graph(graph, inputs, arrays)
    for name in outputs:
        np.testing.assert_allclose(found[name], exact[name], atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("rectangle", [(2, 2), (4, 3)], ids=str)
def test_infinities_stay_out_of_the_padding(rectangle, dtype):
    """All first weights are negative, so that ReLU makes zeros of the infinities."""
    machine = ARCHITECTURES["wse3"]
    graph = mlp([5, 3, 5, 2], batch=2, dtype=dtype)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=machine)
    parameters = random_arrays(graph.parameters, 1)
    parameters["0.weight"] = -np.abs(parameters["0.weight"])
    x = np.ones((2, 5), np.float32)
    x[1, 2] = np.inf
    run = run_on_fabric(program, machine, {"x": x}, parameters)
    for name, value in evaluate(program, {"x": x}, parameters).items():
        assert np.isfinite(value).all()
        assert_same_bits(run.outputs[name], value)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("rectangle", [(3, 2), (1, 3), (3, 1)], ids=str)
def test_a_turn_keeps_every_value(rectangle, dtype):
    machine = ARCHITECTURES["wse3"]
    graph = turned_input(7, batch=2, dtype=dtype)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=machine)
    x = np.resize(np.float32([*SPECIAL_VALUES, 0.0, -3.5]), (2, 7))
    arrays = {"x": x, "z": np.full_like(x, -0.0)}
    run = run_on_fabric(program, machine, arrays, {"weight": np.eye(7, dtype=np.float32)})
    assert_same_bits(run.outputs["turned"], x.astype(numpy_dtype(dtype)))


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("rectangle", [(16, 1), (1, 23), (17, 12)], ids=str)
@pytest.mark.alternate
def test_chains_from_both_ends(rectangle, dtype):
    graph = mlp([40, 30, 40], batch=2, dtype=dtype, is_residual=True)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=MACHINE)
    assert max(program.middle_x, program.middle_y) > 0
    check(graph, *rectangle, MACHINE)


def several_products(dtype, sizes=(7, 12, 4), *, rows=3):
    """Return a graph of linear operations that read one input; something is added to the first."""
    x = Tensor("x", (rows, 9), dtype)
    weights = tuple(Tensor(f"w{size}", (size, 9), dtype) for size in sizes)
    products = [
        Linear(Tensor(f"y{size}", (rows, size), dtype), "x", weight.name)
        for size, weight in zip(sizes, weights, strict=True)
    ]
    vector = Tensor("v", (sizes[0],), dtype)
    first, *others = products
    biased = AddBias(Tensor("sum", first.result.shape, dtype), first.result.name, "v")
    outputs = ("sum", *(product.result.name for product in others))
    return Graph("several", (x,), (*weights, vector), (first, biased, *others), outputs)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("rectangle", [(1, 1), (1, 3), (2, 1), (3, 2), (32, 2)], ids=str)
@pytest.mark.alternate(4)
def test_products_of_one_input_are_reduced_together(rectangle, rows, dtype):
    graph = several_products(dtype, rows=rows)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=MACHINE)
    chains = [item for item in program.operations if isinstance(item, ChainReduce)]
    is_copied = dtype is DataType.F32 and rows > 1
    assert len(chains) == (rectangle[0] > 1) * (3 if is_copied and rectangle[0] < 32 else 1)
    check(graph, *rectangle, MACHINE)


def test_many_sums_are_reduced_one_product_after_the_other():
    """1,024 at a time: they need room beside each other."""
    graph = several_products(DataType.F16, (600, 300, 200), rows=2)
    program = shard(graph, width=2, height=1, architecture=MACHINE)
    words = [op.values.num_elements for op in program.operations if isinstance(op, ChainReduce)]
    assert words == [1200, 1000]


@pytest.mark.parametrize("rectangle", [(1, 1), (2, 2), (4, 4), (6, 5), (24, 20)], ids=str)
def test_tile_programs_are_roles(rectangle):
    width, height = rectangle
    architecture = ARCHITECTURES["wse3"]
    program = shard(mlp([8, 8]), width=width, height=height, architecture=architecture)
    image = compile_emitted(emit(program, architecture), architecture)
    assert len(image.programs) <= num_tile_programs(program) <= 9


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.alternate
def test_the_footprint_is_an_upper_bound(architecture, dtype):
    machine = ARCHITECTURES[architecture]
    graph = mlp([24, 17, 24, 24], batch=2, dtype=dtype, is_residual=True)
    program = shard(graph, width=4, height=3, architecture=machine)
    image = compile_emitted(emit(program, machine), machine)
    most = max(sum(part.num_bytes for part in tile.sections) for tile in image.programs)
    # The frame is as large as all kernels together need it.
    assert most <= footprint(program, machine).total <= most + 256


def test_depth_changes_no_code():
    architecture = ARCHITECTURES["wse3"]
    images = [
        compile_emitted(
            emit(shard(mlp(sizes), width=4, height=4, architecture=architecture), architecture),
            architecture,
        )
        for sizes in ([8] * 3, [8] * 13)
    ]
    few, many = (
        [
            sum(part.num_bytes for part in program.sections if part.kind is SectionKind.CODE)
            for program in image.programs
        ]
        for image in images
    )
    assert few == many


DELAY_PLACES = 7


def with_delays(emitted):
    """Let every step of the state machine begin with a busy loop that the host chooses."""
    files = dict(emitted.files)
    files["layout.csl"] = files["layout.csl"].replace(
        '  @export_name("infer"', '  @export_name("delays", [*]u16, true);\n  @export_name("infer"'
    )
    files["pe.csl"] = files["pe.csl"].replace(
        "task step() void {",
        f"""
        var delays = @zeros([{DELAY_PLACES}]u16);
        const delays_pointer: [*]u16 = &delays;
        comptime {{ @export_symbol(delays_pointer, "delays"); }}

        task step() void {{
          var remaining: u16 = delays[(entry / {ENTRY_WORDS}) % {DELAY_PLACES}];
          while (remaining > 0) : (remaining -= 1) {{}}
        """,
    )
    return dataclasses.replace(emitted, files=files)


def check_delayed(program, machine, seed):
    """Delay every step of every PE by its own time; the values must stay."""
    generator = np.random.default_rng(seed)
    shape = (program.height, program.width, DELAY_PLACES)
    delays = generator.integers(0, 60, shape).astype(np.uint16)
    inputs = random_arrays(program.graph.inputs, 1)
    parameters = random_arrays(program.graph.parameters, 2)
    run = run_on_fabric(
        program,
        machine,
        inputs,
        parameters,
        prepare=lambda device: device.write("delays", delays),
        change=with_delays,
    )
    for name, value in evaluate(program, inputs, parameters).items():
        assert_same_bits(run.outputs[name], value)


@settings(max_examples=3)
@given(st.integers(0, 1000), architectures)
def test_no_delay_of_any_pe_changes_a_value(seed, architecture):
    machine = ARCHITECTURES[architecture]
    graph = mlp([6, 5, 7, 6], batch=2, is_residual=True)  # three linear operations and a turn
    check_delayed(shard(graph, width=4, height=3, architecture=machine), machine, seed)


@pytest.mark.slow
@settings(max_examples=100)
@given(graphs(), sides, sides, architectures, st.integers(0, 1000))
def test_no_delay_changes_a_value_of_any_graph(graph, width, height, architecture, seed):
    machine = ARCHITECTURES[architecture]
    check_delayed(shard(graph, width=width, height=height, architecture=machine), machine, seed)
