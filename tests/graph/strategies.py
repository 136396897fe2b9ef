"""Random well-formed graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from onewafer.graph import Add, AddBias, DataType, Graph, Linear, Relu, Tensor

if TYPE_CHECKING:
    from onewafer.graph import Operation


@st.composite
def graphs(draw: st.DrawFn, *, max_features: int = 12, max_operations: int = 6) -> Graph:
    """Draw a chain of operations with residual connections, over anything, of one shape."""
    dtype = draw(st.sampled_from(DataType))
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    few = draw(st.lists(st.integers(1, max_features), min_size=1, max_size=2))
    sizes = st.sampled_from(few)  # so that tensors of one shape are common
    x = Tensor("x", (*batch, draw(sizes)), dtype)
    live, parameters, operations = [x], list[Tensor](), list["Operation"]()
    for index in range(draw(st.integers(0, max_operations))):
        source = live[-1]
        name = f"t{index}"
        match draw(st.sampled_from(["linear", "bias", "relu", "add"])):
            case "linear":
                out = draw(sizes)
                parameters.append(Tensor(f"{name}.weight", (out, source.shape[-1]), dtype))
                result = Tensor(name, (*batch, out), dtype)
                operations.append(Linear(result, source.name, parameters[-1].name))
            case "bias":
                parameters.append(Tensor(f"{name}.bias", (source.shape[-1],), dtype))
                result = Tensor(name, source.shape, dtype)
                operations.append(AddBias(result, source.name, parameters[-1].name))
            case "relu":
                result = Tensor(name, source.shape, dtype)
                operations.append(Relu(result, source.name))
            case _:
                other = draw(st.sampled_from([t for t in live if t.shape == source.shape]))
                result = Tensor(name, source.shape, dtype)
                left, right = draw(st.permutations([source.name, other.name]))
                operations.append(Add(result, left, right))
        live.append(result)
    return Graph("random", (x,), tuple(parameters), tuple(operations), (live[-1].name,))
