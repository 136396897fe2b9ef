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
            text = self.text(path)
            source = None if text is None else SourceFile(path, text)
            self.parsed[path] = None if source is None else parse(source, self.sink)
        return self.parsed[path]

    def text(self, path):
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


def analyze_sources(source, files=None, *, arch="wse3", params=None, colors=None, **options):
    """Analyse the program whose entry is `source`; `files` are the others by path."""
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


@pytest.fixture
def analyze():
    """Return `analyze(source, **other files)`; `main.csl` is the entry unless there is a layout."""

    def run(source, *, files=None, **options):
        return analyze_sources(source, files, **options)

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


# --- IR as short text ----------------------------------------------------------------------------


def show(e):
    """Return an expression as one line."""
    match e:
        case ir.Immediate(type_, word, column):
            return f"{word}{type_.name.lower()}" + ("" if column is None else f"@{column.index}")
        case ir.ReadLocal(local):
            return local.name
        case ir.AddressOf(variable, offset):
            return f"&{variable.name}" + (f"+{offset}" if offset else "")
        case ir.Load(type_, address, offset):
            return f"[{show(address)}]" if not offset else f"[{show(address)} + {offset}]"
        case ir.Unary(opcode, _, operand):
            return f"{opcode.name}({show(operand)})"
        case ir.Binary(opcode, type_, left, right):
            return f"({show(left)} {opcode.name}.{type_.name.lower()} {show(right)})"
        case ir.Convert(source, target, operand):
            return f"{source.name.lower()}→{target.name.lower()}({show(operand)})"
        case ir.Select(_, condition, then, otherwise):
            return f"({show(condition)} ? {show(then)} : {show(otherwise)})"
        case ir.Call(function, arguments):
            return f"{function.name}({', '.join(map(show, arguments))})"
        case ir.MakeDsd(descriptor, base, extent, stride):
            place = (
                show(base) if descriptor.color < 0 else f"c{descriptor.color} q{descriptor.queue}"
            )
            return f"{descriptor.kind.name.lower()}({place}, {show(extent)}, {show(stride)})"
        case ir.UpdateDsd(update, dsd, value, size):
            return f"{update.value}({show(dsd)}, {show(value)}" + (f" × {size})" if size else ")")
        case ir.Coordinate(axis):
            return "xy"[axis]


def _operand(operand):
    match operand:
        case None:
            return "-"
        case ir.Dsr(file, index):
            return f"{file.name.lower()}{index}"
        case ir.Scalar(value):
            return show(value)
        case ir.ScalarDestination(address):
            return f"[{show(address)}]"
        case ir.Vector(dsd):
            return show(dsd)


def _statement(s):
    match s:
        case ir.SetLocal(local, value):
            return [f"{local.name} = {show(value)}"]
        case ir.Store(_, address, offset, value):
            return [f"[{show(address)}{f' + {offset}' if offset else ''}] = {show(value)}"]
        case ir.Evaluate(call):
            return [show(call)]
        case ir.If(condition, then, otherwise):
            head = [f"if {show(condition)}", *_indent(then)]
            return head + (["else", *_indent(otherwise)] if otherwise else [])
        case ir.Loop(condition, body, step):
            return [f"while {show(condition)}", *_indent(body), *_indent(step, "; ")]
        case ir.Map(inputs, output, body):
            reads = [f"{i.local.name} ← {show(i.dsd)}" for i in inputs]
            write = [] if output is None else [f"{output.local.name} → {show(output.dsd)}"]
            return [f"map {', '.join([*reads, *write])}", *_indent(body)]
        case ir.Return(value):
            return ["return" if value is None else f"return {show(value)}"]
        case ir.DsdStatement(operation, dest, src0, src1, scalar, config):
            parts = [_operand(dest), _operand(src0), _operand(src1)]
            if scalar is not None:
                parts.append(show(scalar))
            suffix = ""
            if config is not None:
                suffix = f" ut{config.microthread} →{config.activate}/{config.unblock}"
            return [f"{operation.name.lower()} {', '.join(parts)}{suffix}"]
        case ir.LoadDsr(dsr, dsd):
            return [f"{_operand(dsr)} = {show(dsd)}" + (" saved" if s.saves_address else "")]
        case ir.Activate(task_id):
            return [f"activate {task_id}"]
        case ir.SetBlocked(channel, is_blocked):
            return [f"{'block' if is_blocked else 'unblock'} {channel}"]
        case ir.SetFifoLength(fifo, is_written, length):
            return [f"{'write' if is_written else 'read'} length of {fifo} = {show(length)}"]
        case ir.Trap(condition, message):
            return [f"assert {show(condition)}: {message}"]
        case ir.Timestamp(address):
            return [f"timestamp {show(address)}"]
        case _:
            return [type(s).__name__.lower()]


def _indent(statements, mark="  "):
    return [mark + line for s in statements for line in _statement(s)]


@pytest.fixture
def body(analyze):
    """Return `body(statements, declarations)`: the IR of `fn main() void { statements }` as lines."""

    def run(statements, declarations="", *, arch="wse3", name="main", **options):
        result = analyze(f"{declarations}\nfn main() void {{ {statements} }}", arch=arch, **options)
        if result.errors:
            return [f"{e.code}: {e.message}" for e in result.errors]
        return [line for s in result.function(name).body for line in _statement(s)]

    return run
