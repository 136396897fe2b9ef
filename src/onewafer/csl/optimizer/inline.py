"""Calls of `inline fn` → the bodies of the functions, in place of the calls.

In and out: an instance. A function that only returns an expression becomes that expression. Any
other body goes before the statement that calls it, provided that the statement's earlier operands
may be evaluated before it. Otherwise the call stays: in the condition of a loop, in a branch of a
choice, and if the function returns from inside a map loop.

Calls get copies of the body, except the only call of a function: it gets the body itself. Most
functions of a kernel library have one call.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.csl.optimizer.count_down import count_down
from onewafer.csl.optimizer.types_of import type_of
from onewafer.csl.optimizer.unused import drop_unused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.ir.walk import Block
    from onewafer.diagnostics import Span


def expand_inline(instance: ir.InstanceIr, *, in_blocks: bool = False) -> ir.InstanceIr:
    """Return the instance with calls of inline functions expanded; bodies change in place.

    With `in_blocks`, each body is a block, so that the locals of others may share its registers.
    """
    needed = {task.function for task in instance.tasks}
    needed |= {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
    expander = _Expander(_called_once(instance.functions) - needed, in_blocks)
    for function in instance.functions:
        expander.expand(function)
    if not any(function.is_inline for function in instance.functions):
        return instance
    kept = [f for f in instance.functions if not f.is_inline or f in needed]
    for function in kept:  # grows on the way
        kept += [f for f in walk.callees(function) if f not in kept]
    order = [function for function in instance.functions if function in kept]
    return replace(instance, functions=tuple(order))


def _called_once(functions: Sequence[ir.Function]) -> set[ir.Function]:
    """Return the functions with exactly one call."""
    num_calls = Counter(call.function for caller in functions for call in walk.calls(caller))
    return {function for function, number in num_calls.items() if number == 1}


@dataclass(slots=True)
class _Expander:
    _called_once: set[ir.Function]
    """Functions with one call, which takes the statements of the body without a copy."""
    _in_blocks: bool
    _begun: set[ir.Function] = field(default_factory=set[ir.Function])
    _expandable: dict[ir.Function, walk.Contents] = field(
        default_factory=dict[ir.Function, "walk.Contents"]
    )
    """Inline functions whose bodies are final and may stand in place of calls."""
    _uses: dict[ir.Function, _Uses] = field(default_factory=dict[ir.Function, "_Uses"])
    """How each of these functions uses its parameters."""

    def expand(self, function: ir.Function) -> None:
        """Expand the calls in a function; those of a function that calls itself stay."""
        if function in self._begun:
            return
        self._begun.add(function)
        expanded = self._block(function.body)
        contents = count_down(drop_unused(expanded))
        function.body = contents.block
        if function.is_inline and not _returns_from_map(contents):
            self._expandable[function] = contents

    def _block(self, block: Block) -> Block:
        found: list[ir.Statement] = []
        for statement in block:
            found += self._statement(statement)
        return tuple(found)

    def _statement(self, statement: ir.Statement) -> list[ir.Statement]:
        if walk.blocks(statement):
            statement = rewrite.with_blocks(statement, self._block)
        if not any(map(walk.has_effect, walk.roots(statement))):
            return [statement]
        match statement:
            case ir.Evaluate(call=call, span=span):
                before, changed = self._sequence(call.arguments, span)
                call = replace(call, arguments=tuple(changed))
                if not self._is_expanded(call.function):
                    return [*before, replace(statement, call=call)]
                type_ = call.function.result
                result = None if type_ is None else ir.Local("unused", type_)
                return [*before, *self._body(call, result, span)]
            case ir.SetLocal(local=local, value=ir.Call() as call, span=span) if (
                self._is_expanded(call.function) and _expression_of(call) is None
            ):
                before, changed = self._sequence(call.arguments, span)
                call = replace(call, arguments=tuple(changed))
                return [*before, *self._body(call, local, span)]
            case ir.Loop():
                return [rewrite.with_roots(statement, self._substituted)]
            case _:
                span = getattr(statement, "span", None)
                before, changed = self._sequence(walk.roots(statement), span)
                values = iter(changed)
                return [*before, rewrite.with_roots(statement, lambda _: next(values))]

    def _is_expanded(self, function: ir.Function) -> bool:
        if not function.is_inline:
            return False
        self.expand(function)
        return function in self._expandable

    # --- expressions ----------------------------------------------------------------------------

    def _sequence(
        self, values: Sequence[ir.Expression], span: Span | None
    ) -> tuple[list[ir.Statement], list[ir.Expression]]:
        """Return statements to run first, and the values afterwards, evaluated in order."""
        copies = {value: self._substituted(value) for value in values}
        changed = [copies[value] for value in values]
        calling = [i for i, value in enumerate(changed) if self._can_hoist(value)]
        before: list[ir.Statement] = []
        values_of: dict[ir.Expression, ir.Expression] = {}
        for i in range(calling[-1] + 1 if calling else 0):
            if changed[i] in values_of:
                changed[i] = values_of[changed[i]]
                continue
            more, value = self._hoisted(changed[i], span)
            before += more
            if i != calling[-1] and walk.depends_on_memory(value):
                local = ir.Local("operand", type_of(value))
                before.append(ir.SetLocal(local, value, span))
                value = ir.ReadLocal(local)
            values_of[changed[i]] = value
            changed[i] = value
        return before, changed

    def _substituted(self, expression: ir.Expression) -> ir.Expression:
        """Return an expression with calls of single-expression functions replaced."""
        changed = rewrite.with_operands(expression, self._substituted)
        if isinstance(changed, ir.Call) and self._is_expanded(changed.function):
            return _expression_of(changed) or changed
        return changed

    def _can_hoist(self, expression: ir.Expression) -> bool:
        """Tell whether the expression has a call that can be hoisted before the statement."""
        if not walk.has_effect(expression):
            return False
        match expression:
            case ir.Call(function=function) if self._is_expanded(function):
                return True
            case ir.Select(condition=condition):
                return self._can_hoist(condition)
            case _:
                return any(map(self._can_hoist, walk.operands(expression)))

    def _hoisted(
        self, expression: ir.Expression, span: Span | None
    ) -> tuple[list[ir.Statement], ir.Expression]:
        if not self._can_hoist(expression):
            return [], expression
        if isinstance(expression, ir.Select):
            before, condition = self._hoisted(expression.condition, span)
            return before, replace(expression, condition=condition)
        before, operands = self._sequence(walk.operands(expression), span)
        values = iter(operands)
        changed = rewrite.with_operands(expression, lambda _: next(values))
        if not (isinstance(changed, ir.Call) and self._is_expanded(changed.function)):
            return before, changed
        result = ir.Local(changed.function.name, type_of(changed))
        return [*before, *self._body(changed, result, span)], ir.ReadLocal(result)

    # --- bodies ---------------------------------------------------------------------------------

    def _body(
        self, call: ir.Call, result: ir.Local | None, span: Span | None
    ) -> list[ir.Statement]:
        """Return the statements of a call, with its result in a local.

        Statements of a library get the place of the program's call, which people look for.
        """
        body = self._body_in_place(call, result, span)
        if span is None or _is_of_library(span):
            return body
        return [*_placed_at(span, tuple(body))]

    def _body_in_place(
        self, call: ir.Call, result: ir.Local | None, span: Span | None
    ) -> list[ir.Statement]:
        function, uses = call.function, self._uses_in(call.function)
        body = _without_last_returns(function.body, result)
        leaves = any(isinstance(s, ir.Return) for s in walk.statements(body))
        if function in self._called_once and not leaves:
            values, before = _bind(call, uses, lambda parameter: parameter, span)
            filled = _Filler.of(values, self._expandable[function]).block(function.body)
            return self._in_a_block([*before, *_without_last_returns(filled, result)], result, span)
        copier = _Copier(result)
        copier.values, before = _bind(call, uses, copier.local, span)
        if leaves:
            return [*before, ir.Labelled(copier.block(body, depth=1), span)]
        return self._in_a_block([*before, *copier.block(body, depth=0)], result, span)

    def _in_a_block(
        self, body: list[ir.Statement], result: ir.Local | None, span: Span | None
    ) -> list[ir.Statement]:
        """Put statements into a block, if they have locals of their own."""
        if not self._in_blocks:
            return body
        own = {local for statement in body for local in walk.locals_set(statement)} - {result}
        return [ir.Labelled(tuple(body), span)] if own else body

    def _uses_in(self, function: ir.Function) -> _Uses:
        """Return how a function with a final body uses its parameters."""
        uses = self._uses.get(function)
        if uses is None:
            uses = self._uses[function] = _Uses.of(function, self._expandable[function])
        return uses


def _is_of_library(span: Span) -> bool:
    return span.source.path.startswith("<")


def _placed_at(span: Span, block: Block) -> Block:
    """Return a block with the span of a call in place of those in the library, or itself."""
    found: list[ir.Statement] = []
    for statement in block:
        placed = rewrite.with_blocks(statement, partial(_placed_at, span))
        own: Span | None = getattr(statement, "span", None)
        if own is not None and _is_of_library(own):
            placed = replace(cast("ir.SetLocal", placed), span=span)
        found.append(placed)
    return block if found == [*block] else tuple(found)


@dataclass(slots=True)
class _Copier:
    """Copies the body of a function with new locals; each return becomes a `Break`."""

    result: ir.Local | None = None
    values: dict[ir.Local, ir.Expression] = field(default_factory=dict[ir.Local, ir.Expression])
    """Parameter → the expression that replaces it."""
    locals: dict[ir.Local, ir.Local] = field(default_factory=dict[ir.Local, ir.Local])
    copies: dict[ir.Expression, ir.Expression] = field(
        default_factory=dict[ir.Expression, ir.Expression]
    )
    """Expressions that are one node stay one: it is evaluated once."""

    def local(self, local: ir.Local) -> ir.Local:
        """Return the new local, or the one that gets the result."""
        if local is self.result:
            return local
        if local not in self.locals:
            self.locals[local] = ir.Local(local.name, local.type)
        return self.locals[local]

    def expression(self, expression: ir.Expression) -> ir.Expression:
        """Copy an expression."""
        if isinstance(expression, ir.ReadLocal):
            value = self.values.get(expression.local)
            return ir.ReadLocal(self.local(expression.local)) if value is None else value
        copy = self.copies.get(expression)
        if copy is None:
            copy = self.copies[expression] = rewrite.with_operands(expression, self.expression)
        return copy

    def block(self, block: Block, depth: int) -> Block:
        """Copy statements nested in `depth` loops and labelled blocks."""
        found: list[ir.Statement] = []
        for statement in block:
            if isinstance(statement, ir.Return):
                if statement.value is not None and self.result is not None:
                    found.append(ir.SetLocal(self.result, self.expression(statement.value)))
                found.append(ir.Break(depth - 1))
                continue
            copied = rewrite.with_roots(statement, self.expression)
            copied = rewrite.with_local(copied, self.local)
            if walk.blocks(copied):
                inner = depth + isinstance(statement, ir.Loop | ir.Labelled)
                copied = rewrite.with_blocks(copied, lambda b, n=inner: self.block(b, n))
            found.append(copied)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Filler:
    """Substitutes arguments for parameters; statements without parameters are not copied."""

    values: dict[ir.Local, ir.Expression]
    readers: set[ir.Statement]
    copies: dict[ir.Expression, ir.Expression] = field(
        default_factory=dict[ir.Expression, ir.Expression]
    )
    """Expressions that are one node stay one: it is evaluated once."""

    @classmethod
    def of(cls, values: dict[ir.Local, ir.Expression], body: walk.Contents) -> _Filler:
        readers = (body.readers.get(parameter, []) for parameter in values)
        return cls(values, {statement for each in readers for statement in each})

    def block(self, block: Block) -> Block:
        """Return the block with arguments substituted, or the block itself if it reads none."""
        if not self.readers:
            return block
        filled = tuple([self._statement(statement) for statement in block])
        return block if filled == block else filled

    def _statement(self, statement: ir.Statement) -> ir.Statement:
        if statement in self.readers:
            statement = rewrite.with_roots(statement, self._expression)
        return rewrite.with_blocks(statement, self.block)

    def _expression(self, expression: ir.Expression) -> ir.Expression:
        if isinstance(expression, ir.ReadLocal):
            return self.values.get(expression.local, expression)
        copy = self.copies.get(expression)
        if copy is None:
            copy = self.copies[expression] = rewrite.with_operands(expression, self._expression)
        return copy


@dataclass(frozen=True, slots=True)
class _Uses:
    """How a function uses its parameters."""

    num_reads: dict[ir.Local, int]
    repeated: set[ir.Local]
    """Parameters read in a loop."""
    changed: set[ir.Local]

    @classmethod
    def of(cls, function: ir.Function, body: walk.Contents) -> _Uses:
        loops = tuple([s for s in body.statements if isinstance(s, ir.Loop | ir.Map)])
        in_loops = {*walk.statements(loops)}
        parameters = function.parameters
        return cls(
            {parameter: body.num_reads(parameter) for parameter in parameters},
            {p for p in parameters if not in_loops.isdisjoint(body.readers.get(p, ()))},
            {local for statement in body.statements for local in walk.locals_set(statement)},
        )

    def can_stand_for(self, parameter: ir.Local, argument: ir.Expression) -> bool:
        """Tell whether an argument may be evaluated at each read of the parameter."""
        if parameter in self.changed:
            return False
        if _is_at_hand(argument):
            return True
        is_read_once = self.num_reads[parameter] <= 1 and parameter not in self.repeated
        return is_read_once and not walk.depends_on_memory(argument)


def _bind(
    call: ir.Call, uses: _Uses, local: Callable[[ir.Local], ir.Local], span: Span | None
) -> tuple[dict[ir.Local, ir.Expression], list[ir.Statement]]:
    """Return the substituted arguments, and the assignments of all other parameters."""
    values: dict[ir.Local, ir.Expression] = {}
    before: list[ir.Statement] = []
    for parameter, argument in zip(call.function.parameters, call.arguments, strict=True):
        if uses.can_stand_for(parameter, argument):
            values[parameter] = argument
        else:
            before.append(ir.SetLocal(local(parameter), argument, span))
    return values, before


def _is_at_hand(expression: ir.Expression) -> bool:
    """Tell whether a value is a local or a constant."""
    return isinstance(expression, ir.ReadLocal | ir.Immediate | ir.AddressOf)


def _expression_of(call: ir.Call) -> ir.Expression | None:
    """Return the expression of a call whose function only returns an expression."""
    match call.function.body:
        case (ir.Return(value=value),) if value is not None:
            pass
        case _:
            return None
    if walk.has_effect(value) or any(map(walk.has_effect, call.arguments)):
        return None
    copier = _Copier()
    reads = Counter(walk.locals_read(value))
    for parameter, argument in zip(call.function.parameters, call.arguments, strict=True):
        if not _is_at_hand(argument) and reads[parameter] > 1:
            return None
        copier.values[parameter] = argument
    return copier.expression(value)


def _returns_from_map(body: walk.Contents) -> bool:
    loops = [s for s in body.statements if isinstance(s, ir.Map)]
    return any(isinstance(s, ir.Return) for loop in loops for s in walk.statements(loop.body))


def _without_last_returns(block: Block, result: ir.Local | None) -> Block:
    """Return the block with its final returns replaced by assignments to the result."""
    match block:
        case (*others, ir.Return(value=value)):
            if value is None or result is None:
                return tuple(others)
            return (*others, ir.SetLocal(result, value))
        case (*others, ir.If(then=then, otherwise=otherwise) as choice):
            then, otherwise = (_without_last_returns(b, result) for b in (then, otherwise))
            return (*others, replace(choice, then=then, otherwise=otherwise))
        case _:
            return block
