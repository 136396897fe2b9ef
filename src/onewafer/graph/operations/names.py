"""The roles of names of tensors in the fields of an operation.

The annotation of a field says what its name stands for. Code that treats all operations alike
(renaming, JSON, the order of operations) reads the annotations.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum, auto
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(Enum):
    """The role of a name."""

    VALUE = auto()
    INDEX = auto()
    ANY = auto()
    PARAMETER = auto()
    POSITION_TABLE = auto()


ValueName = Annotated[str, Role.VALUE]
"""An input or a result that is numbers."""
IndexName = Annotated[str, Role.INDEX]
"""An input or a result whose elements are indices, of type i32."""
AnyName = Annotated[str, Role.ANY]
"""An input or a result of either kind."""
ParameterName = Annotated[str, Role.PARAMETER]
"""A parameter."""
PositionTableName = Annotated[str, Role.POSITION_TABLE]
"""A parameter that has a row for every position."""

ACTIVATIONS = frozenset({Role.VALUE, Role.INDEX, Role.ANY})
PARAMETERS = frozenset({Role.PARAMETER, Role.POSITION_TABLE})
INDICES = frozenset({Role.INDEX})
NUMBERS = frozenset({Role.VALUE})
POSITION_TABLES = frozenset({Role.POSITION_TABLE})


@cache
def field_types(kind: type[Any]) -> Mapping[str, Any]:
    """Return the types of the fields of a dataclass, in order."""
    hints = get_type_hints(kind, include_extras=True)
    return MappingProxyType({field.name: hints[field.name] for field in fields(kind)})


@cache
def name_fields(kind: type[Any]) -> Mapping[str, Role]:
    """Return the fields of a dataclass that name other tensors, in order, and their roles."""
    roles = {field: _role(hint) for field, hint in field_types(kind).items()}
    return MappingProxyType({field: role for field, role in roles.items() if role is not None})


@cache
def fields_with(kind: type[Any], roles: frozenset[Role]) -> tuple[str, ...]:
    """Return the fields of a dataclass that name other tensors of some roles, in order."""
    return tuple(field for field, role in name_fields(kind).items() if role in roles)


def _role(hint: Any) -> Role | None:  # noqa: ANN401  # any annotation
    """Return the role of the names in a field: one, none, or several."""
    if get_origin(hint) is Annotated:
        return next(item for item in hint.__metadata__ if isinstance(item, Role))
    roles = (_role(argument) for argument in get_args(hint))
    return next((role for role in roles if role is not None), None)
