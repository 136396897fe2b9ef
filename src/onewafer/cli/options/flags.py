"""Flags of commands, from their parameters that are classes of options."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from inspect import Parameter, Signature, isclass, signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from onewafer.options import COMMAND_LINE, Options, errors_in, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.options import Option

_METAVARS = {int: "N", float: "N", bool: None}


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with a flag for each option of its parameters that are classes of options.

    Errors about options write them as on a command line.
    """
    hints = get_type_hints(command, include_extras=True)
    kinds = {name: kind for name, kind in hints.items() if isclass(kind) and _has_options(kind)}

    def flags() -> Iterator[Parameter]:
        for parameter in signature(command).parameters.values():
            if parameter.name in kinds:
                yield from map(_flag, options_of(kinds[parameter.name]))
            else:
                yield parameter.replace(annotation=hints[parameter.name])

    @wraps(command)
    def call(**said: Any) -> None:  # noqa: ANN401  # as Typer reads them
        with errors_in(COMMAND_LINE):
            options = {
                name: kind(**{found.name: said.pop(found.name) for found in options_of(kind)})
                for name, kind in kinds.items()
            }
            command(**said, **options)

    shown = Signature(list(flags()))
    call.__dict__["__signature__"] = shown
    call.__annotations__ = {name: one.annotation for name, one in shown.parameters.items()}
    return call


def _has_options(kind: type) -> bool:
    return issubclass(kind, Options)


def _number(text: str) -> float | str:
    """Return the number that a text says, or the text: the option's converter refuses it."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _flag(found: Option) -> Parameter:
    usual = f" [default: {found.unset}]" if found.unset else ""
    flag = typer.Option(
        COMMAND_LINE.name(found.name),
        parser=_number if found.kind in (int, float) else None,
        metavar=found.metavar or _METAVARS.get(found.kind, "NAME"),
        help=f"{found.help}{usual}.",
    )
    kind: Any = found.kind if found.default is not None else found.kind | None
    kept, annotation = Parameter.KEYWORD_ONLY, Annotated[kind, flag]
    return Parameter(found.name, kept, default=found.default, annotation=annotation)
