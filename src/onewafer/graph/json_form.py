"""Graphs as JSON text, for files, caches and bug reports."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, cast

from onewafer.errors import GraphError
from onewafer.graph.graph import Add, AddBias, DataType, Graph, Linear, Relu, Tensor

if TYPE_CHECKING:
    from onewafer.graph.graph import Operation

FORMAT = "onewafer-graph-1"

_OPERATIONS: dict[str, type[Operation]] = {
    kind.__name__: kind for kind in (Linear, AddBias, Relu, Add)
}


def to_json(graph: Graph) -> str:
    """Return the graph as JSON; `from_json` gives an equal graph."""
    operations = [
        {"kind": type(operation).__name__, **dataclasses.asdict(operation)}
        for operation in graph.operations
    ]
    fields = dataclasses.asdict(graph) | {"format": FORMAT, "operations": operations}
    return json.dumps(fields, indent=1)


def from_json(text: str) -> Graph:
    """Read a graph; raise GraphError if the text is not one. Call `verify_graph` on the result."""
    try:
        return _read_graph(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GraphError(
            f"this is not a graph in the format {FORMAT!r}: {type(error).__name__}: {error}"
        ) from error


def _read_graph(fields: dict[str, object]) -> Graph:
    if fields["format"] != FORMAT:
        raise ValueError(f"the format is {fields['format']!r}")
    return Graph(
        name=str(fields["name"]),
        inputs=_read_tensors(fields["inputs"]),
        parameters=_read_tensors(fields["parameters"]),
        operations=tuple(
            _read_operation(item) for item in cast("list[dict[str, object]]", fields["operations"])
        ),
        outputs=tuple(str(name) for name in cast("list[object]", fields["outputs"])),
    )


def _read_tensors(items: object) -> tuple[Tensor, ...]:
    return tuple(_read_tensor(item) for item in cast("list[dict[str, object]]", items))


def _read_tensor(item: dict[str, object]) -> Tensor:
    shape = tuple(int(size) for size in cast("list[int]", item["shape"]))
    return Tensor(str(item["name"]), shape, DataType(str(item["dtype"])))


def _read_operation(item: dict[str, object]) -> Operation:
    kind = _OPERATIONS[str(item["kind"])]
    result = _read_tensor(cast("dict[str, object]", item["result"]))
    operands = {name: str(item[name]) for name in _operand_fields(kind)}
    return kind(result, **operands)


def _operand_fields(kind: type[Operation]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.name != "result")
