"""The language tests: programs and the findings they must give, written in Markdown.

Every heading of `tests/language/*.md` that is followed by a ```` ```csl ```` block is a test. Its
blocks are the files of one program; the word after `csl` is the name of the file, `main.csl` if
there is none, and the first block is the entry. Further words are options: `arch=wse3`,
`params=n:4,m:2`, `memcpy=yes`, `fabric=8,3`.

A comment `// error: [code]` (or `warning:`) at the end of a line states a finding there, and text
after the code must occur in its message. The findings must be exactly these; a program without
such a comment must compile without any. A finding without a place counts for the first line of the
entry.

The pages `docs/reference/errors/<code>.md` are tests too: their example must give exactly their
code.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, run_stages
from onewafer.diagnostics import DiagnosticSink, render

HERE = Path(__file__).parent
PAGES = HERE.parents[1] / "docs/reference/errors"

EXPECTATION = re.compile(r"// (error|warning): \[([a-z-]+)\] *((?:(?!// ).)*)")


@dataclass
class Case:
    """A program and its options."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def read_cases(path):
    """Yield a case per heading; text between blocks is for people."""
    case = Case("")
    file: str | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if file is not None:
            if line == "```":
                file = None
            else:
                case.files[file] += line + "\n"
        elif line.startswith("```csl"):
            words = line.split()[1:]
            case.options |= dict(word.split("=", 1) for word in words if "=" in word)
            file = next((word for word in words if "=" not in word), "main.csl")
            case.files[file] = ""
        elif line.startswith("#"):
            yield case
            case = Case(line.lstrip("# "))
    yield case


def cases_of(folder):
    for path in sorted(folder.glob("*.md")):
        for case in read_cases(path):
            if case.files:
                yield pytest.param(case, id=f"{path.stem}-{case.name}")


def pairs(text):
    return dict(item.split(":") for item in text.split(",") if item)


def compile_case(case):
    """Return every finding of the compilation."""
    sink = DiagnosticSink()
    width, height = (
        map(int, case.options["fabric"].split(",")) if "fabric" in case.options else (0, 0)
    )
    options = CompileOptions(
        entry=next(iter(case.files)),
        architecture=load_architecture(case.options.get("arch", "wse2")),
        params=pairs(case.options.get("params", "")),
        colors={},
        fabric_width=width or None,
        fabric_height=height or None,
        max_steps=100_000,
        uses_memcpy=case.options.get("memcpy", "no") == "yes",
    )
    compilation = run_stages(options, MemoryFiles(case.files), sink)
    assert (compilation.image is None) == sink.has_errors
    return sink.diagnostics


def expected_findings(case):
    return [
        (name, number, severity, code, text.strip())
        for name, content in case.files.items()
        for number, line in enumerate(content.splitlines(), start=1)
        for severity, code, text in EXPECTATION.findall(line)
    ]


def place_of(finding, case):
    if finding.primary is None:
        return next(iter(case.files)), 1
    span = finding.primary.span
    return span.source.path, span.source.line_column(span.start)[0]


@pytest.mark.parametrize("case", list(cases_of(HERE)))
def test_language(case):
    findings = compile_case(case)
    shown = render(findings)
    expected = expected_findings(case)
    found = [(*place_of(f, case), f.severity.value, f.code) for f in findings]
    assert sorted(found) == sorted(e[:4] for e in expected), f"\n{shown}"
    for name, line, severity, code, text in expected:
        messages = [
            f.message
            for f, place in zip(findings, found, strict=True)
            if place == (name, line, severity, code)
        ]
        assert any(text in message for message in messages), f"\n{shown}"


@pytest.mark.parametrize("case", list(cases_of(PAGES)))
def test_page(case, request):
    code = request.node.callspec.id.rsplit("-Example", 1)[0]
    findings = compile_case(case)
    assert {finding.code for finding in findings} == {code}, f"\n{render(findings)}"
