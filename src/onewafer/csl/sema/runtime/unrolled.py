"""Loops that are unrolled into run-time code: `inline for`, and `for` over a tuple."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.jump_target import JumpTarget
from onewafer.csl.sema.runtime import order
from onewafer.csl.sema.runtime.addresses import load_at
from onewafer.csl.sema.runtime.blocks import jump_target
from onewafer.csl.sema.runtime.bodies import analyze_in_scope
from onewafer.csl.sema.runtime.jumps import ends_elsewhere
from onewafer.csl.sema.values import Range, Scalar, Value, force
from onewafer.csl.syntax import ast, tree

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


MAX_UNROLLED = 1 << 16
"""Default of `--max-inlined-iterations`: the code of more rounds hardly fits into a PE."""


def unroll(a: Analyzer, node: ast.For, elements: Iterable[Value]) -> None:
    """Analyse the body once for each element; `elements` may emit code for the next one.

    If the body has a `break` or `continue`, each round is a block, and so is the loop. Rounds after
    one that always leaves the loop are not analysed.
    """
    jumps = any(isinstance(inner, ast.Break | ast.Continue) for inner in tree.nodes(node.body))
    target = JumpTarget(node.label, is_loop=True, num_blocks=2 if jumps else 0)
    with jump_target(a, target, node.span), _block(a, node.span, is_one=jumps):
        for number, element in enumerate(elements):
            _check_limits(a, node, number)
            start = len(a.blocks[-1])
            with _block(a, node.span, is_one=jumps):
                a.names.open()
                a.names.declare(node.element.name, element)
                if node.index is not None:
                    a.names.declare(node.index.name, Scalar(t.COMPTIME_INT, number))
                analyze_in_scope(a, node.body.statements)
                a.names.close()
            if ends_elsewhere(a.blocks[-1][start:]):
                return


def _check_limits(a: Analyzer, node: ast.For, num_rounds: int) -> None:
    a.session.tick(node.span)
    limit = a.session.options.max_unrolled
    if limit is None or a.module.code.is_library:
        limit = MAX_UNROLLED
    if num_rounds >= limit:
        fail(
            "step-limit",
            f"the loop is unrolled more than {limit:,} times",
            node.iterable.span,
            help="leave `inline` out: the loop then runs at run time; or raise the limit with "
            "`--max-inlined-iterations=N`",
        )


@contextmanager
def _block(a: Analyzer, span: Span, *, is_one: bool) -> Generator[None]:
    """Put the emitted statements into a block that a jump can leave, if `is_one`."""
    if not is_one:
        yield
        return
    a.open_block(goes_on=True)
    try:
        yield
    finally:
        inner = a.close_block()
    a.emit(ir.Labelled(inner, span))


def numbers_of(loop: Range, span: Span) -> Iterator[Value]:
    """Yield the numbers of a range, which have to be known."""
    bounds: list[int] = []
    for bound in (loop.start, loop.stop, loop.step):
        if not isinstance(bound, Scalar):
            fail(
                "not-comptime",
                "an `inline for` goes over a range that is known while compiling",
                span,
                help="leave `inline` out: the loop then runs at run time",
            )
        bounds.append(int(force(bound, "bound of an `inline for`", span)))
    start, stop, step = bounds
    if not step:
        rules.endless_range(span)
    return (Scalar(loop.type, number) for number in range(start, stop, step))


def elements_in_memory(
    a: Analyzer, node: ast.For, type_: t.ArrayType, base: Value
) -> Iterator[Value]:
    """Yield the elements of an array, each as it is at the start of its round."""
    span = node.iterable.span
    for number in range(type_.num_elements):
        indices = [Scalar(t.COMPTIME_INT, index) for index in _position(type_.dimensions, number)]
        element = load_at(a, base, indices, span)
        yield order.settled(a, node.element.name, element, span)


def _position(dimensions: tuple[int, ...], number: int) -> list[int]:
    """Return the indices of the element with this row-major number."""
    position: list[int] = []
    for size in reversed(dimensions):
        number, index = divmod(number, size)
        position.insert(0, index)
    return position
