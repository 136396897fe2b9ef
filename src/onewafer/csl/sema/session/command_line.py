"""Faults of params given on the command line, told as advice on its options."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.csl.sema import types as t
from onewafer.terminal import cut


@dataclass(frozen=True, slots=True)
class GivenParam:
    """One value of `--params` or `--colors`, as written."""

    option: str
    name: str
    written: str

    def __str__(self) -> str:
        """`--params=n:8`."""
        return f"--{self.option}={self.name}:{cut(self.written)}"

    def with_value(self, written: str) -> str:
        """Return the option with another value."""
        return str(GivenParam("params", self.name, written))

    def misfit(self, type_: t.Type) -> str:
        """Return the message that the value does not fit a param of a type."""
        what = f"the value of `{self}`"
        if self.option == "colors":
            return f"{what} is a color, and the param is of type `{type_}`"
        return f"{what} is not a `{type_}`{_limits(type_)}"

    def advice(self, type_: t.Type) -> str:
        """Return the advice for a param of a type."""
        match type_:
            case t.COLOR:
                return f"give a color with `--colors={self.name}:…`"
            case t.IntegerType() | t.COMPTIME_INT:
                example = "8"
            case t.FloatType() | t.COMPTIME_FLOAT:
                example = "0.5"
            case t.BOOL:
                example = "true"
            case t.COMPTIME_STRING:
                quoted = self.with_value(f'"{self.written}"')
                return f"put it in quotes: `'{quoted}'`"
            case _:
                return (
                    "the command line gives numbers, `true`, `false`, strings and colors; let the "
                    "layout make the value from those"
                )
        return f"write, for example, `{self.with_value(example)}`"


def _limits(type_: t.Type) -> str:
    if isinstance(type_, t.IntegerType):
        return f" ({type_.minimum} … {type_.maximum})"
    return " (true or false)" if type_ is t.BOOL else ""
