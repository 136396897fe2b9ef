"""`cslc [options] file.csl`: compile a CSL program into a folder.

The command line is the SDK's; options may stand before or after the file. The folder is written
only once everything is known to be right, and never over something that is not an older output.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from onewafer import __version__
from onewafer.api import (
    PARAMETERS_FILE,
    check_folder,
    csl_options,
    half_formats,
    parameters_to_json,
    write_folder,
)
from onewafer.arch import architecture_names, wafer_of
from onewafer.cli.running.process import describe, run_command_line
from onewafer.csl.driver import DiskFiles, Stage, run_stages
from onewafer.csl.sema import MAX_CALL_DEPTH, explain_instances
from onewafer.diagnostics import DiagnosticSink, render, to_json
from onewafer.errors import ConfigurationError, InternalError, OnewaferError
from onewafer.files.whole_files import write_text
from onewafer.image import route_table
from onewafer.terminal import cut_words, quoted
from onewafer.units import count_of, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import SupportsWrite

    from onewafer.csl import CompileOptions
    from onewafer.image import WaferImage

DEFAULT_ARCHITECTURE = "wse2"
"""The default of the SDK. The rest of onewafer, which begins with PyTorch, has `wse3`."""
DEFAULT_OUTPUT = "out"
EXIT_COMPILE_ERROR = 1
MAX_CHANNELS = 16
_LARGEST_NUMBER = 10**18
"""Largest value of an option; a wafer has no sizes near it, and the machine's numbers hold it."""
_Bound = TypeVar("_Bound", str, int)
"""The value that an option binds to a name."""
_USAGE = "usage: cslc [options] file.csl"
_HINT = f"without --arch it is compiled for {DEFAULT_ARCHITECTURE}; for WSE-3, add --arch=wse3"


def main() -> NoReturn:
    """Run the command line of this process; exit with its code."""
    run_command_line("cslc", execute)


def execute(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code; every error is a message on stderr."""
    options = command_line_parser().parse_args(_with_explicit_paths(arguments))
    try:
        return _compile(options)
    except OnewaferError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(describe(error))
        return EXIT_COMPILE_ERROR
    except Exception as error:  # noqa: BLE001 - the outermost frame; whatever comes is our bug
        if options.verbose:
            sys.excepthook(type(error), error, error.__traceback__)
        internal = InternalError(f"{type(error).__name__}: {error}")
        _complain(f"{internal}\n  `--verbose` shows the traceback")
        return internal.exit_code


def _complain(message: str) -> None:
    print(f"cslc: {cut_words(message)}", file=sys.stderr)


# --- the command line ----------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose errors say the mistake and point to the help, without a list of options."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help; unlike argparse's own, it fails if that goes nowhere."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Exit with the message."""
        self.exit(2, f"cslc: {cut_words(message)}\n{_USAGE}; `cslc --help` lists the options\n")


def command_line_parser() -> argparse.ArgumentParser:
    """Return the parser of `cslc`'s command line."""
    parser = _Parser(
        prog="cslc",
        usage=_USAGE.removeprefix("usage: "),
        description="Compile a CSL program for the simulated wafer.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", help="the CSL file with the layout block")
    add(
        "-o",
        dest="output",
        metavar="DIR",
        help=f"folder to write ({DEFAULT_OUTPUT})",
    )
    add(
        "--arch",
        type=wafer_of,
        choices=architecture_names(),
        help=f"machine ({DEFAULT_ARCHITECTURE}, as in the SDK)",
    )
    add(
        "--params",
        type=_bindings,
        action="append",
        default=[],
        metavar="NAME:VALUE,…",
        help="params of the file; repeatable",
    )
    add(
        "--colors",
        type=_bindings,
        action="append",
        default=[],
        metavar="NAME:ID,…",
        help="params of type color; repeatable",
    )
    add(
        "--import-path",
        action="append",
        default=[],
        metavar="DIR",
        help="folder to search for modules; repeatable",
    )
    add(
        "--fp16-format",
        type=_half_format,
        default="f16",
        metavar="FORMAT",
        help="the 16-bit float that the program computes with: f16 (the default), bf16 or cb16",
    )
    _add_levels(parser)
    add("--version", action="version", version=f"cslc (onewafer) {__version__}")
    _add_fabric_options(add)
    _add_limits(add)
    _add_report_options(add)
    return parser


def _add_levels(parser: argparse.ArgumentParser) -> None:
    levels = parser.add_mutually_exclusive_group()
    levels.add_argument(
        "-O0", action="store_true", help="do not optimise: the code follows the source"
    )
    levels.add_argument(
        "-O1",
        action="store_true",
        help="optimise each function by itself: its code is the same in every program",
    )


def _add_fabric_options(add: Callable[..., object]) -> None:
    add(
        "--fabric-dims",
        type=_pair,
        metavar="W,H",
        help="size of the fabric (the smallest that fits)",
    )
    add(
        "--fabric-offsets", type=_pair, metavar="X,Y", help="place of the program's PE (0, 0) (4,1)"
    )
    add("--memcpy", action="store_true", help="the host copies and launches through memcpy")
    add(
        "--channels",
        type=_channels,
        metavar="N",
        help=f"memcpy channels, up to {MAX_CHANNELS} (copies are the same)",
    )
    add("--width-west-buf", type=_count, default=0, metavar="N", help="memcpy buffer columns, west")
    add("--width-east-buf", type=_count, default=0, metavar="N", help="memcpy buffer columns, east")


def _add_limits(add: Callable[..., object]) -> None:
    add(
        "--max-inlined-iterations",
        type=_count,
        metavar="N",
        help="most rounds of a loop that is unrolled into the code of a PE: an "
        "`inline for`, or a `for` over a tuple (65536)",
    )
    add(
        "--max-comptime-steps",
        type=_count,
        metavar="N",
        help="steps (loop iterations and calls) that compile-time code may take; without it, a "
        "million for the layout and for each tile program, and 20 more for each PE",
    )
    add(
        "--comptime-func-depth-limit",
        type=_count,
        metavar="N",
        help=f"nested compile-time calls, up to {MAX_CALL_DEPTH} (%(default)s)",
        default=MAX_CALL_DEPTH,
    )
    add("--max-parallelism", type=_count, metavar="N", help="threads (one is used, whatever N is)")


def _add_report_options(add: Callable[..., object]) -> None:
    add(
        _OUTPUT_JSON,
        metavar="PATH",
        help=f"write what {PARAMETERS_FILE} in the folder holds to this file too; "
        "without `=PATH`, to the name of the folder with .json behind it",
    )
    add("--out-routes", action="store_true", help="print the routes of each PE as a table")
    add("-g0", action="store_true", help="leave source locations out (they stay, and cost nothing)")
    add(
        "--link-section-start-address-bytes",
        type=_sections,
        action="append",
        default=[],
        metavar="NAME:ADDRESS,…",
        help="where the variables of a `linksection` begin, in bytes; repeatable",
    )
    add("--warnings-as-errors", action="store_true", help="fail if there is a warning")
    add("--verbose", action="store_true", help="say which stages are done; show our tracebacks")
    stages = [stage.value for stage in Stage]
    add(
        "--dump-after",
        choices=stages,
        action="append",
        default=[],
        metavar="STAGE",
        help=f"print what stands after a stage: {', '.join(stages)}",
    )
    add("--explain-instances", action="store_true", help="show which params split tile programs")
    add("--json-diagnostics", action="store_true", help="print findings as JSON on stderr")


def _half_format(text: str) -> str:
    known = half_formats()
    if text not in known:
        names = ", ".join(known)
        raise argparse.ArgumentTypeError(
            f"`{quoted(text)}` is not a format of 16-bit floats: write {names}"
        )
    return text


_OUTPUT, _OUTPUT_JSON = "-o ", "--output-json"


def _with_explicit_paths(arguments: Sequence[str]) -> list[str]:
    """Give `--output-json` an empty path where it has none: the next word may be the program."""
    return [f"{a}=" if a == _OUTPUT_JSON else a for a in arguments]


def _sections(text: str) -> dict[str, int]:
    """Parse `.name:address,.name:address`."""
    found: dict[str, int] = {}
    for binding in filter(None, text.split(",")):
        name, _, address = (part.strip() for part in binding.rpartition(":"))
        try:
            number = int(address, 0)
        except ValueError:
            number = -1
        if not name or not 0 <= number <= _LARGEST_NUMBER:
            raise argparse.ArgumentTypeError(
                f"`{quoted(binding)}` is not of the form `.name:address`"
            )
        _bind(found, name, number)
    return found


def _pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    try:
        pair = int(first), int(second)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{quoted(text)}` is not two numbers like `8,3`"
        ) from None
    if min(pair) < 0:
        raise argparse.ArgumentTypeError(f"`{quoted(text)}` has a negative number")
    if max(pair) > _LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"`{quoted(text)}` has a number that is too large")
    return pair


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{quoted(text)}` is not a number of at least 0")
    if len(text) > len(str(_LARGEST_NUMBER)) or int(text) > _LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"`{quoted(text)}` is too large")
    return int(text)


def _channels(text: str) -> int:
    number = _count(text)
    if number > MAX_CHANNELS:
        raise argparse.ArgumentTypeError(f"`{text}` is more than {MAX_CHANNELS}")
    return number


def _bindings(text: str) -> dict[str, str]:
    """Parse `name:value,name:value`."""
    found: dict[str, str] = {}
    for binding in filter(None, text.split(",")):
        name, colon, value = (part.strip() for part in binding.partition(":"))
        if not (name.isidentifier() and colon and value):
            raise argparse.ArgumentTypeError(f"`{quoted(binding)}` is not of the form `name:value`")
        _bind(found, name, value)
    return found


def _bind(bindings: dict[str, _Bound], name: str, value: _Bound) -> None:
    if bindings.setdefault(name, value) != value:
        raise argparse.ArgumentTypeError(f"`{name}` is both `{bindings[name]}` and `{value}`")


def _merge(option: str, lists: list[dict[str, _Bound]]) -> dict[str, _Bound]:
    merged: dict[str, _Bound] = {}
    try:
        for bindings in lists:
            for name, value in bindings.items():
                _bind(merged, name, value)
    except argparse.ArgumentTypeError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    return merged


def _compile_options(arguments: argparse.Namespace) -> CompileOptions:
    return csl_options(
        arguments.file,
        arch=arguments.arch or DEFAULT_ARCHITECTURE,
        params=_merge("--params", arguments.params),
        colors=_merge("--colors", arguments.colors),
        fabric_dims=arguments.fabric_dims,
        fabric_offsets=arguments.fabric_offsets,
        memcpy=arguments.memcpy,
        import_path=arguments.import_path,
        import_path_option="--import-path=",
        fp16_format=arguments.fp16_format,
        warnings_as_errors=arguments.warnings_as_errors,
        width_west_buf=arguments.width_west_buf,
        width_east_buf=arguments.width_east_buf,
        section_addresses=_merge(
            "--link-section-start-address-bytes", arguments.link_section_start_address_bytes
        ),
        max_comptime_steps=arguments.max_comptime_steps,
        max_inlined_iterations=arguments.max_inlined_iterations,
        comptime_func_depth_limit=arguments.comptime_func_depth_limit,
        optimizes=not arguments.O0,
        by_function=arguments.O1,
    )


# --- compiling -----------------------------------------------------------------------------------


def _compile(arguments: argparse.Namespace) -> int:
    folder = _output_folder(arguments.output)
    json_path = _json_path(arguments.output_json, folder)
    options = _compile_options(arguments)
    sink = DiagnosticSink()
    observe = _Observer(frozenset(arguments.dump_after), is_verbose=arguments.verbose)
    compilation = run_stages(options, DiskFiles(), sink, observe)

    _print_findings(sink, as_json=arguments.json_diagnostics)
    if compilation.program is not None and arguments.explain_instances:
        print(explain_instances(compilation.program))
    if compilation.image is None:
        if not arguments.json_diagnostics:
            _complain(f"{count_of(sink.num_findings, 'finding')}, nothing was written")
            has_place = any(finding.primary is not None for finding in sink.diagnostics)
            if arguments.arch is None and sink.has_errors and has_place:
                _complain(_HINT)
        return EXIT_COMPILE_ERROR
    if not compilation.has_layout and arguments.output is not None:
        _complain(
            f"-o {folder}: {arguments.file} has no layout block, so there is no program to write; "
            "compile the file with the layout, or leave `-o` out to check this one"
        )
        return EXIT_COMPILE_ERROR
    if not compilation.has_layout:
        print(f"{arguments.file} has no layout block: it was checked, and no image was written")
        return 0
    if arguments.out_routes:
        print(route_table(compilation.image), end="")
    write_folder(compilation.image, folder, _OUTPUT)
    if json_path is not None:
        write_text(json_path, parameters_to_json(compilation.image))
    print(_summary(compilation.image, options, folder))
    return 0


@dataclass(frozen=True, slots=True)
class _Observer:
    """Prints what `--dump-after` and `--verbose` ask for."""

    dumped: frozenset[str]
    is_verbose: bool

    def __call__(self, stage: Stage, describe: Callable[[], str]) -> None:
        if self.is_verbose:
            print(f"cslc: {stage.value} done", file=sys.stderr)
        if stage.value in self.dumped:
            print(describe(), end="")


def _print_findings(sink: DiagnosticSink, *, as_json: bool) -> None:
    if as_json:
        print(to_json(sink.diagnostics, num_left_out=sink.num_left_out), file=sys.stderr)
    elif sink.diagnostics:
        text = render(sink.diagnostics, num_left_out=sink.num_left_out, color=sys.stderr.isatty())
        print(text, file=sys.stderr)


def _summary(image: WaferImage, options: CompileOptions, folder: Path) -> str:
    used = max(
        (sum(section.num_bytes for section in tile.sections) for tile in image.programs), default=0
    )
    return (
        f"wrote {folder}: {image.width}×{image.height} PEs of {image.arch}, "
        f"{count_of(len(image.programs), 'tile program')}, at most {format_bytes(used)} of "
        f"{format_bytes(options.architecture.memory_bytes)} a PE"
    )


# --- the output folder ---------------------------------------------------------------------------


def _output_folder(given: str | None) -> Path:
    """Return where to write; refuse a place that cannot be written, or is not ours."""
    if given is not None and not given.strip():
        raise ConfigurationError(f'{_OUTPUT}"{given}": give the name of a folder')
    folder = Path(DEFAULT_OUTPUT if given is None else given)
    check_folder(folder, _OUTPUT)
    return folder


def _json_path(given: str | None, folder: Path) -> Path | None:
    """Return where `--output-json` writes; None: nowhere but into the folder."""
    if given is None:
        return None
    path = Path(given) if given else folder.with_name(f"{folder.name}.json")
    if path.is_dir() or not path.parent.is_dir():
        what = "this is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ConfigurationError(f"{_OUTPUT_JSON}={path}: {what}; give the name of a file")
    return path


if __name__ == "__main__":
    main()
