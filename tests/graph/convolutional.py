"""Random windows, and random well-formed graphs on maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from onewafer.graph import (
    Add,
    AddBias,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    Linear,
    MaxPool,
    Relu,
    ScaleFeatureMaps,
    ScaleFeatures,
    Tensor,
    Window,
)
from tests.graph.strategies import FLOATS

if TYPE_CHECKING:
    from onewafer.graph import Operation

KINDS = ("convolution", "depthwise", "max pool", "linear", "bias", "factors", "relu", "add", "gate")


@st.composite
def windows(draw: st.DrawFn, height: int, width: int) -> Window:
    """Draw a window that fits its feature map, any pixel of which may lie wholly in the margins."""
    sizes: list[dict[str, int]] = []
    for size in (height, width):
        dilation = draw(st.integers(1, 2))
        before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        kernel = draw(st.integers(1, (size + before + after - 1) // dilation + 1))
        stride = draw(st.integers(1, 3))
        sizes.append(
            {
                "kernel": min(kernel, 3),
                "stride": stride,
                "before": before,
                "after": after,
                "dilation": dilation,
            }
        )
    y, x = sizes
    return Window(
        *(height, width, y["kernel"], x["kernel"], y["stride"], x["stride"]),
        *(y["before"], x["before"], y["after"], x["after"], y["dilation"], x["dilation"]),
    )


@st.composite
def convolutional(
    draw: st.DrawFn, *, max_side: int = 4, max_features: int = 5, max_operations: int = 4
) -> Graph:
    """Draw a chain of operations on the feature maps of one or two samples."""
    dtype = draw(FLOATS)
    samples = draw(st.integers(1, 2))
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    features = st.integers(1, max_features)
    source = Tensor("x", (samples * height * width, draw(features)), dtype)
    first, parameters, operations = source, list[Tensor](), list["Operation"]()

    def parameter(*shape: int) -> str:
        parameters.append(Tensor(f"p{len(parameters)}", shape, dtype))
        return parameters[-1].name

    for index in range(draw(st.integers(1, max_operations))):
        name, old = f"t{index}", source.name
        columns = source.shape[1]
        result = Tensor(name, source.shape, dtype)
        match draw(st.sampled_from(KINDS)):
            case "linear":
                out = draw(features)
                result = Tensor(name, (source.shape[0], out), dtype)
                operations.append(Linear(result, old, parameter(out, columns)))
            case "bias":
                operations.append(AddBias(result, old, parameter(columns)))
            case "factors":
                operations.append(ScaleFeatures(result, old, parameter(columns)))
            case "relu":
                operations.append(Relu(result, old))
            case "add":
                operations.append(Add(result, old, old))
            case "gate":
                gate, pixels = Tensor(f"{name}.gate", (samples, columns), dtype), height * width
                operations.append(GlobalAveragePool(gate, old, pixels))
                operations.append(ScaleFeatureMaps(result, old, gate.name, pixels))
            case kind:
                window = draw(windows(height, width))
                if kind == "max pool" and (window.sources() < 0).all(axis=1).any():
                    window = Window(height, width, height, width)
                height, width = window.result_height, window.result_width
                taps, out = window.num_taps, draw(features) if kind == "convolution" else columns
                result = Tensor(name, (samples * height * width, out), dtype)
                match kind:
                    case "convolution":
                        weight = parameter(taps, out, columns)
                        operations.append(Convolution(result, old, weight, window))
                    case "depthwise":
                        weight = parameter(taps, columns)
                        operations.append(DepthwiseConvolution(result, old, weight, window))
                    case _:
                        operations.append(MaxPool(result, old, window))
        source = result
    if draw(st.booleans()):
        result = Tensor("mean", (samples, source.shape[1]), dtype)
        operations.append(GlobalAveragePool(result, source.name, height * width))
    last = operations[-1].result.name
    return Graph("maps", (first,), tuple(parameters), tuple(operations), (last,))
