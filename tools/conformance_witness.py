"""Run a host script, and write down which of its assertions held after results had come back.

    python tools/conformance_witness.py LOG LEVEL script.py [arguments]

The script runs as under `python script.py`. In its syntax tree, in memory, every call that fetches
results and every assertion reports that it was done, in the modules beside the script too. LOG gets
the line `results` when the first results are there, and then a line `assert FILE:LINE` for each
assertion that held. An assertion that never ran, that `python -O` left out, that failed and was
caught, or that is about constants only, writes nothing. With the level `-O0`, a layout that the
script builds itself is compiled without optimisations; `cslc` has an option for its own.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

RESULTS = frozenset(
    ("memcpy_d2h", "receive", "read_symbol", "read_trace", "get_symbol", "receive_words")
)
"""Methods that hand over what was computed; what a script asserts before is not about that."""
_NAME = "__conformance_witness__"
_OPTIONS = "CompileOptions"
"""The calls by which a layout compiles itself."""


class Witness:
    """Hears what the script does."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._has_results = False
        self._written: set[str] = set()

    def fetched(self, value: T) -> T:
        """Note that results came back."""
        if not self._has_results:
            self._has_results = True
            self._write("results")
        return value

    def held(self, value: T, place: str) -> T:
        """Note that a function which asserts has returned."""
        self._note(place)
        return value

    def is_true(self, value: object, place: str) -> bool:
        """Return whether `assert` holds for a value; note it if it does."""
        truth = bool(value)
        if truth:
            self._note(place)
        return truth

    def _note(self, place: str) -> None:
        if self._has_results and place not in self._written:
            self._written.add(place)
            self._write(f"assert {place}")

    def _write(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


class _Reporting(ast.NodeTransformer):
    """Lets calls and assertions report themselves."""

    def __init__(self, file: str) -> None:
        self._file = Path(file).name

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(attr=name) | ast.Name(id=name):
                pass
            case _:
                return node
        if name in RESULTS:
            return _call("fetched", node)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if name.startswith("assert") and any(map(_depends_on_names, arguments)):
            return _call("held", node, self._place(node))
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        if _depends_on_names(node.test):
            node.test = _call("is_true", node.test, self._place(node))
        return node

    def _place(self, node: ast.AST) -> ast.expr:
        return ast.Constant(f"{self._file}:{getattr(node, 'lineno', 0)}")


def _depends_on_names(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Name) for inner in ast.walk(node))


def _call(method: str, node: ast.expr, *more: ast.expr) -> ast.expr:
    witness = ast.Name(_NAME, ast.Load())
    call = ast.Call(ast.Attribute(witness, method, ast.Load()), [node, *more], [])
    return ast.fix_missing_locations(ast.copy_location(call, node))


def instrument(source: str | bytes, file: str) -> CodeType:
    """Return the code of a file whose results and assertions report themselves."""
    tree = _Reporting(file).visit(ast.parse(source, file))
    return compile(tree, file, "exec", dont_inherit=True)


class _Loader(SourceFileLoader):
    """Loads a module from its source, past what is compiled already."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return instrument(self.get_data(path), path)


class _Finder(MetaPathFinder):
    """Finds modules under a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        if not Path(spec.origin).resolve().is_relative_to(self._folder):
            return None
        spec.loader = _Loader(fullname, spec.origin)
        return spec


def _leave_out_optimisations() -> None:
    layout = importlib.import_module("onewafer.sdk_layout.layout")
    setattr(layout, _OPTIONS, partial(getattr(layout, _OPTIONS), optimizes=False))


def main() -> None:
    """Run the script that the command line names."""
    log, level, script, *arguments = sys.argv[1:]
    if level == "-O0":
        _leave_out_optimisations()
    path = Path(script)
    code = instrument(path.read_bytes(), script)
    folder = path.resolve().parent
    setattr(builtins, _NAME, Witness(Path(log)))
    sys.meta_path.insert(0, _Finder(folder))
    sys.argv = [script, *arguments]
    sys.path[0] = str(folder)
    module = ModuleType("__main__")
    module.__file__ = script
    sys.modules["__main__"] = module
    exec(code, module.__dict__)  # noqa: S102 - running the script is the job


if __name__ == "__main__":
    main()
