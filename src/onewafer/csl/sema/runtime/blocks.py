"""Jumps, labels, and blocks that are values, in run-time code."""

from __future__ import annotations

from contextlib import contextmanager
from operator import is_
from typing import TYPE_CHECKING

from onewafer.csl import ir, rewrite
from onewafer.csl.sema import conversions
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.in_memory import address_of_variable, whole
from onewafer.csl.sema.labels import check_label, labelled
from onewafer.csl.sema.runtime import expressions, statements, stores
from onewafer.csl.sema.runtime.analyzer import Analyzer, JumpTarget
from onewafer.csl.sema.values import VOID_VALUE, Runtime, Struct, Value, Variable, Void, type_of
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.diagnostics import Span


@contextmanager
def jump_target(a: Analyzer, target: JumpTarget, span: Span) -> Generator[None]:
    """Let jumps inside go to `target`."""
    names = [(jump.label, jump.is_loop) for jump in a.jumps if jump.label is not None]
    with labelled(names, target.label, span, is_loop=target.is_loop):
        a.jumps.append(target)
        try:
            yield
        finally:
            a.jumps.pop()


def jump(a: Analyzer, node: ast.Break | ast.Continue) -> None:
    """Analyse `break` or `continue`, with or without label and value."""
    levels, target = _find(a, node)
    match node:
        case ast.Continue():
            # A round of a loop over a tuple is a block.
            is_unrolled = target.num_blocks > 1
            a.emit(ir.Break(levels) if is_unrolled else ir.Continue(levels))
            return
        case ast.Break(value=carried):
            value: Value = VOID_VALUE
            if carried is not None:
                value = expressions.evaluate_as(a, carried, target.type)
    _carry(a, target, value, node.span)
    a.emit(ir.Break(levels + target.num_blocks - 1))


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
    """Keep the value of a `break` for the block that it goes to."""
    if target.is_discarded:
        statements.discard(a, value, span)
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
        if isinstance(value, Struct):  # a packed one, which is composed here
            value = Runtime(type_, a.expression(value, span))
        _wait(a, target, value, span)
        return
    if target.local is None:
        target.local = _new_local(a, target, type_)
    a.emit(ir.SetLocal(target.local, a.expression(value, span), span))


def _gives_way(narrow: t.Type, wide: t.Type) -> bool:
    """Tell whether the type of earlier `break` values is widened to that of the current one."""
    return conversions.widens(narrow, wide) or conversions.pointer_converts(narrow, wide)


def _wait(a: Analyzer, target: JumpTarget, value: Value, span: Span) -> None:
    """Let a value be kept here, once the type of the block is known."""
    labelled = ir.Labelled((), span)
    target.waiting[id(labelled)] = labelled, value, span
    a.emit(labelled)


def _new_local(a: Analyzer, target: JumpTarget, type_: t.Type) -> ir.Local:
    return a.new_local(target.label or "block", type_, is_const=False).local


def labelled_block(a: Analyzer, node: ast.Block, *, has_value: bool) -> None:
    """Analyse a labelled block that is a statement; its value is not used."""
    target = JumpTarget(node.label, is_loop=False, is_discarded=has_value)
    a.open_block()
    with jump_target(a, target, node.span):
        statements.analyze_block(a, node.statements)
    body = a.close_block()
    a.emit(ir.Labelled(body, node.span))
    if has_value:
        _check_end(a, target, body, node.span)


def _check_end(a: Analyzer, target: JumpTarget, body: tuple[ir.Statement, ...], span: Span) -> None:
    """Fail if a block that has a value can end without one."""
    if not ends_elsewhere(body) and not a.has_errors:
        fail("type-mismatch", "this block can end without a value", span,
             help=f"end it with `break :{target.label} value;`")  # fmt: skip


def block_value(a: Analyzer, node: ast.BlockExpression, type_: t.Type | None) -> Value:
    """Emit a block where its value is needed, and return that value."""
    target = JumpTarget(
        node.block.label, is_loop=False, is_value=True, type=type_, is_inferred=type_ is None
    )
    a.open_block()
    with jump_target(a, target, node.span):
        statements.analyze_block(a, node.block.statements)
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
    """Return what the jumps to a block have left."""
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
    """Return a block that keeps what was carried before its type was known."""
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
    """Return the value of a block that ends in its only `break`; it may be known at comptime."""
    ((value, _),) = target.values
    is_known = not isinstance(value, Runtime | Variable) and target.variable is None
    kept = body[:-1]
    if target.local is not None and is_known:
        kept = kept[:-1]
    if _jumps_out(kept, 0):
        # The jumps have counted this block.
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


# --- where statements lead -----------------------------------------------------------------------


def ends_elsewhere(statements_: Sequence[ir.Statement]) -> bool:
    """Tell whether the end of these statements is never reached."""
    for statement in statements_:
        match statement:
            case ir.Return() | ir.Break() | ir.Continue():
                return True
            case ir.If(_, then, otherwise) if ends_elsewhere(then) and ends_elsewhere(otherwise):
                return True
            case ir.Loop(ir.Immediate(_, 1), body) if not _breaks(body, 0):
                return True
            case ir.Labelled(body) if ends_elsewhere(body) and not _breaks(body, 0):
                return True
            case _:
                pass
    return False


def _breaks(statements_: Sequence[ir.Statement], levels: int) -> bool:
    """Tell whether a `break` leaves the loop or block that is `levels` around these statements."""
    for statement in statements_:
        match statement:
            case ir.Break(target) if target == levels:
                return True
            case ir.If(_, then, otherwise) if _breaks(then, levels) or _breaks(otherwise, levels):
                return True
            case ir.Loop(_, body) | ir.Labelled(body) if _breaks(body, levels + 1):
                return True
            case _:
                pass
    return False


def _jumps_out(statements_: Sequence[ir.Statement], levels: int) -> bool:
    """Tell whether a jump goes beyond the block that is `levels` around these statements."""
    for statement in statements_:
        match statement:
            case ir.Break(target) | ir.Continue(target) if target > levels:
                return True
            case ir.If(_, then, otherwise) if any(_jumps_out(s, levels) for s in (then, otherwise)):
                return True
            case ir.Loop(_, body) | ir.Labelled(body) | ir.Map(body=body) if _jumps_out(
                body, levels + 1
            ):
                return True
            case _:
                pass
    return False
