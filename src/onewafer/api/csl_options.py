"""Options of a compilation from plain values: those of a command line or of a Python call."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onewafer.csl import CompileOptions
    from onewafer.image import ScalarType

_NAMED_AS = "import_path: "


def csl_options(
    file: str,
    *,
    arch: str,
    params: Mapping[str, str],
    colors: Mapping[str, str],
    fabric_dims: tuple[int, int] | None = None,
    fabric_offsets: tuple[int, int] | None = None,
    memcpy: bool = True,
    import_path: Iterable[str] = (),
    import_path_option: str = _NAMED_AS,
    fp16_format: str = "f16",
    warnings_as_errors: bool = False,
    width_west_buf: int = 0,
    width_east_buf: int = 0,
    section_addresses: Mapping[str, int] | None = None,
    max_comptime_steps: int | None = None,
    max_inlined_iterations: int | None = None,
    comptime_func_depth_limit: int | None = None,
    optimizes: bool = True,
    by_function: bool = False,
) -> CompileOptions:
    """Return the options of a compilation; params and colors as `cslc` writes them.

    Raises:
        ConfigurationError: there is no such machine, format or folder.
    """
    from onewafer.arch import load_architecture  # noqa: PLC0415  # when it is used
    from onewafer.csl import CompileOptions  # noqa: PLC0415  # likewise

    folders = [*import_path]
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigurationError(f"{import_path_option}{folder}: there is no such folder")
    environment = map(str, Settings.from_environment().csl_import_path)
    width, height = fabric_dims or (None, None)
    place = {} if fabric_offsets is None else dict(zip(_OFFSETS, fabric_offsets, strict=True))
    return CompileOptions(
        entry=file,
        architecture=load_architecture(arch),
        params=dict(params),
        colors=dict(colors),
        fabric_width=width,
        fabric_height=height,
        **place,
        uses_memcpy=memcpy,
        import_paths=(*folders, *environment),
        half=_half_format(fp16_format),
        warnings_are_errors=warnings_as_errors,
        width_west_buffer=width_west_buf,
        width_east_buffer=width_east_buf,
        section_addresses=dict(section_addresses or {}),
        max_steps=max_comptime_steps,
        max_unrolled=max_inlined_iterations,
        max_call_depth=comptime_func_depth_limit,
        optimizes=optimizes,
        by_function=by_function,
    )


_OFFSETS = ("offset_x", "offset_y")


def half_formats() -> dict[str, ScalarType]:
    """Return the 16-bit floats that a program can compute with, by name."""
    from onewafer.image import ScalarType  # noqa: PLC0415  # when it is used

    return {kind.name.lower(): kind for kind in ScalarType if kind.is_half}


def _half_format(name: str) -> ScalarType:
    known = half_formats()
    if name not in known:
        raise ConfigurationError(f"fp16_format={name!r}: choose from {', '.join(known)}")
    return known[name]


Param = bool | int | float | str
"""A value that a program is given: `param n: u16`, `param scale: f32`, `param is_east: bool`."""


def write_params(params: Mapping[str, Param]) -> dict[str, str]:
    """Return params as `cslc` writes them.

    >>> write_params({"n": 8, "scale": 0.5, "is_east": True, "name": "gemv", "version": "8"})
    {'n': '8', 'scale': '0.5', 'is_east': 'true', 'name': 'gemv', 'version': '"8"'}

    Raises:
        ConfigurationError: a name or a value cannot be given to a program.
    """
    return {_check_name("params", name): _write_param(name, v) for name, v in params.items()}


def _write_param(name: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Integral():
            return str(int(value))
        case Real():
            return repr(float(value))
        case str():
            return f'"{value}"' if _is_no_word(value) else value
        case _:
            raise ConfigurationError(
                f"params: {name} is of type {type(value).__name__}; give a number, True, False or "
                "a string, and let the layout make other values from those"
            )


def _is_no_word(text: str) -> bool:
    """Tell whether a command line would not read a text as a string."""
    try:
        float(text)
    except ValueError:
        return text in ("true", "false") or text.strip() != text or text[:2].lower() in _BASES
    return True


_BASES = ("0x", "0b", "0o")


def write_colors(colors: Mapping[str, object]) -> dict[str, str]:
    """Return the numbers of colors as `cslc` writes them.

    Raises:
        ConfigurationError: a name or a number cannot be given to a program.
    """
    return {_check_name("colors", name): _write_color(name, n) for name, n in colors.items()}


def _write_color(name: str, number: object) -> str:
    if isinstance(number, Integral) and not _is_switch(number):
        return str(int(number))
    raise ConfigurationError(f"colors: {name} is {number!r}; give the number of a color")


def _is_switch(value: object) -> bool:
    """Tell True and False from the numbers 1 and 0."""
    return isinstance(value, bool)


def _check_name(argument: str, name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigurationError(
            f"{argument}: {name!r} is not the name of a param; write {argument}={{'name': …}}"
        )
    return name


def check_pair(argument: str, pair: object) -> tuple[int, int] | None:
    """Return two sizes or coordinates in PEs.

    Raises:
        ConfigurationError: they are no two whole numbers from 0 on.
    """
    match pair:
        case None:
            return None
        case (Integral() as first, Integral() as second) if min(int(first), int(second)) >= 0:
            return int(first), int(second)
        case _:
            raise ConfigurationError(f"{argument}={pair!r}: give two whole numbers, as in (9, 3)")
