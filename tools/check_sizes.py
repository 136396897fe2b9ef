"""Refuse files, functions and packages that have grown too large to read.

    python tools/check_sizes.py

A file is one idea: at most 600 lines of code. A function fits a screen: at most 60. Lines of code
are those that hold more than blanks, comments and docstrings. What may be longer is named below,
with the reason.

A folder of tests has the path of the folder of `src/onewafer` that it tests, so that tests are
found where their subject is.

A package has the lines, of whatever kind, that `tools/lines.toml` allows it. The table is printed;
a commit that needs more raises the number there, and says why.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tools", "tests", "examples")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
BUDGETS = "tools/lines.toml"
EXCEPTIONS: dict[str, str] = {}
"""`path` or `path::function` → why it may be longer."""

OTHER_TESTS = ("csl/library", "docs", "examples", "language", "tools")
"""Folders of tests, and what is below them, whose subject is no folder of `src/onewafer`."""

_NO_CODE = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    )
)


@dataclass(frozen=True, slots=True)
class TooLong:
    """One finding."""

    place: str
    num_lines: int
    limit: int

    def __str__(self) -> str:
        """Return the finding as a sentence."""
        return f"{self.place}: {self.num_lines} lines of code, at most {self.limit}; split it"


def code_lines(text: str, docstrings: frozenset[int]) -> frozenset[int]:
    """Return the numbers of the lines of a Python file that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return frozenset(lines - docstrings)


def docstring_lines(tree: ast.Module) -> frozenset[int]:
    """Return the numbers of the lines of all strings that stand alone."""
    lines: set[int] = set()
    for node in statements(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case _:
                pass
    return frozenset(lines)


def check_python(path: Path) -> Iterator[TooLong]:
    """Yield the findings of one Python file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    spans = {
        node: range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in statements(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    spans = {node: span for node, span in spans.items() if len(span) > MAX_FUNCTION_LINES}
    if not spans and len(text.splitlines()) <= MAX_FILE_LINES:
        return  # short enough with blanks, comments and docstrings
    lines = code_lines(text, docstring_lines(tree))
    name = path.relative_to(ROOT).as_posix()
    if len(lines) > MAX_FILE_LINES:
        yield TooLong(name, len(lines), MAX_FILE_LINES)
    for node, span in spans.items():
        num_lines = len(lines.intersection(span))
        if num_lines > MAX_FUNCTION_LINES:
            yield TooLong(f"{name}::{node.name}", num_lines, MAX_FUNCTION_LINES)


def check_csl(path: Path) -> Iterator[TooLong]:
    """Yield the findings of one CSL file (files only)."""
    stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    num_lines = sum(1 for line in stripped if line and not line.startswith("//"))
    if num_lines > MAX_FILE_LINES:
        yield TooLong(path.relative_to(ROOT).as_posix(), num_lines, MAX_FILE_LINES)


def check_tests(tests: Path, source: Path) -> Iterator[str]:
    """Yield a sentence for each folder with tests whose subject is nowhere."""
    for folder in sorted({path.parent for path in tests.rglob("test_*.py")}):
        name = folder.relative_to(tests).as_posix()
        is_other = any(f"{name}/".startswith(f"{other}/") for other in OTHER_TESTS)
        if not (is_other or (source / name).is_dir()):
            yield f"tests/{name}: there is no {source.name}/{name}; move its tests to their subject"


def package_lines(source: Path) -> Counter[str]:
    """Return the lines of Python of each package; modules at the root belong to `onewafer`."""
    lines: Counter[str] = Counter()
    for path in source.rglob("*.py"):
        top, *rest = path.relative_to(source).parts
        package = rest[0] if top == "onewafer" and len(rest) > 1 else top
        lines[package] += len(path.read_text(encoding="utf-8").splitlines())
    return lines


def check_budgets(lines: Mapping[str, int], budgets: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each package that has more lines than its budget, or no budget."""
    for package, num_lines in sorted(lines.items()):
        budget = budgets.get(package)
        if budget is None:
            yield f"{package}: it has no budget; add `{package} = {num_lines}` to {BUDGETS}"
        elif num_lines > budget:
            yield (
                f"{package}: {num_lines:,} lines, {num_lines - budget:,} above its budget of "
                f"{budget:,}; delete as many, or raise the number in {BUDGETS} and say why in the "
                "commit"
            )
    for package in sorted(set(budgets) - set(lines)):
        yield f"{package}: there is no such package; delete its line in {BUDGETS}"


def print_lines(lines: Mapping[str, int], budgets: Mapping[str, int]) -> None:
    """Print lines and budget of each package, the largest first."""
    print(f"{'package':<14}{'lines':>8}{'budget':>8}")
    for package, num_lines in sorted(lines.items(), key=lambda item: -item[1]):
        print(f"{package:<14}{num_lines:>8,}{budgets.get(package, 0):>8,}")
    print(f"{'in all':<14}{sum(lines.values()):>8,}{sum(budgets.values()):>8,}")


def main() -> int:
    """Print the lines of each package and every finding; return 1 if there is a finding."""
    lines = package_lines(ROOT / "src")
    budgets: dict[str, int] = tomllib.loads((ROOT / BUDGETS).read_text(encoding="utf-8"))
    print_lines(lines, budgets)
    over = list(check_budgets(lines, budgets))
    over.extend(check_tests(ROOT / "tests", ROOT / "src" / "onewafer"))
    findings: list[TooLong] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            findings.extend(check_python(path))
        for path in sorted((ROOT / folder).rglob("*.csl")):
            findings.extend(check_csl(path))
    findings = [finding for finding in findings if finding.place not in EXCEPTIONS]
    for finding in (*findings, *over):
        print(finding)
    return 1 if findings or over else 0


if __name__ == "__main__":
    sys.exit(main())
