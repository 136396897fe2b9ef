"""Store-to-load and load-to-load forwarding: a known value is not loaded again.

In: an instance. Out: the same, with loads of known values replaced by reads of locals.

Only direct variables are forwarded (`csl.ir.direct`): no pointer, DSD or FIFO leads to them, so
neither a microthread nor a waiting task changes them. The host may access them: it reads and writes
between tasks, and each function loads them anew. All known values are forgotten at a call, and at
a store to an unknown address, for programs run on from one variable into the next.
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
    """A memory location: a variable, the byte offset, and the type of the number there."""
    _Known: TypeAlias = dict[_Place, ir.ReadLocal | ir.Immediate]
    """The known value of each place."""

_HARMLESS = (
    *(*walk.EXITS, ir.If, ir.Labelled, ir.Loop, ir.LoadDsr, ir.Activate, ir.SetBlocked),
    *(ir.SetFifoLength, ir.UnblockCommandStream, ir.TimestampControl, ir.Trap, ir.Print),
)
"""Statements that do not write to memory, apart from their nested blocks."""


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
    """The locals that this pass made, each for a forwarded value."""

    def block(self, block: Block, known: _Known) -> tuple[Block, _Known]:
        """Return a block with fewer loads, and the known values after it."""
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
        """Replace known loads in a statement; return new loads to put before it, too."""
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
        """Rewrite a statement without blocks; return the known values after it, too."""
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
        """Return the place of a load if it may be forwarded."""
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
        """Return the loads that an expression always executes: none in a branch of a select."""
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
        """Return the known values that no statement of a block invalidates."""
        for statement in walk.statements(block):
            known = self._after(known, statement)
        return known

    def _after(self, known: _Known, statement: ir.Statement) -> _Known:
        """Return the known values that a statement, without its blocks, does not invalidate."""
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
    """Tell whether control never falls out of the end of a block."""
    return bool(block) and isinstance(block[-1], walk.EXITS)


def _is_left(body: Block) -> bool:
    """Tell whether a `Break` in the body of a `Labelled` leaves it."""
    return any(isinstance(jump, ir.Break) and away >= 0 for jump, away in walk.jumps(body))


@dataclass(frozen=True, slots=True)
class _Collapser:
    """Removes new locals that are read once: their forwarding saved no load."""

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
        """Return a block with the values of locals that are read once put in place of the reads."""
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
