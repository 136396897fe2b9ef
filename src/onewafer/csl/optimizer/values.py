"""Value-set analysis: comparisons with one outcome and unreachable branches are removed.

In: an instance. Out: the same, where a comparison with one possible outcome is that constant;
unreachable branches are gone, with functions that only they call. A typical case is the state
machine of a library: `switch (next)` keeps the states that the program sets.

The values of a direct variable (`csl.ir.direct`) are its initial value and all stores, those of a
local all assignments, those of a parameter all arguments. An expression other than a constant or a
choice between constants may have any value, as may parameters of functions that the host launches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.csl.ir.direct import find_direct
from onewafer.csl.optimizer.constants import COMPARISONS, fold
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.csl.ir.walk import Block

    Holder = ir.Global | ir.Local

MOST_VALUES: Final = 16
"""The largest set of possible values of one variable; beyond it, any value is possible."""
_Values = frozenset[int]


def fold_values(instance: ir.InstanceIr) -> ir.InstanceIr:
    """Remove unreachable code from the instance; bodies change in place."""
    called = {callee for function in instance.functions for callee in walk.callees(function)}
    roots = {function for function in instance.functions if function not in called}
    roots |= {task.function for task in instance.tasks}
    roots |= {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
    while True:
        folder = _Folder(_Known.of(instance, roots))
        bodies = [folder.block(function.body) for function in instance.functions]
        if all(body is f.body for body, f in zip(bodies, instance.functions, strict=True)):
            return instance
        for function, body in zip(instance.functions, bodies, strict=True):
            function.body = body
        instance = _without_unreached(instance, roots)


def _without_unreached(instance: ir.InstanceIr, roots: set[ir.Function]) -> ir.InstanceIr:
    reached, waiting = set(roots), [*roots]
    for function in waiting:  # grows on the way
        new = [callee for callee in walk.callees(function) if callee not in reached]
        reached.update(new)
        waiting += new
    kept = tuple(function for function in instance.functions if function in reached)
    return replace(instance, functions=kept)


@dataclass(slots=True)
class _Known:
    """The possible values of variables and locals; absent ones may have any value."""

    values: dict[Holder, _Values] = field(default_factory=dict["Holder", _Values])

    @classmethod
    def of(cls, instance: ir.InstanceIr, roots: set[ir.Function]) -> _Known:
        """Find the values: the initial ones, then all stores, up to a fixed point.

        `roots` are the functions that are started by other means than a call.
        """
        statements = [s for f in instance.functions for s in walk.statements(f.body)]
        known = cls()
        for variable, type_ in _scalars(instance, statements).items():
            initial = _initial(variable, type_)
            if initial is not None:
                known.values[variable] = initial
        assignments = [a for a in map(_assignment, statements) if a is not None]
        assignments += [a for f in instance.functions for c in walk.calls(f) for a in _passed(c)]
        stored = {holder for holder, _ in assignments}
        for holder in stored:
            if isinstance(holder, ir.Local):
                known.values[holder] = frozenset()
        unset = (v for v in instance.globals if v.is_undefined and v not in stored)
        for holder in (*unset, *_set_otherwise(roots, statements)):
            known.values.pop(holder, None)
        while known.grow(assignments):
            pass
        return known

    def grow(self, assignments: Iterable[tuple[Holder, ir.Expression]]) -> bool:
        """Add assigned values; tell whether one is new."""
        is_new = False
        for holder, value in assignments:
            held = self.values.get(holder)
            if held is None:
                continue
            added = self.of_value(value)
            if added is None or len(held | added) > MOST_VALUES:
                del self.values[holder]
                is_new = True
            elif not added <= held:
                self.values[holder] = held | added
                is_new = True
        return is_new

    def of_value(self, value: ir.Expression) -> _Values | None:
        """Return the values that an expression may have; None: any."""
        match value:
            case ir.Immediate(per_pe=None, word=word):
                return frozenset((word,))
            case ir.ReadLocal(local=local):
                return self.values.get(local)
            case ir.Load(address=ir.AddressOf(variable=variable), is_volatile=False):
                return self.values.get(variable)
            case ir.Select(then=then, otherwise=otherwise):
                first, second = self.of_value(then), self.of_value(otherwise)
                return None if first is None or second is None else first | second
            case _:
                return None


def _assignment(statement: ir.Statement) -> tuple[Holder, ir.Expression] | None:
    """Return the target and the value of an assignment."""
    match statement:
        case ir.SetLocal(local=local, value=value):
            return local, value
        case ir.Store(address=ir.AddressOf(variable=variable), value=value):
            return variable, value
        case _:
            return None


def _scalars(
    instance: ir.InstanceIr, statements: Iterable[ir.Statement]
) -> dict[ir.Global, ScalarType]:
    """Return the variables that every load and store treats as one integer."""
    found = {
        v: v.element
        for v in find_direct(instance)
        if v.element is not None and not v.element.is_float and v.element.num_bytes == v.num_bytes
    }
    for statement in statements:
        accesses: list[tuple[ir.Expression, int, ir.ValueType]] = []
        if isinstance(statement, ir.Store):
            accesses.append((statement.address, statement.offset, statement.type))
        nodes = (node for root in walk.roots(statement) for node in walk.expressions(root))
        accesses += [(n.address, n.offset, n.type) for n in nodes if isinstance(n, ir.Load)]
        for address, offset, type_ in accesses:
            match address:
                case ir.AddressOf(variable=variable, offset=base) if (
                    base + offset or type_ is not found.get(variable)
                ):
                    found.pop(variable, None)
                case _:
                    pass
    return found


def _initial(variable: ir.Global, type_: ScalarType) -> _Values | None:
    """Return the first value of a variable; None: it may be any."""
    match variable.data:
        case []:
            return frozenset((0,))
        case [ir.Datum(offset=0, element=element, word=word, per_pe=None)] if element is type_:
            return frozenset((word,))
        case _:
            return None


def _passed(call: ir.Call) -> Iterable[tuple[Holder, ir.Expression]]:
    """Return the parameters of a call's function, and their arguments."""
    return zip(call.function.parameters, call.arguments, strict=True)


def _set_otherwise(
    roots: Iterable[ir.Function], statements: Iterable[ir.Statement]
) -> Iterable[ir.Local]:
    """Yield the locals that are set by other means than `SetLocal` and calls."""
    for function in roots:
        yield from function.parameters
    for statement in statements:
        if not isinstance(statement, ir.SetLocal):
            yield from walk.locals_set(statement)


@dataclass(frozen=True, slots=True)
class _Folder:
    known: _Known

    def block(self, block: Block) -> Block:
        """Return a block without unreachable code, or the block itself if all is reachable."""
        found: list[ir.Statement] = []
        for statement in block:
            found += self._statement(statement)
            if found and isinstance(found[-1], walk.EXITS):
                break
        return block if found == [*block] else tuple(found)

    def _statement(self, statement: ir.Statement) -> Block:
        roots = walk.roots(statement)
        copies = {root: self._expression(root) for root in roots}
        if any(copies[root] is not root for root in roots):
            statement = rewrite.with_roots(statement, copies.__getitem__)
        match statement:
            case ir.If(condition=ir.Immediate(per_pe=None, word=word)):
                return self.block(statement.then if word else statement.otherwise)
            case ir.Loop(condition=ir.Immediate(per_pe=None, word=0)):
                return ()
            case _:
                return (rewrite.with_blocks(statement, self.block),)

    def _expression(self, expression: ir.Expression) -> ir.Expression:
        """Return a constant, a branch of a select, or the expression itself."""
        match expression:
            case ir.ReadLocal() | ir.Load():
                constant = self._constant(expression)
                if constant is not None:
                    return constant
            case _:
                pass
        operands = walk.operands(expression)
        changed = {operand: self._expression(operand) for operand in operands}
        if any(changed[operand] is not operand for operand in operands):
            expression = rewrite.with_operands(expression, changed.__getitem__)
        match expression:
            case ir.Binary(opcode=opcode, right=ir.Immediate()) if opcode in COMPARISONS:
                return self._comparison(expression)
            case ir.Unary(
                opcode=Opcode.NOT,
                type=ScalarType.BOOL,
                operand=ir.Immediate(per_pe=None, word=word),
            ):
                return ir.Immediate(ScalarType.BOOL, int(not word))
            case ir.Select(condition=ir.Immediate(per_pe=None, word=word)):
                return expression.then if word else expression.otherwise
            case _:
                return fold(expression)

    def _constant(self, expression: ir.ReadLocal | ir.Load) -> ir.Immediate | None:
        values = self.known.of_value(expression)
        if values is None or len(values) != 1:
            return None
        type_ = expression.type if isinstance(expression, ir.Load) else expression.local.type
        if not isinstance(type_, ScalarType) or type_.is_float:
            return None
        return ir.Immediate(type_, next(iter(values)))

    def _comparison(self, comparison: ir.Binary) -> ir.Expression:
        """Return the outcome of a comparison with a constant, if it is the same for all values."""
        values = self.known.of_value(comparison.left)
        if not values or not isinstance(comparison.type, ScalarType):
            return comparison
        type_ = comparison.type
        outcomes = [
            fold(replace(comparison, left=ir.Immediate(type_, word))) for word in sorted(values)
        ]
        words = {o.word if isinstance(o, ir.Immediate) else None for o in outcomes}
        return outcomes[0] if len(words) == 1 and None not in words else comparison
