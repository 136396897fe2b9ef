"""The compiler, from top to bottom: CSL text in, wafer image out.

    parse      text → syntax trees                     `csl.syntax`, once a file
    layout     the layout block, run                   `csl.sema`, `csl.layout`
    analyse    syntax → typed IR, one an instance      `csl.sema`
    values     unreachable code → nothing              `csl.optimizer`
    inline     calls → bodies                          `csl.optimizer`
    unroll     loops of a few rounds → their rounds    `csl.optimizer`
    forward    loads → values in registers             `csl.optimizer`
    generate   IR → object code                        `csl.codegen`
    plan       addresses and registers                 `csl.codegen`
    link       object code → tile programs → image     `csl.codegen`
    verify     every rule of the image contract        `image`

`--dump-after=NAME` shows the result of a stage. This is the only module of `csl` that reads files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from onewafer.csl import codegen, dumps
from onewafer.csl.optimizer import (
    FUNCTION_PASSES,
    PASSES,
    REQUIRED_PASSES,
    SMALL_PASSES,
    check_accesses,
)
from onewafer.csl.sema import AnalysisOptions, analyze_program
from onewafer.csl.syntax import ast, dump, parse
from onewafer.diagnostics import Diagnostic, DiagnosticSink, Severity, SourceFile, render
from onewafer.errors import CompileError, ImageError
from onewafer.files.whole_files import check_file
from onewafer.image import verify
from onewafer.process.garbage import rare_collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl import ir
    from onewafer.image import WaferImage

_MOST_BYTES = 64_000_000
"""The largest source file; generated code for a wafer has a tenth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions(AnalysisOptions):
    """The options of `cslc`. Sizes are in PEs, offsets in fabric coordinates."""

    width_west_buffer: int = 0
    """Columns of buffer PEs of memcpy, west and east of the program."""
    width_east_buffer: int = 0
    section_addresses: dict[str, int] = field(default_factory=dict[str, int])
    """Addresses of `linksection`s, in bytes."""
    warnings_are_errors: bool = False
    optimizes: bool = True
    """True if the optional passes of `csl.optimizer` run, too."""
    by_function: bool = False
    """True if only passes run whose result for a function is the same in any other program."""


class Stage(StrEnum):
    """The stages, in order."""

    PARSE = "parse"
    LAYOUT = "layout"
    ANALYSE = "analyse"
    VALUES = "values"
    INLINE = "inline"
    UNROLL = "unroll"
    FORWARD = "forward"
    GENERATE = "generate"
    PLAN = "plan"
    LINK = "link"
    VERIFY = "verify"


class StageObserver(Protocol):
    """A callback for each finished stage; `describe` returns the text of `--dump-after`."""

    def __call__(self, stage: Stage, describe: Callable[[], str]) -> None:
        """Note that `stage` is done."""
        ...


def _observe_nothing(stage: Stage, describe: Callable[[], str]) -> None:
    del stage, describe


@dataclass(frozen=True, slots=True)
class Compilation:
    """The result of a compilation."""

    image: WaferImage | None
    """None: there are errors."""
    program: ir.ProgramIr | None
    has_layout: bool
    """True if the entry file has a layout block; without one, it is a library or a PE program."""


def compile_program(
    options: CompileOptions, files: SourceFiles, *, sink: DiagnosticSink | None = None
) -> WaferImage:
    """Compile a program, and report all findings, warnings included, to the sink if there is one.

    Raises:
        CompileError: with every finding, if one of them is an error.
    """
    sink = DiagnosticSink() if sink is None else sink
    compilation = run_stages(options, files, sink)
    if compilation.image is None:
        rendered = render(sink.diagnostics, num_left_out=sink.num_left_out)
        raise CompileError(rendered, sink.diagnostics)
    return compilation.image


def run_stages(
    options: CompileOptions,
    files: SourceFiles,
    sink: DiagnosticSink,
    observe: StageObserver = _observe_nothing,
) -> Compilation:
    """Run the stages up to the first that reports an error; findings go to the sink."""
    try:
        with rare_collection():
            return _run_stages(options, files, sink, observe)
    except RecursionError:
        sink.report(
            Diagnostic(
                "nesting-too-deep",
                f"`{options.entry}` nests expressions, blocks or calls too deeply",
                help="name parts of the deepest expression with `const`",
            )
        )
        return Compilation(None, None, has_layout=False)


def _run_stages(
    options: CompileOptions, files: SourceFiles, sink: DiagnosticSink, observe: StageObserver
) -> Compilation:
    machine, uses_memcpy = options.architecture, options.uses_memcpy

    parsed = ParsedFiles(files, sink)
    entry = parsed.entry(options.entry)
    has_layout = entry is not None and _has_layout(entry)
    if entry is None or sink.has_errors:
        return Compilation(None, None, has_layout=has_layout)
    observe(Stage.PARSE, lambda: dump(entry) + "\n")

    _check_fabric(options, sink)
    if sink.has_errors:
        return Compilation(None, None, has_layout=has_layout)
    program = analyze_program(options, parsed, sink)
    if program is None:
        return Compilation(None, None, has_layout=has_layout)
    observe(Stage.LAYOUT, lambda: dumps.layout(program))
    observe(Stage.ANALYSE, lambda: dumps.program(program))

    for instance in program.instances:
        check_accesses(instance, sink)
    placement = _place(options, program, sink)
    codegen.check_exports(program, sink)
    whole = codegen.with_missing_functions(program)
    untouched = [_Bodies.of(instance) for instance in whole.instances]
    optimized = _optimized(whole, options, observe)
    objects = [_generate(instance, options, sink) for instance in optimized.instances]
    if options.optimizes and not options.by_function:
        objects = list(map(partial(_smaller, options), untouched, objects))
    observe(Stage.GENERATE, lambda: "\n".join(dumps.object_code(o) for o in objects))

    _check_sections(options, program, sink)
    plans = [
        codegen.plan_memory(
            o,
            machine,
            uses_memcpy=uses_memcpy,
            sink=sink,
            section_addresses=options.section_addresses,
        )
        for o in objects
    ]
    observe(Stage.PLAN, lambda: "\n".join(map(dumps.memory_plan, objects, plans)))
    if _is_refused(options, sink):
        return Compilation(None, program, has_layout=has_layout)

    tiles = tuple(
        codegen.link(o, plan, machine, uses_memcpy=uses_memcpy)
        for o, plan in zip(objects, plans, strict=True)
    )
    image = codegen.assemble(program, tiles, placement)
    observe(Stage.LINK, lambda: dumps.image(image))

    try:
        verify(image, machine)
    except ImageError as error:
        sink.report(_rejected(error))
        return Compilation(None, program, has_layout=has_layout)
    observe(Stage.VERIFY, lambda: "the image keeps every rule of its contract\n")
    return Compilation(image, program, has_layout=has_layout)


def _generate(
    instance: ir.InstanceIr, options: CompileOptions, sink: DiagnosticSink
) -> codegen.ObjectProgram:
    return codegen.generate(
        instance,
        options.architecture,
        uses_memcpy=options.uses_memcpy,
        sink=sink,
        optimizes=options.optimizes,
    )


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Copies of function bodies before the optimiser, whose passes change bodies in place."""

    instance: ir.InstanceIr
    functions: tuple[tuple[ir.Function, tuple[ir.Statement, ...], bool], ...]

    @classmethod
    def of(cls, instance: ir.InstanceIr) -> _Bodies:
        """Save the bodies of an instance."""
        return cls(instance, tuple((f, f.body, f.is_inline) for f in instance.functions))

    def restored(self) -> ir.InstanceIr:
        """Restore the saved bodies."""
        for function, body, is_inline in self.functions:
            function.body, function.is_inline = body, is_inline
        return self.instance


def _smaller(
    options: CompileOptions, untouched: _Bodies, large: codegen.ObjectProgram
) -> codegen.ObjectProgram:
    """Optimise again without passes that copy code, if the program does not fit otherwise."""
    machine, uses_memcpy = options.architecture, options.uses_memcpy
    if codegen.fits(large, machine, uses_memcpy=uses_memcpy):
        return large
    instance = untouched.restored()
    for run in SMALL_PASSES.values():
        instance = run(instance)
    return _generate(instance, options, DiagnosticSink())


def _optimized(
    program: ir.ProgramIr, options: CompileOptions, observe: StageObserver
) -> ir.ProgramIr:
    """Run the passes of the optimiser over all instances, one pass after the other."""
    of_level = FUNCTION_PASSES if options.by_function else PASSES
    passes = of_level if options.optimizes else REQUIRED_PASSES
    for name in PASSES:
        if name in passes:
            instances = tuple(map(passes[name], program.instances))
            program = replace(program, instances=instances)
        observe(Stage(name), partial(dumps.program, program))
    return program


def _check_sections(options: CompileOptions, program: ir.ProgramIr, sink: DiagnosticSink) -> None:
    """Warn about a section address without variables in that section."""
    used = {v.section for instance in program.instances for v in instance.globals if v.section}
    for name in options.section_addresses:
        if name not in used:
            known = ", ".join(f"`{section}`" for section in sorted(used))
            sink.report(
                Diagnostic(
                    "unknown-name",
                    f"no variable of the program is in the section `{name}`, which got an address",
                    help=f"there are {known}"
                    if known
                    else "declare one: `var x: T "
                    f'linksection("{name}");`; functions lie where the compiler puts them',
                    severity=Severity.WARNING,
                )
            )


def _has_layout(file: ast.File) -> bool:
    return any(isinstance(item, ast.LayoutBlock) for item in file.declarations)


def _is_refused(options: CompileOptions, sink: DiagnosticSink) -> bool:
    has_warnings = any(d.severity is Severity.WARNING for d in sink.diagnostics)
    return sink.has_errors or (options.warnings_are_errors and has_warnings)


def _rejected(error: ImageError) -> Diagnostic:
    first, *breaches = str(error).splitlines()
    return Diagnostic(
        "image-rejected",
        f"the program compiles, and the machine cannot run it: {first}",
        notes=tuple(breach.strip() for breach in breaches),
    )


# --- placement on the fabric ---------------------------------------------------------------------


def _check_fabric(options: CompileOptions, sink: DiagnosticSink) -> None:
    """Report a fabric that is larger than the wafer that contains it."""
    machine = options.architecture
    width = options.fabric_width or machine.fabric_width
    height = options.fabric_height or machine.fabric_height
    if width > machine.fabric_width or height > machine.fabric_height:
        sink.report(
            Diagnostic(
                "wafer-too-small",
                f"`--fabric-dims={width},{height}`: the wafer of {machine.name} has "
                f"{machine.fabric_width}×{machine.fabric_height} PEs",
                help="leave `--fabric-dims` out for the smallest fabric that holds the program",
            )
        )


def _place(
    options: CompileOptions, program: ir.ProgramIr, sink: DiagnosticSink
) -> codegen.Placement:
    """Check that the program and the columns and rows of memcpy fit on the fabric."""
    machine = options.architecture
    margins = _Margins.of(options)
    width = options.offset_x + program.width + margins.east
    height = options.offset_y + program.height + margins.south
    if options.offset_x < margins.west or options.offset_y < margins.north:
        sink.report(
            Diagnostic(
                "fabric-offset-too-small",
                f"the program starts at ({options.offset_x}, {options.offset_y}), and memcpy needs "
                f"{margins.west} columns west and {margins.north} rows north of it",
                help=f"write `--fabric-offsets={margins.west},{margins.north}` or more",
            )
        )
    fabric_width = width if options.fabric_width is None else options.fabric_width
    fabric_height = height if options.fabric_height is None else options.fabric_height
    placed = f"{program.width}×{program.height} PEs at ({options.offset_x}, {options.offset_y})"
    margin = " and its memcpy margin" if options.uses_memcpy else ""
    if width > machine.fabric_width or height > machine.fabric_height:
        sink.report(
            Diagnostic(
                "wafer-too-small",
                f"a program of {placed}{margin} needs {width}×{height} PEs, and the wafer of "
                f"{machine.name} has {machine.fabric_width}×{machine.fabric_height}",
                help="use a smaller rectangle and give each PE more of the data",
            )
        )
    elif fabric_width < width or fabric_height < height:
        sink.report(
            Diagnostic(
                "fabric-too-small",
                f"a fabric of {fabric_width}×{fabric_height} PEs does not hold a program of "
                f"{placed}{margin}",
                help=f"write `--fabric-dims={width},{height}` or more",
            )
        )
    return codegen.Placement(
        arch=machine.name,
        fabric_width=fabric_width,
        fabric_height=fabric_height,
        offset_x=options.offset_x,
        offset_y=options.offset_y,
        uses_memcpy=options.uses_memcpy,
        params={**options.params},
        colors={**options.colors},
    )


@dataclass(frozen=True, slots=True)
class _Margins:
    """Columns and rows of PEs around the program that memcpy takes."""

    west: int = 0
    east: int = 0
    north: int = 0
    south: int = 0

    @classmethod
    def of(cls, options: CompileOptions) -> _Margins:
        if not options.uses_memcpy:
            return cls()
        machine = options.architecture
        return cls(
            machine.margin_west + options.width_west_buffer,
            machine.margin_east + options.width_east_buffer,
            machine.margin_north,
            machine.margin_south,
        )


# --- source files --------------------------------------------------------------------------------


class SourceFiles(Protocol):
    """A source of program texts."""

    def read(self, path: str) -> str | None:
        """Return the text of a file; None: there is no such file.

        Raises:
            OSError: the file is there and cannot be read.
            UnicodeDecodeError: it is not UTF-8.
        """
        ...


@dataclass(frozen=True, slots=True)
class DiskFiles:
    """Files under a folder; absolute paths are taken as they are."""

    folder: Path = Path()

    def read(self, path: str) -> str | None:
        """Return the text of a file; None: there is no such file."""
        file = self.folder / path
        try:
            check_file(file, most_bytes=_MOST_BYTES)
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class MemoryFiles:
    """Texts by path, for generated programs and tests."""

    texts: dict[str, str]

    def read(self, path: str) -> str | None:
        """Return the text of a path; None: there is no such file."""
        return self.texts.get(path)


@dataclass(slots=True)
class ParsedFiles:
    """Syntax trees, each file read once; parser findings go to the sink.

    `<name>` is `csl/library/name.csl` of this package.
    """

    files: SourceFiles
    sink: DiagnosticSink
    _trees: dict[str, ast.File | None] = field(default_factory=dict[str, "ast.File | None"])

    def entry(self, path: str) -> ast.File | None:
        """Return the tree of the file on the command line; report `file-not-found`."""
        tree = self.get(path)
        if tree is None and not self.sink.has_errors:
            self.sink.report(
                Diagnostic(
                    "file-not-found",
                    f"there is no file `{path}`",
                    help="give the path of the CSL file that has the `layout` block",
                )
            )
        return tree

    def get(self, path: str) -> ast.File | None:
        """Return the tree of a file; None if the file is absent or cannot be read."""
        if path not in self._trees:
            text = self.text(path)
            self._trees[path] = None
            if text is not None:
                self._trees[path], findings = _parse_text(path, text)
                self.sink.extend(findings)
        return self._trees[path]

    def text(self, path: str) -> str | None:
        """Return the text of a file; None if the file is absent or cannot be read."""
        try:
            if path.startswith("<"):
                return _read_library(path)
            return self.files.read(path)
        except UnicodeDecodeError as error:
            reason = f"byte {error.start} is not UTF-8"
        except NotADirectoryError:
            reason = "it is not a file"
        except (OSError, ValueError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        self.sink.report(Diagnostic("unreadable-file", f"`{path}` cannot be read: {reason}"))
        return None


@lru_cache(maxsize=128)
def _parse_text(path: str, text: str) -> tuple[ast.File, DiagnosticSink]:
    """Parse a text once per process: programs share the library, and models the mesh kernels.

    Trees and findings are immutable, and trees hold no resolved names.
    """
    sink = DiagnosticSink()
    return parse(SourceFile(path, text), sink), sink


def _read_library(path: str) -> str | None:
    module = path.removeprefix("<").removesuffix(">")
    found = resources.files("onewafer.csl").joinpath("library", *f"{module}.csl".split("/"))
    return found.read_text(encoding="utf-8") if found.is_file() else None
