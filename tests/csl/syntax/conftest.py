"""Parsing in one call."""

import pytest

from onewafer.csl.syntax import dump, parse
from onewafer.diagnostics import DiagnosticSink, SourceFile


@pytest.fixture
def tree_of():
    """Return a function from a correct text to its tree as text."""

    def tree_of(text):
        sink = DiagnosticSink()
        tree = parse(SourceFile("test.csl", text), sink)
        assert sink.diagnostics == []
        return dump(tree)

    return tree_of


@pytest.fixture
def findings_of():
    """Return a function from a text to its findings, `code line:column` each."""

    def findings_of(text):
        sink = DiagnosticSink()
        parse(SourceFile("test.csl", text), sink)
        return [
            f"{d.code} {str(d.primary.span).removeprefix('test.csl:')}" for d in sink.diagnostics
        ]

    return findings_of


@pytest.fixture
def statement_of(tree_of):
    """Return a function from one statement to its tree as text."""

    def statement_of(text):
        before, after = "(Function f [] void (Block [", "]))"
        tree = tree_of(f"fn f() void {{ {text} }}")
        return tree.removeprefix(before).removesuffix(after)

    return statement_of


@pytest.fixture
def expression_of(tree_of):
    """Return a function from one expression to its tree as text."""

    def expression_of(text):
        return tree_of(f"const x = {text};").removeprefix("(Variable x True - ").removesuffix(")")

    return expression_of
