"""Graphs as JSON text, for files, caches and bug reports."""

from __future__ import annotations

import dataclasses
import json
from typing import cast, get_args

from onewafer.errors import GraphError
from onewafer.graph.graph import Graph
from onewafer.graph.operations import ActivationFunction, Operation
from onewafer.graph.tensor import DataType, Tensor
from onewafer.graph.window import Window

FORMAT = "onewafer-graph-2"

_OPERATIONS: dict[str, type[Operation]] = {kind.__name__: kind for kind in get_args(Operation)}


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
    except (
        *(ValueError, KeyError, TypeError, AttributeError),
        *(OverflowError, RecursionError),  # a size that is infinite, a list in a list in a list …
    ) as error:
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
    fields = {
        field.name: _read_field(str(field.type), item[field.name])
        for field in dataclasses.fields(kind)
        if field.name in item or field.default is dataclasses.MISSING
    }
    return kind(**fields)  # pyright: ignore[reportArgumentType]  # types are those of the fields


def _read_field(
    kind: str, value: object
) -> Tensor | ActivationFunction | Window | tuple[str, ...] | str | float | bool | None:
    """Return a field of an operation from its JSON, by the name of the field's type."""
    match kind, value:
        case "Tensor", dict():
            return _read_tensor(cast("dict[str, object]", value))
        case "ActivationFunction", str():
            return ActivationFunction(value)
        case "Window", dict():
            return Window(**{str(k): int(v) for k, v in cast("dict[str, int]", value).items()})
        case "tuple[str, ...]", list():
            return tuple(str(name) for name in cast("list[object]", value))
        case ("str" | "str | None", str()) | ("bool", bool()):
            return value
        case "int" | "int | None", int() if not isinstance(value, bool):
            return value
        case "int | None" | "str | None", None:
            return None
        case "float", int() | float() if not isinstance(value, bool):
            return float(value)
        case _:
            raise ValueError(f"{value!r} is no {kind}")
