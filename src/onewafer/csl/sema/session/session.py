"""The shared state of one analysis: options, files, compiled code, the sink and the step quota."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeVar, cast

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail, retired
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.session.grouping import CannotGroup
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Annotation, Diagnostic
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from onewafer.arch import Architecture
    from onewafer.csl.sema.session.contracts import Layout
    from onewafer.csl.sema.session.grouping import Recorder
    from onewafer.diagnostics import DiagnosticSink, Span

Kept = TypeVar("Kept")

STEPS_OF_ANY_PROGRAM = 1_000_000
"""A few seconds of steps: far more than tables and routes take, few for an endless loop."""
STEPS_OF_A_PE = 20
"""Steps that a layout may add for each PE of its rectangle: public layouts take less than four."""
MAX_CALL_DEPTH = 256
"""Depth of nested comptime calls; Python's own stack bounds it, see `analysis`."""


class ParsedFiles(Protocol):
    """Reads files by path, as syntax trees or as plain text."""

    def get(self, path: str) -> ast.File | None:
        """Return the parsed file, the same object each time; None: there is no such file.

        A library module has a path in angle brackets: `<memcpy/memcpy>`.
        """
        ...

    def text(self, path: str) -> str | None:
        """Return the text of a file; None: there is no such file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisOptions:
    """The command line's settings of a program."""

    entry: str
    architecture: Architecture
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    """Values of the entry file's params, as written."""
    colors: Mapping[str, str] = field(default_factory=dict[str, str])
    fabric_width: int | None = None
    """Width in PEs; None: just enough for the program and its margins."""
    fabric_height: int | None = None
    offset_x: int = 4
    offset_y: int = 1
    uses_memcpy: bool = True
    import_paths: tuple[str, ...] = ()
    max_steps: int | None = None
    """Loop iterations and calls that comptime code may take; None: `STEPS_OF_ANY_PROGRAM` for the
    layout and for each tile program, and `STEPS_OF_A_PE` more for the layout of each PE."""
    max_unrolled: int | None = None
    """Limit of the rounds of a loop unrolled into run-time code; None: `MAX_UNROLLED`."""
    max_call_depth: int | None = None
    """Depth of nested comptime calls, at most and by default `MAX_CALL_DEPTH`."""
    half: ScalarType = ScalarType.F16
    """The 16-bit float that the program computes with at run time."""


class StageMemory:
    """Storage in which each stage of the analysis keeps one object of a class of its own."""

    def __init__(self) -> None:
        self._kept: dict[type, object] = {}

    def kept(self, kind: type[Kept]) -> Kept:
        """Return the kept object of a class; the first call makes it."""
        found = self._kept.get(kind)
        if found is None:
            found = self._kept[kind] = kind()
        return cast("Kept", found)


class SourceCode(StageMemory):
    """One file: its declarations by name."""

    def __init__(self, file: ast.File, sink: DiagnosticSink) -> None:
        super().__init__()
        self.file = file
        self.declarations: dict[str, ast.Param | ast.Variable | ast.Function] = {}
        self.comptime_blocks: list[ast.ComptimeBlock] = []
        self.layout_blocks: list[ast.LayoutBlock] = []
        for declaration in file.declarations:
            self._add(declaration, sink)

    @property
    def is_library(self) -> bool:
        """True if the file is one of our own library modules."""
        return self.file.source.path.startswith("<")

    def _add(self, declaration: ast.TopDeclaration, sink: DiagnosticSink) -> None:
        match declaration:
            case ast.ComptimeBlock():
                self.comptime_blocks.append(declaration)
            case ast.LayoutBlock():
                self.layout_blocks.append(declaration)
            case ast.Param() | ast.Variable() | ast.Function():
                earlier = self.declarations.setdefault(declaration.name, declaration)
                if earlier is not declaration:
                    sink.report(
                        Diagnostic(
                            "duplicate-declaration",
                            f"`{declaration.name}` is declared twice",
                            Annotation(declaration.name_span),
                            (Annotation(earlier.name_span, "declared here first"),),
                        )
                    )


class Session(StageMemory):
    """The state that all modules of one analysis share."""

    def __init__(self, options: AnalysisOptions, files: ParsedFiles, sink: DiagnosticSink) -> None:
        super().__init__()
        self.options = options
        self.architecture = options.architecture
        self.half = t.half_of(options.half)
        self.files = files
        self.sink = sink
        self.effects = 0
        """The number of side effects of comptime code; a call that adds none is pure."""
        self.recorder: Recorder | None = None
        """Records the effects of a layout loop whose body runs once for many iterations."""
        self.module_keys: dict[object, int] = {}
        """Key of a module → its number in `Module.memo_key`."""
        self._sources: dict[ast.File, SourceCode] = {}
        self._found: dict[tuple[str, str], ast.File] = {}
        self._steps = 0
        self._quota = STEPS_OF_ANY_PROGRAM if options.max_steps is None else options.max_steps
        self.depth = 0
        depth = options.max_call_depth
        self.max_depth = MAX_CALL_DEPTH if depth is None else min(depth, MAX_CALL_DEPTH)
        self.layout: Layout | None = None
        self.is_single_file = False
        """True if the entry has no layout block: every function of it is analysed."""
        self.is_called_at_run_time = False
        """True if comptime code runs for a call that a task or function makes: see `frozen`."""

    @contextmanager
    def frozen(self, *, is_frozen: bool = True) -> Generator[None]:
        """Forbid comptime code to change the program: it may only compute.

        A function that run-time code calls is executed at compile time if its result is known.
        Whether and how often the call itself runs is unknown then, so it cannot change anything.
        """
        before, self.is_called_at_run_time = self.is_called_at_run_time, is_frozen
        try:
            yield
        finally:
            self.is_called_at_run_time = before

    def source_code(self, file: ast.File) -> SourceCode:
        """Return the declarations and code of a file."""
        code = self._sources.get(file)
        if code is None:
            code = self._sources[file] = SourceCode(file, self.sink)
        return code

    def note_effect(self) -> None:
        """Count an effect on the program, which a layout loop that is recorded cannot have."""
        if self.recorder is not None:
            raise CannotGroup
        self.effects += 1

    def tick_many(self, num_steps: int) -> None:
        """Count the steps of a layout loop that was recorded."""
        self._steps += num_steps

    def has_steps(self, num_steps: int) -> bool:
        """Tell whether the quota allows that many steps more."""
        return self._steps + num_steps <= self._quota

    def tick(self, span: Span) -> None:
        """Count one loop iteration or call of comptime code against the quota."""
        self._steps += 1
        if self._steps > self._quota:
            fail(
                "step-limit",
                f"comptime code takes more than {self._quota:,} steps",
                span,
                notes=("a step is one loop iteration or one call",),
                help="look for a loop that does not end, or raise the limit with "
                "`--max-comptime-steps=N`",
            )

    def stop_nesting(self, span: Span) -> NoReturn:
        """Fail because comptime calls nest too deeply."""
        is_limited = self.max_depth < MAX_CALL_DEPTH
        is_over = self.depth > self.max_depth
        what = "calls" if is_over else "calls and the expressions around them"
        fail(
            "step-limit",
            f"comptime {what} nest more than {min(self.depth, self.max_depth)} deep",
            span,
            help="look for a call that never returns, or "
            + (
                f"raise `--comptime-func-depth-limit`, up to {MAX_CALL_DEPTH}"
                if is_limited
                else "write the recursion as a loop: deeper ones are not supported"
            ),
        )

    def extend_quota(self, num_pes: int) -> None:
        """Add the steps that the layout of a rectangle of `num_pes` may need."""
        if self.options.max_steps is None:
            self._quota += num_pes * STEPS_OF_A_PE

    def restart_quota(self) -> None:
        """Restart the count of steps for another tile program."""
        if self.options.max_steps is None:
            self._steps, self._quota = 0, STEPS_OF_ANY_PROGRAM

    def find_file(self, path: str, importer: str, span: Span | None) -> ast.File:
        """Return the file that `path` means in the file `importer`, or fail."""
        known = self._found.get((path, importer))
        if known is not None:
            return known
        tried: list[str] = []
        for candidate in self.candidates(path, importer):
            num_findings = self.sink.num_findings
            file = self.files.get(candidate)
            if file is not None:
                self._found[path, importer] = file
                return file
            self._stop_if_unreadable(num_findings)
            tried.append(candidate)
        _not_found(path, tried, span)

    def find_text(self, path: str, importer: str, span: Span | None) -> str:
        """Return the text of a file, found by the rules of imports, or fail."""
        candidates = self.candidates(path, importer)
        for candidate in candidates:
            num_findings = self.sink.num_findings
            text = self.files.text(candidate)
            if text is not None:
                return text
            self._stop_if_unreadable(num_findings)
        _not_found(path, candidates, span)

    def _stop_if_unreadable(self, num_findings: int) -> None:
        """Fail silently if a file exists and its read error has been reported."""
        if self.sink.num_findings > num_findings:
            raise Fault(None)

    def candidates(self, path: str, importer: str) -> list[str]:
        """Return the paths at which to look for an imported file, in order."""
        if path.startswith("<"):
            return [path]
        own, entry = posixpath.dirname(importer), posixpath.dirname(self.options.entry)
        roots = (own, entry, *self.options.import_paths)
        found = (posixpath.normpath(posixpath.join(root, path)) for root in roots)
        return [*dict.fromkeys(found)]


LIBRARIES: Final = (
    "collectives_2d/params", "collectives_2d/pe", "complex", "control", "data_utils", "debug",
    "directions", "dsd_ops", "empty", "empty_queue", "kernels/fft/fft3d_layout",
    "kernels/tally/layout", "kernels/tally/pe", "layout", "malloc", "math", "memcpy/get_params",
    "memcpy/memcpy", "memcpy/memcpy_switches", "message_passing", "queue_flush", "random",
    "simprint", "string", "tile_config", "time", "timer", "types",
)  # fmt: skip
"""The modules that a program may import as `<name>`."""


def _not_found(path: str, tried: Sequence[str], span: Span | None) -> NoReturn:
    names = [f"<{name}>" for name in LIBRARIES] if not path.endswith(".csl") else []
    if path.startswith("<"):
        _no_library(path, names, span)
    fail(
        "import-not-found",
        f"there is no file `{path}`",
        span,
        notes=(f"looked for {', '.join(f'`{t}`' for t in tried)}",),
        help=suggest(f"<{path.strip('<>')}>", names)
        or "paths are relative to the importing file, or to that which is compiled; `<name>` looks "
        "in the library",
    )


def _no_library(path: str, names: Sequence[str], span: Span | None) -> NoReturn:
    name = path.strip("<>")
    old = retired.LIBRARIES.get(name.split("/", maxsplit=1)[0])
    if old is not None:
        fail("import-not-found", old.message(f"`{path}`"), span, help=old.instead)
    fail(
        "import-not-found",
        f"no SDK up to {retired.NEWEST_SDK} documents a library `{path}`",
        span,
        help=suggest(path, names) or "a file of yours is imported without `<` and `>`",
    )
