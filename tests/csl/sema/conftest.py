"""Analysing small programs that are written in the test."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import pytest

from onewafer.arch import load_architecture
from onewafer.csl import ir
from onewafer.csl.sema import AnalysisOptions, analyze_program
from onewafer.csl.syntax import parse
from onewafer.diagnostics import Diagnostic, DiagnosticSink, Severity, SourceFile


class Files:
    """Sources of a test and the library."""

    def __init__(self, sources, sink):
        self.sources, self.sink, self.parsed = sources, sink, {}

    def get(self, path):
        if path not in self.parsed:
            text = self._read(path)
            source = None if text is None else SourceFile(path, text)
            self.parsed[path] = None if source is None else parse(source, self.sink)
        return self.parsed[path]

    def _read(self, path):
        if path in self.sources:
            return self.sources[path]
        if path.startswith("<"):
            file = files("onewafer.csl") / "library" / f"{path[1:-1]}.csl"
            return file.read_text() if file.is_file() else None
        return None


@dataclass
class Result:
    """What an analysis gave."""

    program: ir.ProgramIr | None
    diagnostics: list[Diagnostic]

    @property
    def errors(self):
        return [d for d in self.diagnostics if d.severity is Severity.ERROR]

    @property
    def codes(self):
        return [d.code for d in self.errors]

    @property
    def instance(self):
        assert self.program is not None, [d.message for d in self.errors]
        (instance,) = self.program.instances
        return instance

    def function(self, name):
        return next(f for f in self.instance.functions if f.name == name)

    def variable(self, name):
        return next(g for g in self.instance.globals if g.name == name)

    @property
    def error(self):
        (error,) = self.errors
        return error


@pytest.fixture
def analyze():
    """Return `analyze(source, **other files)`; `main.csl` is the entry unless there is a layout."""

    def run(source, *, arch="wse3", files=None, params=None, colors=None, **options):
        sink = DiagnosticSink()
        sources = {"main.csl": source, **(files or {})}
        program = analyze_program(
            AnalysisOptions(
                entry="main.csl",
                architecture=load_architecture(arch),
                params=params or {},
                colors=colors or {},
                **options,
            ),
            Files(sources, sink),
            sink,
        )
        return Result(program, sink.diagnostics)

    return run


@pytest.fixture
def comptime(analyze):
    """Return `comptime(expression, declarations)`: the shown value of a comptime expression."""

    def run(expression, declarations="", **options):
        result = analyze(
            f"{declarations}\ncomptime {{ @comptime_print({expression}); }}", **options
        )
        if result.errors:
            return result.codes[0]
        (printed,) = [d for d in result.diagnostics if d.code == "comptime-print"]
        return printed.message

    return run
