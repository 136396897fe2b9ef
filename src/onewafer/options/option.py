"""Classes of options: frozen dataclasses that convert and check what users write.

A field that `option` makes has a default, a help text, and a converter. The constructor takes the
values as users write them (`clock="850MHz"`); the fields hold the converted ones (850e6). Functions
get their arguments from such a class by `called_with`, commands by `cli.options.flags`.
"""

from __future__ import annotations

import dataclasses
import inspect
from contextlib import contextmanager
from enum import Enum
from functools import cache, wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, dataclass_transform

from onewafer.errors import ConfigurationError
from onewafer.options.conversion import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_P = ParamSpec("_P")
_Options = TypeVar("_Options")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class Spelling:
    """How messages write an option: as in Python, on a command line, or in a study."""

    equals: str
    dashes: str = ""

    def name(self, name: str) -> str:
        """Return an option without its value.

        >>> PYTHON.name("max_cycles"), COMMAND_LINE.name("max_cycles")
        ('max_cycles', '--max-cycles')
        """
        return f"{self.dashes}{name.replace('_', '-')}" if self.dashes else name

    def said(self, name: str, value: object) -> str:
        """Return an option with its value.

        >>> PYTHON.said("dtype", "f8"), COMMAND_LINE.said("dtype", "f8"), STUDY.said("batch", 0)
        ("dtype='f8'", '--dtype f8', 'batch = 0')
        """
        plain = value.value if isinstance(value, Enum) else value
        return f"{self.name(name)}{self.equals}{plain if self.dashes else repr(plain)}"


PYTHON = Spelling("=")
COMMAND_LINE = Spelling(" ", dashes="--")
STUDY = Spelling(" = ")


class OptionError(ConfigurationError):
    """An unusable value of an option, before it is known how its user writes options."""

    def __init__(self, say: Callable[[Spelling], str]) -> None:
        """Take the message as a function of the spelling; `str` shows Python's."""
        super().__init__(say(PYTHON))
        self.say = say


@contextmanager
def errors_in(spelling: Spelling) -> Generator[None]:
    """Let errors about options in this block write them in one spelling."""
    try:
        yield
    except OptionError as error:
        raise ConfigurationError(error.say(spelling)) from None


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option of a class."""

    name: str
    annotation: str
    """The type of what users write, as in a signature."""
    default: Any
    """As a user writes it; `inspect.Parameter.empty`: there is none."""
    help: str
    unset: str
    """The meaning of None."""
    metavar: str
    """The value on a command line."""
    converter: Callable[[Any], object] | None
    setting: str
    """The field of `Settings` that it replaces; empty: none."""
    is_positional: bool

    @property
    def kind(self) -> type:
        """The type that a command line reads."""
        return {"int": int, "float": float, "bool": bool}.get(self.annotation.split(" ")[0], str)

    def convert(self, value: Any) -> Any:  # noqa: ANN401  # a user's
        """Return the converted value; raise OptionError for one that is not usable."""
        if self.converter is None or (value is None and self.default is None):
            return value
        try:
            return self.converter(value)
        except ValueError as error:
            advice = str(error)
            raise OptionError(lambda s: f"{s.said(self.name, value)}: {advice}") from None


def option(
    *,
    default: Any = inspect.Parameter.empty,  # noqa: ANN401  # dataclasses' too
    converter: Callable[[Any], object] | None = None,
    help: str,  # noqa: A002  # the word of every library of options
    unset: str = "",
    metavar: str = "",
    setting: str = "",
    kw_only: bool = True,
) -> Any:  # noqa: ANN401  # likewise
    """Return the field of an option; a converter raises ValueError with what to write instead."""
    found = Option("", "", default, help, unset, metavar, converter, setting, not kw_only)
    usual = dataclasses.MISSING if default is inspect.Parameter.empty else default
    return dataclasses.field(default=usual, kw_only=kw_only, metadata={"option": found})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Options:
    """A class of options; it may have other fields, which users do not set."""

    def __init_subclass__(cls) -> None:
        """Make a dataclass of it."""
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Convert the values.

        Raises:
            ConfigurationError: one is not usable.
        """
        for found in options_of(type(self)):
            object.__setattr__(self, found.name, found.convert(getattr(self, found.name)))
        self.check_together()

    def check_together(self) -> None:
        """Refuse values that do not go together."""

    def refuse(self, name: str, advice: str, *, because: str | None = None) -> NoReturn:
        """Refuse the value of an option; that of another one may be the cause."""

        def say(spelling: Spelling) -> str:
            cause = f" ({spelling.said(because, getattr(self, because))})" if because else ""
            return f"{spelling.said(name, getattr(self, name))}: {advice}{cause}"

        raise OptionError(say)


@cache
def options_of(kind: type[Options]) -> tuple[Option, ...]:
    """Return the options of a class: positional ones, those of its bases, then its own."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]  # made a dataclass
    found = [_named(fields[name]) for name in _names(kind) if "option" in fields[name].metadata]
    return tuple(sorted(found, key=lambda option: not option.is_positional))


def _names(kind: type) -> list[str]:
    """Return the names of the options in order; where bases share one, its last place counts."""
    found = [*chain.from_iterable(map(_names, kind.__bases__)), *inspect.get_annotations(kind)]
    return [*dict.fromkeys(reversed(found))][::-1]


def _named(field: dataclasses.Field[Any]) -> Option:
    found: Option = field.metadata["option"]
    converter, said = found.converter, str(field.type)
    if converter is None:
        converter = USUAL.get(said.removesuffix(" | None"))
    else:
        (parameter, *_) = inspect.signature(converter).parameters.values()
        said = f"{parameter.annotation}{' | None' if found.default is None else ''}"
    return dataclasses.replace(found, name=field.name, annotation=said, converter=converter)


def called_with(
    kind: Callable[_P, _Options],
) -> Callable[[Callable[[_Options], _Result]], Callable[_P, _Result]]:
    """Let a function take the options of a class as its arguments, with their documentation."""
    options = options_of(kind)  # pyright: ignore[reportArgumentType]  # a class of options

    def decorate(function: Callable[[_Options], _Result]) -> Callable[_P, _Result]:
        @wraps(function)
        def call(*arguments: _P.args, **said: _P.kwargs) -> _Result:
            try:
                signature.bind(*arguments, **said)
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            with errors_in(PYTHON):
                return function(kind(*arguments, **said))

        signature = inspect.Signature(
            list(map(_parameter, options)), return_annotation=function.__annotations__["return"]
        )
        call.__dict__["__signature__"] = signature
        call.__annotations__ = {found.name: found.annotation for found in options}
        about, raises, errors = (inspect.getdoc(function) or "").partition("\n\nRaises:")
        lines = "".join(f"\n    {found.name}: {_described(found)}" for found in options)
        call.__doc__ = f"{about}\n\nArgs:{lines}{raises}{errors}"
        return call

    return decorate


def _parameter(found: Option) -> inspect.Parameter:
    keyword, either = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    place = either if found.is_positional else keyword
    return inspect.Parameter(found.name, place, default=found.default, annotation=found.annotation)


def _described(found: Option) -> str:
    return f"{found.help}; None: {found.unset}." if found.unset else f"{found.help}."
