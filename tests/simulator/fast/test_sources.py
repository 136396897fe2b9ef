"""The digest that machine code belongs to: all that compilers see of its sources, and no prose."""

import ast
import io
import shutil
import tokenize
from importlib.util import find_spec
from pathlib import Path

import pytest

from onewafer.simulator.fast.machine_code.sources import digest_sources, source_files, without_prose

FAST = "onewafer.simulator.fast"
NO_CONSTANTS = {
    *("onewafer.errors", "onewafer.settings", "onewafer.units"),
    *(f"{FAST}.machine_code.{name}" for name in ("execution", "kept", "prebuilt", "sources")),
}
"""Modules that the kernels' modules import for other purposes."""


@pytest.fixture
def copies(tmp_path):
    """Return copies of the sources, to be changed."""
    paths = [tmp_path / f"{i} {path.name}" for i, path in enumerate(source_files())]
    for path, copy in zip(source_files(), paths, strict=True):
        shutil.copy(path, copy)
    return paths


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_each_source_counts(copies):
    """One constant in one source, and machine code of before is out of sight."""
    for copy in copies:
        before = digest_sources([copy])
        append(copy, "ONE_MORE = 1\n")
        assert digest_sources([copy]) != before
    assert digest_sources(copies[1:]) != digest_sources(copies)


def test_prose_does_not_count(copies):
    before = digest_sources(copies)
    for copy in copies:
        append(copy, '\n# A comment: "of a string.\n"""Words that stand alone: # of nothing."""\n')
    assert digest_sources(copies) == before


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("x = 1  # one\n", "x = 1\n"),
        ('x = "# no comment"\n', 'x = "# no comment"\n'),
        ("x = '\"'  # a quote\n", "x = '\"'\n"),
        ('x = "\\""  # likewise\n', 'x = "\\""\n'),
        ('x = """a\n\n# b\n"""\n', 'x = """a\n\n# b\n"""\n'),
        ('x = (\n    "a"  # first\n\n    "b"\n)\n', 'x = (\n    "a"\n    "b"\n)\n'),
        ('x = \\\n    "a"\n', 'x = \\\n    "a"\n'),
        ("x = ''' \" ''' # a\n", "x = ''' \" '''\n"),
        ("def f():\n    '''A \"\"\" in it.'''\n    return 1\n", "def f():\n    return 1\n"),
        ('x: int = 1\n"""An attribute."""\n', "x: int = 1\n"),
        ('"a".strip()\n', '"a".strip()\n'),
        ("x = 1", "x = 1"),
    ],
)
def test_what_is_prose(source, seen):
    assert without_prose(source) == seen


def tokens(source):
    """Return what Python's own tokenizer makes of a source, without comments and line ends."""
    words = [tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE]
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in found if token.type not in words]


def drop_lone_strings(source):
    """Blank out lone strings as Python's parser sees them."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                for number in range(node.lineno - 1, node.end_lineno):
                    lines[number] = ""
            case _:
                pass
    return "\n".join(lines) + "\n"


def test_python_sees_the_same_in_what_remains():
    for path in source_files():
        source = path.read_text(encoding="utf-8")
        assert tokens(without_prose(source)) == tokens(drop_lone_strings(source)), path


def imports(path):
    """Yield module and name of all that a module imports, but for type hints."""
    waiting = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        match waiting.pop():
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.Import(names=names):
                yield from ((alias.name, None) for alias in names if "onewafer" in alias.name)
            case ast.ImportFrom(module=str() as module, names=names) if "onewafer" in module:
                yield from ((module, alias.name) for alias in names)
            case node:
                waiting += ast.iter_child_nodes(node)


def is_module(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def closure(module):
    """Return the files of all modules whose constants and functions a module can use."""
    files, seen, waiting = set(), set(), [(module, None)]
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or module in NO_CONSTANTS:
            continue
        seen.add((module, name))
        if name is not None and is_module(f"{module}.{name}"):
            waiting.append((f"{module}.{name}", None))
            continue
        path = Path(find_spec(module).origin)
        files.add(path)
        is_face = path.name == "__init__.py" and name is not None
        waiting += [found for found in imports(path) if not is_face or found[1] == name]
    return files


def test_the_sources_are_all_that_kernels_can_use():
    expected = closure(f"{FAST}.kernels.loop") | closure(f"{FAST}.kernels.bookkeeping.counting")
    faces = {path for path in source_files() if path.name == "__init__.py"}
    assert set(source_files()) - faces == expected - faces
    assert len(source_files()) == len(set(source_files()))
