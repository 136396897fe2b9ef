"""The rules of a well-formed graph (contract 3), one function each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.operations import OnSamples
from onewafer.graph.resizing import inputs_of_one_row, num_samples
from onewafer.graph.tensor import DataType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


def verify_graph(graph: Graph, *, seeds: Collection[str] = ()) -> None:
    """Raise GraphError with all broken rules, if there are any.

    The inputs in `seeds` are gradients of outputs, and have their rows.
    """
    findings: list[_Finding | str] = [
        *_check_tensors(graph),
        *_check_names(graph),
        *_check_numbers(graph),
    ]
    if not findings:  # types and shapes need valid names
        findings = [*_check_indices(graph), *_check_shapes(graph), *_check_rows(graph, seeds)]
    if not findings:
        findings = [*_check_feature_maps(graph, seeds)]
    if findings:
        rules = "\n".join(f"  - {finding}" for finding in findings)
        error = GraphError(f"graph {graph.name!r} is not well formed:\n{rules}")
        if isinstance(findings[-1], _Finding):
            error.result = findings[-1].operation.result.name
            error.finding = findings[-1].text
        raise error


@dataclass(frozen=True, slots=True)
class _Finding:
    """An operation with the rule that it breaks."""

    operation: Operation
    text: str

    def __str__(self) -> str:
        return f"{_where(self.operation)}: {self.text}"


def _where(operation: Operation) -> str:
    return f"{type(operation).__name__} that defines {operation.result.name!r}"


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
    dtypes = sorted({tensor.dtype for tensor in graph.tensors} - {DataType.I32})
    if len(dtypes) > 1:
        yield f"the tensors have dtypes {', '.join(dtypes)}; convert the model to one of them"
    indices = {operation.result.name for operation in graph.operations if operation.gives_indices}
    for tensor in graph.tensors[len(graph.inputs) :]:
        if tensor.dtype is DataType.I32 and tensor.name not in indices:
            yield (
                f"tensor {tensor.name!r} has dtype i32, which only indices may have: inputs, and "
                "results of TopIndices"
            )
        if tensor.dtype is not DataType.I32 and tensor.name in indices:
            yield f"tensor {tensor.name!r} has dtype {tensor.dtype}, but indices are i32"


def _check_names(graph: Graph) -> Iterator[str]:
    parameters = {tensor.name for tensor in graph.parameters}
    defined = {tensor.name for tensor in graph.inputs}
    for operation in graph.operations:
        where = _where(operation)
        for name in operation.activation_operands:
            if name in parameters:
                yield f"{where} reads the parameter {name!r} where an input or a result must stand"
            elif name not in defined:
                yield f"{where} reads {name!r}, which nothing before it defines"
        for name in operation.parameter_operands:
            if name not in parameters:
                yield f"{where} reads {name!r} as a weight or bias, but it is not a parameter"
        defined.add(operation.result.name)
    if not graph.outputs:
        yield "there is no output; name at least one result"
    for name in graph.outputs:
        if name not in defined:
            yield f"the output {name!r} is neither an input nor a result"


def _check_numbers(graph: Graph) -> Iterator[str]:
    for operation in graph.operations:
        wrong = operation.wrong_number()
        if wrong is not None:
            yield f"{_where(operation)}: {wrong}"


def _check_indices(graph: Graph) -> Iterator[str]:
    indices = {tensor.name for tensor in graph.tensors if tensor.dtype is DataType.I32}
    for operation in graph.operations:
        for name in operation.activation_operands:
            is_wanted = name in operation.index_operands
            if is_wanted and name not in indices:
                dtype = graph.tensor(name).dtype
                yield f"{_where(operation)}: {name!r} has dtype {dtype}, indices must be i32"
            if name in indices and not is_wanted and name in operation.number_operands:
                yield f"{_where(operation)} computes with the indices {name!r}; only lookups may"
    inputs = {tensor.name for tensor in graph.inputs}
    for name in graph.outputs:
        if name in indices and name in inputs:
            yield f"the output {name!r} is an input of indices, which nothing computes"


def _check_shapes(graph: Graph) -> Iterator[_Finding]:
    for operation in graph.operations:
        wrong = operation.wrong_operand(graph.by_name)
        if wrong is not None:
            yield _Finding(operation, wrong)
            continue
        expected = operation.result_shape(graph.by_name)
        if operation.result.shape != expected:
            found = operation.result.shape
            yield _Finding(operation, f"the result has shape {found}, must be {expected}")


def _check_rows(graph: Graph, seeds: Collection[str]) -> Iterator[_Finding | str]:
    """Check that all inputs of a sequence have its rows, except seeds and inputs of one row."""
    if not graph.is_sequence:
        return
    others = {*seeds, *inputs_of_one_row(graph)}
    rows = {tensor.shape[0] for tensor in graph.inputs if tensor.name not in others}
    if len(rows) != 1:
        numbers = " and ".join(str(number) for number in sorted(rows))
        yield f"the inputs have {numbers or 'no'} rows; those of a sequence have one number of rows"
        return
    (expected,) = rows
    for operation in graph.operations:
        found = operation.result.shape[0]
        if operation.has_all_rows and found != expected:
            yield _Finding(operation, f"it has {found} rows, a launch has {expected}")


def _check_feature_maps(graph: Graph, seeds: Collection[str]) -> Iterator[str]:
    """Check that all operations and inputs have the same number of feature maps."""
    on_feature_maps = [op for op in graph.operations if isinstance(op, OnSamples)]
    samples = num_samples(graph)
    for operation in on_feature_maps:
        found = operation.count_samples(graph.by_name)
        if found != samples:
            where = _where(operation)
            yield f"{where}: it has {found} feature maps, those before it have {samples}"
    if on_feature_maps and graph.is_sequence and samples > 1:
        where = _where(on_feature_maps[0])
        yield f"{where}: it has {samples} feature maps, and positions are of one sequence"
    for tensor in graph.inputs if on_feature_maps else ():
        if tensor.shape[0] % samples and tensor.name not in seeds:
            yield f"the input {tensor.name!r} has {tensor.shape[0]} rows for {samples} samples"
