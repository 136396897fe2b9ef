import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.graph import (
    Add,
    Attention,
    DataType,
    Evaluator,
    Graph,
    Linear,
    Multiply,
    Relu,
    Scale,
    Tensor,
)
from onewafer.mesh import Launch, find_non_finite, shard

WSE3 = load_architecture("wse3")
F16 = DataType.F16


def tensor(name, rows=2, columns=6):
    return Tensor(name, (rows, columns), F16)


def squares():
    """Return x → relu(((2x)² + 2x) · weight), a graph whose third step may overflow."""
    names = ("twice", "square", "sum", "product", "relu")
    twice, square, total, product, relu = (tensor(name) for name in names)
    operations = (
        Scale(twice, "x", 2.0),
        Multiply(square, "twice", "twice"),
        Add(total, "square", "twice"),
        Linear(product, "sum", "weight"),
        Relu(relu, "product"),
    )
    return Graph("squares", (tensor("x"),), (tensor("weight", 6, 6),), operations, ("relu",))


def every_result(graph):
    results = tuple(operation.result.name for operation in graph.operations)
    return Graph(graph.name, graph.inputs, graph.parameters, graph.operations, results)


@pytest.mark.parametrize("rectangle", [(1, 1), (2, 3)], ids=str)
def test_the_first_operation_and_its_pe_are_found(rectangle):
    graph = squares()
    width, height = rectangle
    program = shard(graph, width=width, height=height, architecture=WSE3)
    x = np.ones((2, 6), np.float16)
    x[1, 5] = 200  # 400² is beyond 65,504
    parameters = {"weight": np.eye(6, dtype=np.float16)}
    host = Evaluator(every_result(graph), parameters, dtype=np.float32).run({"x": x})
    launches = [({"x": x}, program.whole_launch())]
    found = find_non_finite(program, parameters, launches, [host])
    assert found is not None
    assert (found.launch, graph.operations[found.operation].result.name) == (0, "square")
    assert (found.value, found.x, found.y) == (np.inf, width - 1, 0)


def test_what_the_host_has_as_well_is_not_meant():
    graph = squares()
    program = shard(graph, width=2, height=2, architecture=WSE3)
    x = np.full((2, 6), np.inf, np.float16)
    parameters = {"weight": np.eye(6, dtype=np.float16)}
    with np.errstate(all="ignore"):
        host = Evaluator(every_result(graph), parameters, dtype=np.float32).run({"x": x})
    launches = [({"x": x}, program.whole_launch())]
    assert find_non_finite(program, parameters, launches, [host]) is None


def test_a_later_launch_of_a_sequence_is_named():
    q, k, v, out = (tensor(name, 2, 4) for name in ("q", "k", "v", "out"))
    attention = Attention(out, "q", "k", "v", heads=1, kv_heads=1, scale=1.0, is_causal=True)
    doubled = Add(tensor("doubled", 2, 4), "out", "out")
    graph = Graph("attend", (q, k, v), (), (attention, doubled), ("doubled",))
    program = shard(graph, width=2, height=2, architecture=WSE3, context=8)
    ones = np.ones((2, 4), np.float16)
    inputs = [{"q": ones, "k": ones, "v": ones * size} for size in (1, 1, 60_000)]
    evaluator = Evaluator(every_result(graph), {}, dtype=np.float32)
    launches = [(each, Launch.at(2 * i, 2)) for i, each in enumerate(inputs)]
    host = [evaluator.run(each, 2 * i, 2) for i, each in enumerate(inputs)]
    assert find_non_finite(program, {}, launches[:2], host[:2]) is None
    launches[2] = ({**inputs[2], "v": ones * 65_504}, launches[2][1])
    launches[2][0]["k"] = ones * 4  # the new positions count for nearly all
    found = find_non_finite(program, {}, launches, host)
    assert found is not None
    assert (found.launch, graph.operations[found.operation].result.name) == (2, "doubled")
