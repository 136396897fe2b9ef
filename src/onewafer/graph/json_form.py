"""Graphs as JSON text, for files, caches and bug reports.

The fields of the dataclasses define the format; their annotations define the type of each value.
"""

from __future__ import annotations

import dataclasses
import json
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

from onewafer.errors import GraphError
from onewafer.graph.graph import Graph
from onewafer.graph.operations import Operation
from onewafer.graph.operations.names import field_types
from onewafer.graph.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "onewafer-graph-2"


def to_json(graph: Graph) -> str:
    """Return the graph as JSON; `from_json` returns an equal graph."""
    operations = [
        {"kind": type(operation).__name__, **dataclasses.asdict(operation)}
        for operation in graph.operations
    ]
    fields = {
        "name": graph.name,
        "inputs": [dataclasses.asdict(tensor) for tensor in graph.inputs],
        "parameters": [dataclasses.asdict(tensor) for tensor in graph.parameters],
        "operations": operations,
        "outputs": graph.outputs,
        "format": FORMAT,
    }
    return json.dumps(fields, indent=1)


def from_json(text: str) -> Graph:
    """Return the graph in a text; raise GraphError if it is none. `verify_graph` checks it."""
    try:
        return _read_graph(json.loads(text))
    except (
        *(ValueError, KeyError, TypeError, AttributeError),
        *(OverflowError, RecursionError),  # infinite sizes, deeply nested lists
    ) as error:
        raise GraphError(
            f"this is not a graph in the format {FORMAT!r}: {type(error).__name__}: {error}"
        ) from error


def _read_graph(fields: dict[str, object]) -> Graph:
    if fields["format"] != FORMAT:
        raise ValueError(f"the format is {fields['format']!r}")
    kinds = Operation.kinds()
    operations = cast("list[dict[str, object]]", fields["operations"])
    return Graph(
        name=str(fields["name"]),
        inputs=_read(tuple[Tensor, ...], fields["inputs"]),
        parameters=_read(tuple[Tensor, ...], fields["parameters"]),
        operations=tuple(_read_fields(kinds[str(item["kind"])], item) for item in operations),
        outputs=_read(tuple[str, ...], fields["outputs"]),
    )


def _read_fields(kind: type[Any], item: Mapping[str, object]) -> Any:  # noqa: ANN401  # a `kind`
    """Return a dataclass; fields with a default may be missing."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    return kind(
        **{
            name: _read(hint, item[name])
            for name, hint in field_types(kind).items()
            if name in item or defaults[name] is dataclasses.MISSING
        }
    )


def _read(hint: Any, value: Any) -> Any:  # noqa: ANN401  # any annotation
    """Return a value of the type `hint`; raise ValueError for another type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _read(arguments[0], value)
    if origin in (Union, UnionType):  # an optional value
        return None if value is None else _read(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], item) for item in cast("list[object]", value))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _read_fields(cast("type[Any]", hint), cast("dict[str, object]", value))
    return _read_plain(cast("type[Any]", hint), value)


def _read_plain(kind: type[Any], value: object) -> object:
    """Return text, a member of an enumeration, or a number."""
    if isinstance(value, str) and issubclass(kind, str):
        return kind(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and kind is float:
        return float(value)
    if kind in (int, bool) and type(value) is kind:
        return value
    raise ValueError(f"{value!r} is not a {kind.__name__}")
