"""A value that was just stored or loaded is not loaded again.

In: an instance. Out: the same, where loads of a number from a place that is known read a local.

Only variables count that the code names directly in every load and store: no pointer, no DSD and
no FIFO leads to them, so nothing changes them while a microthread works or a task waits. The host
may know them. It reads and writes between tasks, and a function that comes after it loads them.
All that is known ends where a function is called, and also where something is written whose place
the compiler does not know, for programs run on from one variable into the next.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.csl.ir.direct import find_direct
from onewafer.csl.optimizer.types_of import type_of
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.csl.ir.walk import Block

    _Place: TypeAlias = tuple[ir.Global, int, ScalarType]
    """A variable, bytes from its start, and the type of the number there."""
    _Known: TypeAlias = dict[_Place, ir.ReadLocal | ir.Immediate]
    """The known value of each place."""

_HARMLESS = (
    *(*walk.EXITS, ir.If, ir.Labelled, ir.Loop, ir.LoadDsr, ir.Activate, ir.SetBlocked),
    *(ir.SetFifoLength, ir.UnblockCommandStream, ir.TimestampControl, ir.Trap, ir.Print),
)
"""Statements that themselves write nothing to memory."""


def forward(instance: ir.InstanceIr) -> ir.InstanceIr:
    """Return the instance with fewer loads; bodies change in place."""
    direct = find_direct(instance, with_host=False)
    direct -= find_direct(instance, with_host=False, with_stores=False)
    for function in instance.functions if direct else ():
        forwarder = _Forwarder(direct)
        body, _ = forwarder.block(function.body, {})
        function.body = _Collapser.of(body, forwarder.held).block(body)
    return instance


@dataclass(frozen=True, slots=True)
class _Forwarder:
    direct: frozenset[ir.Global]
    held: set[ir.Local] = field(default_factory=set[ir.Local])
    """Locals made here, each for a value that may be asked for again."""

    def block(self, block: Block, known: _Known) -> tuple[Block, _Known]:
        """Return a block that loads less, and what is known behind it."""
        found: list[ir.Statement] = []
        for statement in block:
            more, known = self._statement(statement, known)
            found += more
        return tuple(found), known

    def _statement(
        self, statement: ir.Statement, known: _Known
    ) -> tuple[list[ir.Statement], _Known]:
        if any(map(walk.has_effect, walk.roots(statement))):
            known = {}
        match statement:
            case ir.Loop(body=body, step=step):
                known = self._survivors(known, (*body, *step))
                condition = self._replaced(statement.condition, known)
                body, after = self.block(body, known)
                if any(isinstance(s, ir.Continue) for s in walk.statements(body)):
                    after = known
                step, _ = self.block(step, after)
                return [ir.Loop(condition, body, step, statement.span)], known
            case ir.Map():
                return [rewrite.with_blocks(statement, lambda b: self.block(b, {})[0])], {}
            case _:
                pass
        before, statement, known = self._with_roots(statement, known)
        match statement:
            case ir.If():
                changed, known = self._if(statement, known)
                return [*before, changed], known
            case ir.Labelled(body=body):
                skipped = self._survivors(known, body)
                body, known = self.block(body, known)
                changed = replace(statement, body=body)
                return [*before, changed], skipped if _is_left(body) else known
            case _:
                return self._simple(before, statement, known)

    def _if(self, statement: ir.If, known: _Known) -> tuple[ir.Statement, _Known]:
        then, after_then = self.block(statement.then, dict(known))
        otherwise, after_otherwise = self.block(statement.otherwise, dict(known))
        changed = ir.If(statement.condition, then, otherwise, statement.span)
        if _is_exit(then):
            return changed, after_otherwise
        if _is_exit(otherwise):
            return changed, after_then
        both = {p: v for p, v in after_then.items() if _is_same(v, after_otherwise.get(p))}
        return changed, both

    def _with_roots(
        self, statement: ir.Statement, known: _Known
    ) -> tuple[list[ir.Statement], ir.Statement, _Known]:
        """Return a statement that reads what is known, and before it the loads of what is not."""
        roots = walk.roots(statement)
        if not any(map(self._places, roots)) or any(map(walk.has_effect, roots)):
            return [], statement, known
        before: list[ir.Statement] = []
        if not isinstance(statement, ir.SetLocal) or self._place(statement.value) is None:
            known = dict(known)
            span = getattr(statement, "span", None)
            for place, load in (p for root in roots for p in self._places(root)):
                if place not in known:
                    local = self._hold(place[0].name, load.type)
                    before.append(ir.SetLocal(local, load, span))
                    known[place] = ir.ReadLocal(local)
        changes: dict[ir.Expression, ir.Expression] = {}

        def change(expression: ir.Expression) -> ir.Expression:
            if expression not in changes:
                changes[expression] = self._replaced(expression, known)
            return changes[expression]

        return before, rewrite.with_roots(statement, change), known

    def _simple(
        self, before: list[ir.Statement], statement: ir.Statement, known: _Known
    ) -> tuple[list[ir.Statement], _Known]:
        """Return a statement without blocks, and what is known behind it."""
        after = self._after(known, statement)
        match statement:
            case ir.SetLocal(local=local, value=value):
                place = self._place(value)
                if place is not None:
                    after = {**after, place: ir.ReadLocal(local)}
            case ir.Store(type=ScalarType() as type_, value=value, span=span):
                place = self._stored(statement)
                if place is None or type_of(value) is not type_:
                    pass
                elif isinstance(value, ir.ReadLocal | ir.Immediate):
                    after = {**after, place: value}
                else:
                    local = self._hold(place[0].name, type_)
                    kept = ir.ReadLocal(local)
                    before = [*before, ir.SetLocal(local, value, span)]
                    statement = ir.Store(type_, statement.address, statement.offset, kept, span)
                    after = {**after, place: kept}
            case _:
                pass
        return [*before, statement], after

    def _hold(self, name: str, type_: ir.ValueType) -> ir.Local:
        local = ir.Local(name, type_)
        self.held.add(local)
        return local

    # --- places ---------------------------------------------------------------------------------

    def _place(self, value: ir.Expression) -> _Place | None:
        """Return the place that a value is loaded from, if it is one that counts."""
        match value:
            case ir.Load(
                type=ScalarType() as type_,
                address=ir.AddressOf(variable=variable, offset=base),
                offset=offset,
                is_volatile=False,
            ) if variable in self.direct:
                return variable, base + offset, type_
            case _:
                return None

    def _stored(self, store: ir.Store) -> _Place | None:
        match store:
            case ir.Store(
                type=ScalarType() as type_, address=ir.AddressOf(variable=variable, offset=base)
            ) if variable in self.direct:
                return variable, base + store.offset, type_
            case _:
                return None

    def _places(self, expression: ir.Expression) -> list[tuple[_Place, ir.Load]]:
        """Return what an expression is sure to load: not in one way of a choice."""
        found: list[tuple[_Place, ir.Load]] = []
        waiting = [expression]
        while waiting:
            node = waiting.pop()
            place = self._place(node)
            if place is not None and isinstance(node, ir.Load):
                found.append((place, node))
            elif isinstance(node, ir.Select):
                waiting.append(node.condition)
            else:
                waiting += reversed(walk.operands(node))
        return found

    def _replaced(self, expression: ir.Expression, known: _Known) -> ir.Expression:
        place = self._place(expression)
        if place is not None:
            return known.get(place, expression)
        return rewrite.with_operands(expression, lambda operand: self._replaced(operand, known))

    # --- what a statement ends ------------------------------------------------------------------

    def _survivors(self, known: _Known, block: Block) -> _Known:
        """Return what is still known wherever a block is left."""
        for statement in walk.statements(block):
            known = self._after(known, statement)
        return known

    def _after(self, known: _Known, statement: ir.Statement) -> _Known:
        """Return what is still known after a statement, without its blocks."""
        if not known:
            return known
        if any(map(walk.has_effect, walk.roots(statement))):
            return {}
        match statement:
            case ir.SetLocal(local=local):
                return {p: v for p, v in known.items() if not _reads(v, local)}
            case ir.Store(type=type_, address=ir.AddressOf(variable=variable, offset=base)):
                start = base + statement.offset
                end = start + (8 if not isinstance(type_, ScalarType) else type_.num_bytes)
                if start < 0 or end > variable.num_bytes:
                    return {}
                return {p: v for p, v in known.items() if not _overlaps(p, variable, start, end)}
            case _ if isinstance(statement, _HARMLESS):
                return known
            case _:
                return {}


def _overlaps(place: _Place, variable: ir.Global, start: int, end: int) -> bool:
    other, first, type_ = place
    return other is variable and first < end and start < first + type_.num_bytes


def _reads(value: ir.ReadLocal | ir.Immediate, local: ir.Local) -> bool:
    return isinstance(value, ir.ReadLocal) and value.local is local


def _is_same(value: ir.ReadLocal | ir.Immediate, other: ir.ReadLocal | ir.Immediate | None) -> bool:
    match value, other:
        case ir.ReadLocal(local=local), ir.ReadLocal(local=of_other):
            return local is of_other
        case _:
            return value is other


def _is_exit(block: Block) -> bool:
    """Tell whether what stands behind a block is not reached from it."""
    return bool(block) and isinstance(block[-1], walk.EXITS)


def _is_left(body: Block) -> bool:
    """Tell whether something in a block leaves the `Labelled` that it is the body of, early."""
    return any(isinstance(jump, ir.Break) and away >= 0 for jump, away in walk.jumps(body))


@dataclass(frozen=True, slots=True)
class _Collapser:
    """Puts values back that are asked for once: there was nothing to be saved."""

    held: set[ir.Local]
    num_reads: Counter[ir.Local]

    @classmethod
    def of(cls, body: Block, held: set[ir.Local]) -> _Collapser:
        read = (
            node.local
            for statement in walk.statements(body)
            for root in walk.roots(statement)
            for node in walk.expressions(root)
            if isinstance(node, ir.ReadLocal)
        )
        return cls(held, Counter(read))

    def block(self, block: Block) -> Block:
        """Return a block without locals that are read once, right behind the place they are set."""
        return tuple(self._statements(block))

    def _statements(self, block: Block) -> Iterator[ir.Statement]:
        values: dict[ir.Local, ir.Expression] = {}

        def change(expression: ir.Expression) -> ir.Expression:
            if isinstance(expression, ir.ReadLocal):
                return values.get(expression.local, expression)
            return rewrite.with_operands(expression, change)

        for statement in block:
            match statement:
                case ir.SetLocal(local=local, value=value) if (
                    local in self.held and self.num_reads[local] <= 1
                ):
                    values[local] = change(value)
                case ir.SetLocal(local=local, value=value, span=span) if local in self.held:
                    yield ir.SetLocal(local, change(value), span)
                case _:
                    changed = rewrite.with_roots(statement, change) if values else statement
                    values.clear()
                    yield rewrite.with_blocks(changed, self.block)
