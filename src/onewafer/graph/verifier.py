"""The rules of contract 3, one a paragraph."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, assert_never

from onewafer.errors import GraphError
from onewafer.graph.graph import (
    Add,
    AddBias,
    Linear,
    Relu,
    activation_operands,
    parameter_operands,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.graph.graph import Graph, Operation, Tensor


def verify_graph(graph: Graph) -> None:
    """Raise GraphError with every broken rule; return if there is none."""
    findings = [*_check_tensors(graph), *_check_names(graph)]
    if not findings:  # shapes are only worth a look once every name means something
        findings = list(_check_shapes(graph))
    if findings:
        rules = "\n".join(f"  - {finding}" for finding in findings)
        raise GraphError(f"graph {graph.name!r} is not well formed:\n{rules}")


def _check_tensors(graph: Graph) -> Iterator[str]:
    for tensor in graph.tensors:
        if not tensor.shape or min(tensor.shape) < 1:
            yield (
                f"tensor {tensor.name!r} has shape {tensor.shape}; "
                "it needs at least one dimension, and every dimension at least 1"
            )
    for name, count in Counter(tensor.name for tensor in graph.tensors).items():
        if count > 1:
            yield f"the name {name!r} is defined {count} times; give each tensor its own name"
    dtypes = sorted({tensor.dtype for tensor in graph.tensors})
    if len(dtypes) > 1:
        yield f"the tensors have dtypes {', '.join(dtypes)}; convert the model to one of them"


def _check_names(graph: Graph) -> Iterator[str]:
    parameters = {tensor.name for tensor in graph.parameters}
    defined = {tensor.name for tensor in graph.inputs}
    for operation in graph.operations:
        where = f"{type(operation).__name__} that defines {operation.result.name!r}"
        for name in activation_operands(operation):
            if name in parameters:
                yield f"{where} reads the parameter {name!r} where an input or a result must stand"
            elif name not in defined:
                yield f"{where} reads {name!r}, which nothing before it defines"
        for name in parameter_operands(operation):
            if name not in parameters:
                yield f"{where} reads {name!r} as a weight or bias, but it is not a parameter"
        defined.add(operation.result.name)
    if not graph.outputs:
        yield "there is no output; name at least one result"
    for name in graph.outputs:
        if name not in defined:
            yield f"the output {name!r} is neither an input nor a result"


def _check_shapes(graph: Graph) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    for operation in graph.operations:
        wrong = _wrong_operand(operation, tensors)
        expected = _result_shape(operation, tensors)
        where = f"{type(operation).__name__} that defines {operation.result.name!r}"
        if wrong is not None:
            yield f"{where}: {wrong}"
        elif operation.result.shape != expected:
            yield f"{where}: the result has shape {operation.result.shape}, must be {expected}"


def _wrong_operand(operation: Operation, tensors: Mapping[str, Tensor]) -> str | None:
    match operation:
        case Linear():
            weight, features = tensors[operation.weight].shape, tensors[operation.input].shape[-1]
            if len(weight) != 2 or weight[1] != features:  # noqa: PLR2004 - a matrix
                return f"the weight has shape {weight}, must be (out features, {features})"
        case AddBias():
            bias, features = tensors[operation.bias].shape, tensors[operation.input].shape[-1]
            if bias != (features,):
                return f"the bias has shape {bias}, must be ({features},)"
        case Relu():
            pass
        case Add():
            left, right = tensors[operation.left].shape, tensors[operation.right].shape
            if left != right:
                return f"the operands have shapes {left} and {right}, which must be equal"
        case _:
            assert_never(operation)
    return None


def _result_shape(operation: Operation, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    match operation:
        case Linear():
            return (*tensors[operation.input].shape[:-1], tensors[operation.weight].shape[0])
        case AddBias() | Relu():
            return tensors[operation.input].shape
        case Add():
            return tensors[operation.left].shape
        case _:
            assert_never(operation)
