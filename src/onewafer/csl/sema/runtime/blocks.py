"""Jumps, labels, and blocks that are values, in run-time code."""

from __future__ import annotations

from contextlib import contextmanager
from operator import is_
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import rewrite
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.jump_target import JumpTarget
from onewafer.csl.sema.rules.labels import check_label, labelled
from onewafer.csl.sema.runtime import order, stores
from onewafer.csl.sema.runtime.bodies import analyze_block, analyze_in_scope
from onewafer.csl.sema.runtime.dispatch import analyzes, evaluate_as, evaluates_choice
from onewafer.csl.sema.runtime.jumps import ends_elsewhere, jumps_out
from onewafer.csl.sema.values import (
    VOID_VALUE,
    Runtime,
    Struct,
    Value,
    Variable,
    Void,
    conversions,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, whole
from onewafer.csl.syntax import ast, tree

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


@contextmanager
def jump_target(a: Analyzer, target: JumpTarget, span: Span) -> Generator[None]:
    """Make `target` a target of the jumps inside of the context."""
    names = [(jump.label, jump.is_loop) for jump in a.jumps if jump.label is not None]
    with labelled(names, target.label, span, is_loop=target.is_loop):
        a.jumps.append(target)
        try:
            yield
        finally:
            a.jumps.pop()


@analyzes(ast.Continue)
def _continue(a: Analyzer, node: ast.Continue) -> bool:
    levels, target = _find(a, node)
    # A round of an unrolled loop is a block, which `continue` leaves.
    is_unrolled = target.num_blocks > 1
    a.emit(ir.Break(levels) if is_unrolled else ir.Continue(levels))
    return False


@analyzes(ast.Break)
def _break(a: Analyzer, node: ast.Break) -> bool:
    levels, target = _find(a, node)
    value = VOID_VALUE if node.value is None else evaluate_as(a, node.value, target.type)
    _carry(a, target, value, node.span)
    a.emit(ir.Break(levels + target.num_blocks - 1))
    return False


def _find(a: Analyzer, node: ast.Break | ast.Continue) -> tuple[int, JumpTarget]:
    is_continue = isinstance(node, ast.Continue)
    if node.label is not None:
        names = [(target.label, target.is_loop) for target in a.jumps if target.label is not None]
        check_label(node.label, names, node.span, is_loop=is_continue)
    levels = 0
    for target in reversed(a.jumps):
        if target.label == node.label if node.label is not None else target.is_loop:
            return levels, target
        levels += target.num_blocks
    fail("misplaced-jump", "`break` and `continue` belong in a loop", node.span)


def _carry(a: Analyzer, target: JumpTarget, value: Value, span: Span) -> None:
    """Check a `break` value against the block's type and store it for the block."""
    if target.is_discarded:
        order.discard(a, value, span)
        return
    if not target.is_value:
        if not isinstance(value, Void):
            fail(
                "type-mismatch",
                f"`{target.label}` labels a statement, which has no value",
                span,
                help="use the block as a value: `const x = label: { … };`",
            )
        return
    type_ = type_of(value)
    if target.type is not None and not (target.is_inferred and _gives_way(target.type, type_)):
        value = a.coerce(value, target.type, span, "the value of the block")
        type_ = type_of(value)
    target.values.append((value, span))
    if _is_number(value):
        _wait(a, target, value, span)
        return
    if isinstance(value, Void) or t.is_comptime_only(type_, a.half):
        return
    target.type = type_
    if isinstance(type_, t.StructType | t.ArrayType):
        if target.variable is None:
            label = target.label or "block"
            target.variable = a.new_variable(label, type_, span, is_const=False)
        stores.store_value(a, address_of_variable(target.variable), type_, value, span)
        return
    if target.is_inferred:
        if isinstance(value, Struct):  # a packed struct, composed here
            value = Runtime(type_, a.expression(value, span))
        _wait(a, target, value, span)
        return
    if target.local is None:
        target.local = _new_local(a, target, type_)
    a.emit(ir.SetLocal(target.local, a.expression(value, span), span))


def _gives_way(narrow: t.Type, wide: t.Type) -> bool:
    """Tell whether the type of earlier `break` values widens to that of the current one."""
    return conversions.widens(narrow, wide) or conversions.pointer_converts(narrow, wide)


def _wait(a: Analyzer, target: JumpTarget, value: Value, span: Span) -> None:
    """Emit a placeholder for the store of a value, until the type of the block is known."""
    labelled = ir.Labelled((), span)
    target.waiting[id(labelled)] = labelled, value, span
    a.emit(labelled)


def _new_local(a: Analyzer, target: JumpTarget, type_: t.Type) -> ir.Local:
    return a.new_local(target.label or "block", type_, is_const=False).local


@analyzes(ast.Block)
def _block(a: Analyzer, node: ast.Block) -> bool:
    """Analyse a block that is a statement; the value of a labelled one is not used."""
    if node.label is None:
        return analyze_in_scope(a, node.statements)
    has_value = _has_value(node)
    target = JumpTarget(node.label, is_loop=False, is_discarded=has_value)
    a.open_block()
    with jump_target(a, target, node.span):
        analyze_block(a, node.statements)
    body = a.close_block()
    a.emit(ir.Labelled(body, node.span))
    if has_value:
        _check_end(a, target, body, node.span)
    return False


def _has_value(block: ast.Block) -> bool:
    """Tell whether a `break` gives a value to a labelled block that is a statement."""
    return any(
        isinstance(node, ast.Break) and node.label == block.label and node.value is not None
        for node in tree.nodes(block)
    )


def _check_end(a: Analyzer, target: JumpTarget, body: tuple[ir.Statement, ...], span: Span) -> None:
    """Fail if a block that has a value can end without one."""
    if not ends_elsewhere(body) and not a.has_errors:
        fail("type-mismatch", "this block can end without a value", span,
             help=f"end it with `break :{target.label} value;`")  # fmt: skip


@evaluates_choice(ast.BlockExpression)
def _block_value(a: Analyzer, node: ast.BlockExpression, type_: t.Type | None) -> Value:
    """Emit a block where its value is needed, and return that value."""
    target = JumpTarget(
        node.block.label, is_loop=False, is_value=True, type=type_, is_inferred=type_ is None
    )
    a.open_block()
    with jump_target(a, target, node.span):
        analyze_block(a, node.block.statements)
    body = a.close_block()
    if target.waiting:
        body = _settled(a, target, body)
    if len(target.values) == 1 and body and _is_break(body[-1]):
        return _only_value(a, target, body, node.span)
    a.emit(ir.Labelled(body, node.span))
    if not target.values and a.has_errors:
        raise Fault(None)
    if all(isinstance(value, Void) for value, _ in target.values):
        return VOID_VALUE
    _check_end(a, target, body, node.span)
    for value, span in target.values:
        is_held = target.local is not None or target.variable is not None
        if not is_held or t.is_comptime_only(type_of(value), a.half):
            what = type_of(value)
            fail("not-runtime", f"the type `{what}` of this value does not exist at run time", span,
                 help="give the values of the block a sized type: `@as(i16, …)`")  # fmt: skip
    return _held(a, target, node.span)


def _held(a: Analyzer, target: JumpTarget, span: Span) -> Value:
    """Return the value that the jumps to a block have stored."""
    if target.variable is not None:
        return a.load(whole(target.variable, span), span)
    assert target.local is not None
    assert target.type is not None
    return Runtime(target.type, ir.ReadLocal(target.local))


def _is_number(value: Value) -> bool:
    return type_of(value) in (t.COMPTIME_INT, t.COMPTIME_FLOAT)


def _settled(
    a: Analyzer, target: JumpTarget, body: tuple[ir.Statement, ...]
) -> tuple[ir.Statement, ...]:
    """Return a block with the placeholders of `_wait` replaced by stores in its type."""
    settled: dict[int, tuple[ir.Statement, ...]] = dict.fromkeys(target.waiting, ())
    if target.type is not None and target.variable is None:
        if target.local is None:
            target.local = _new_local(a, target, target.type)
        for key, (_, value, span) in target.waiting.items():
            sized = a.coerce(value, target.type, span, "the value of the block")
            settled[key] = (ir.SetLocal(target.local, a.expression(sized, span), span),)
        target.values = [
            (a.coerce(value, target.type, span) if _is_number(value) else value, span)
            for value, span in target.values
        ]

    def change(statements_: tuple[ir.Statement, ...]) -> tuple[ir.Statement, ...]:
        changed: list[ir.Statement] = []
        for statement in statements_:
            if id(statement) in settled:
                changed += settled[id(statement)]
            else:
                changed.append(rewrite.with_blocks(statement, change))
        is_same = len(changed) == len(statements_) and all(map(is_, changed, statements_))
        return statements_ if is_same else tuple(changed)

    return change(body)


def _is_break(statement: ir.Statement) -> bool:
    return isinstance(statement, ir.Break) and statement.levels == 0


def _only_value(
    a: Analyzer, target: JumpTarget, body: tuple[ir.Statement, ...], span: Span
) -> Value:
    """Emit a block that ends in its only `break` and return the value, which may be known."""
    ((value, _),) = target.values
    is_known = not isinstance(value, Runtime | Variable) and target.variable is None
    kept = body[:-1]
    if target.local is not None and is_known:
        kept = kept[:-1]
    if jumps_out(kept):
        # Their levels include this block.
        a.emit(ir.Labelled(kept, span))
    else:
        for statement in kept:
            a.emit(statement)
    if is_known or (target.local is None and target.variable is None):
        return value
    held = _held(a, target, span)
    if isinstance(held, Runtime) and isinstance(value, Runtime):
        return Runtime(held.type, held.expression, value.descriptor)
    return held
