"""The language reference is true: each CSL block in `docs/reference/language` is compiled and run.

The notation is explained in `docs/reference/language/index.md`. A program is an unnamed
```` ```csl ```` block and the named ones behind it. Each is compiled for every machine that it is
for; its findings must be exactly those that its comments announce, and what it announces of memory
must be there at rest.
"""

import ast
import re
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, run_stages
from onewafer.csl.sema.builtins.catalog import builtin_names
from onewafer.diagnostics import DiagnosticSink, render
from onewafer.image import ScalarType
from onewafer.simulator import Machine

PAGES = Path(__file__).parents[2] / "docs/reference/language"
MACHINES = ("wse2", "wse3")
MAX_CYCLES = 20_000

FINDING = re.compile(r"// (error|warning|note): \[([a-z-]+)\]")
EXPECTATION = re.compile(r"// expect: ([\w.#\[\]]+)(?: at (\d+), (\d+))? = (.*)")

ONE_PE = """
param width = 1;
layout { @set_rectangle(width, 1); @set_tile_code(0, 0, "pe.csl", .{}); }
"""
START = """
task start_example() void { run(); }
comptime {
  @bind_local_task(start_example, @get_local_task_id(26));
  @activate(@get_local_task_id(26));
}
"""
FORMATS = {
    ScalarType.BOOL: "?",
    ScalarType.I8: "b",
    ScalarType.U8: "B",
    ScalarType.I16: "h",
    ScalarType.U16: "H",
    ScalarType.I32: "i",
    ScalarType.U32: "I",
    ScalarType.F16: "e",
    ScalarType.F32: "f",
}
HALVES = {kind.name.lower(): kind for kind in ScalarType if kind.is_half}


@dataclass
class Program:
    """The blocks of a program by file name, and the words behind `csl`."""

    line: int
    files: dict[str, str] = field(default_factory=dict)
    machines: tuple[str, ...] = MACHINES
    half: ScalarType = ScalarType.F16

    @property
    def text(self):
        return "\n".join(self.files.values())

    def name_entry(self):
        """Give the block without a name the name that its content asks for."""
        text = self.files.pop("")
        is_layout = re.search(r"^layout\b", text, re.MULTILINE)
        self.files["layout.csl" if is_layout else "pe.csl"] = text

    def expectations(self):
        found = EXPECTATION.findall(self.text)
        assert len(found) == self.text.count("// expect:")
        for name, x, y, value in found:
            yield name, int(x or 0), int(y or 0), value


def read_programs(path):
    """Return the programs of a page."""
    programs, name = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if name is not None:
            if line.strip() != "```":
                programs[-1].files[name] += line + "\n"
                continue
            if not name:
                programs[-1].name_entry()
            name = None
        elif line.startswith("```csl"):
            words = line.split()[1:]
            machines = tuple(word for word in words if word in MACHINES)
            halves = [HALVES[word] for word in words if word in HALVES]
            named = [word for word in words if word not in MACHINES and word not in HALVES]
            if not named:
                half = halves[0] if halves else ScalarType.F16
                programs.append(Program(number, {}, machines or MACHINES, half))
            (name,) = named or [""]
            programs[-1].files[name] = ""
    return programs


def cases():
    """Yield each program with one machine, by turns; with its other one, it is a slow test."""
    for path in sorted(PAGES.glob("*.md")):
        for number, program in enumerate(read_programs(path)):
            for turn, machine in enumerate(program.machines):
                is_slow = len(program.machines) > 1 and (number + turn) % 2
                yield pytest.param(
                    program,
                    machine,
                    id=f"{path.stem}:{program.line}-{machine}",
                    marks=[pytest.mark.slow] if is_slow else [],
                )


def complete(files):
    """Return the files with what a reader of the page need not see."""
    files = {"layout.csl": ONE_PE} | files
    for name, text in files.items():
        if re.search(r"^fn run\(\) void", text, re.MULTILINE):
            files[name] = text + START
    return files


@cache
def architecture(name):
    return load_architecture(name)


def compile_program(program, machine):
    """Return the image (None: refused) and all findings."""
    files = complete(program.files)
    sink = DiagnosticSink()
    options = CompileOptions(
        entry="layout.csl",
        architecture=architecture(machine),
        max_steps=100_000,
        uses_memcpy=False,
        half=program.half,
    )
    return run_stages(options, MemoryFiles(files), sink).image, sink.diagnostics


def announced(program):
    return {
        (name, number, severity, code)
        for name, text in program.files.items()
        for number, line in enumerate(text.splitlines(), start=1)
        for severity, code in FINDING.findall(line)
    }


def place_of(finding):
    if finding.primary is None:
        return "", 0
    span = finding.primary.span
    return span.source.path, span.source.line_column(span.start)[0]


def value_of(machine, x, y, name):
    """Return a variable as a Python number, or a list of them."""
    symbol = machine.symbol(x, y, name)
    code = FORMATS[symbol.element]
    payload = machine.peek(x, y, symbol.address, symbol.num_bytes)
    numbers = struct.unpack(f"<{symbol.num_bytes // symbol.element.num_bytes}{code}", payload)
    return numbers[0] if len(numbers) == 1 else list(numbers)


def joined(words):
    """Yield what words are as integers of 64 bits, without a sign and with one."""
    if isinstance(words, list) and len(words) % 2 == 0 and all(isinstance(w, int) for w in words):
        for code in "Qq":
            payload = struct.pack(f"<{len(words)}I", *(word % (1 << 32) for word in words))
            numbers = struct.unpack(f"<{len(words) // 2}{code}", payload)
            yield numbers[0] if len(numbers) == 1 else list(numbers)


@pytest.mark.parametrize(("program", "machine"), list(cases()))
def test_reference(program, machine):
    image, findings = compile_program(program, machine)

    found = {(*place_of(f), f.severity.value, f.code) for f in findings}
    assert found == announced(program), f"\n{render(findings)}"
    expectations = list(program.expectations())
    if image is None or not expectations:
        assert not expectations
        return
    running = Machine(image, architecture(machine), engine="reference")
    running.run(max_cycles=MAX_CYCLES)
    for name, x, y, value in expectations:
        expected = ast.literal_eval(value.replace("true", "True").replace("false", "False"))
        found = value_of(running, x, y, name)
        assert expected in (found, *joined(found)), name


def test_every_page_is_on_the_index():
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    assert [p.name for p in sorted(PAGES.glob("*.md")) if f"({p.name})" not in index] == [
        "index.md"
    ]


def test_every_builtin_has_its_place():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    assert [name for name in builtin_names() if not re.search(rf"@{name}\b", pages)] == []
