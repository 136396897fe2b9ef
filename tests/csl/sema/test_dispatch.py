"""Every kind of node has a rule, in comptime and in run-time code."""

from __future__ import annotations

from typing import get_args

from onewafer.csl.sema.closures import dispatch as comptime
from onewafer.csl.sema.runtime import dispatch as run_time
from onewafer.csl.syntax import ast


def test_every_kind_of_expression_has_one_rule_in_each_evaluator() -> None:
    kinds = set(get_args(ast.Expression))
    assert set(comptime.EXPRESSIONS) == kinds
    assert set(run_time.EXPRESSIONS) | set(run_time.CHOICES) == kinds
    assert not set(run_time.EXPRESSIONS) & set(run_time.CHOICES)
    assert set(comptime.POINTEES) < kinds


def test_every_kind_of_statement_has_a_rule_in_each_evaluator() -> None:
    kinds = set(get_args(ast.Statement))
    assert set(comptime.STATEMENTS) == kinds
    assert set(run_time.STATEMENTS) == kinds
