"""Accesses outside of an array that a function is sure to make: a warning for each.

In: the functions as analysed. Loops that count between constants are followed in their first and
last round, and only what such a round is sure to reach if inner loops end: no access behind a
condition that is not known, and none after a possible `break`, `continue`, `return` or failing
`@assert`. Not every such access is found; `cs_python --check bounds` finds those of a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.optimizer.constants import fold, to_number
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import Opcode, ScalarType
from onewafer.units import count_of

if TYPE_CHECKING:
    from onewafer.csl.ir.walk import Block
    from onewafer.diagnostics import DiagnosticSink, Span

_MOST_NESTED: Final = 4
"""Loops in loops that are followed: each doubles the rounds to look at."""
_ADDRESSES: Final = 1 << 16


def check_accesses(instance: ir.InstanceIr, sink: DiagnosticSink) -> None:
    """Report the accesses of an instance that are outside of their arrays."""
    for function in instance.functions:
        if any(isinstance(statement, ir.Loop) for statement in function.body):
            _Rounds(sink).run(function.body, {})


@dataclass(slots=True)
class _Rounds:
    """Follows statements with the locals whose values are known."""

    sink: DiagnosticSink
    counters: list[tuple[ir.Local, int]] = field(default_factory=list["tuple[ir.Local, int]"])
    """Counters of the loops around, and their values."""
    reported: set[ir.Load | ir.Store] = field(default_factory=set["ir.Load | ir.Store"])

    def run(self, block: Block, known: dict[ir.Local, int]) -> bool:
        """Follow a block; return True if its end is sure to be reached."""
        return all(self._follow(statement, known) for statement in block)

    def _follow(self, statement: ir.Statement, known: dict[ir.Local, int]) -> bool:
        for root in walk.roots(statement):
            self._look(root, statement, known)
        match statement:
            case ir.If(condition=condition, then=then, otherwise=otherwise):
                holds = _word(condition, known)
                if holds is not None:
                    return self.run(then if holds else otherwise, known)
            case ir.Loop():
                self._follow_rounds(statement, known)
            case ir.SetLocal(local=local, value=value):
                word = _word(value, known)
                known.pop(local, None)
                if word is not None:
                    known[local] = word
                return True
            case ir.Store(type=ScalarType() | ir.WideType() as type_):
                self._check(statement, type_.num_bytes, statement, known)
            case ir.Trap(condition=condition):
                return bool(_word(condition, known))
            case ir.Return() | ir.TailCall() | ir.Break() | ir.Continue():
                return False
            case _:
                pass
        for one in walk.statements((statement,)):
            for local in walk.locals_set(one):
                known.pop(local, None)
        return not _may_leave((statement,))

    def _follow_rounds(self, loop: ir.Loop, known: dict[ir.Local, int]) -> None:
        """Follow the first and the last round of a loop that counts between constants."""
        changed = {local for one in walk.statements(loop.body) for local in walk.locals_set(one)}
        steady = {local: word for local, word in known.items() if local not in changed}
        counting = _counted(loop, steady)
        if counting is None or counting[0] in changed or len(self.counters) >= _MOST_NESTED:
            return
        counter, words = counting
        for word in words[:1] if _may_leave(loop.body) else words:
            self.counters.append((counter, word))
            self.run(loop.body, steady | {counter: word})
            self.counters.pop()

    def _look(
        self, root: ir.Expression, statement: ir.Statement, known: dict[ir.Local, int]
    ) -> None:
        """Check the loads of an expression; only the condition of a `Select` is sure to be one."""
        if isinstance(root, ir.Select):
            self._look(root.condition, statement, known)
            return
        for operand in walk.operands(root):
            self._look(operand, statement, known)
        if isinstance(root, ir.Load) and isinstance(root.type, ScalarType | ir.WideType):
            self._check(root, root.type.num_bytes, statement, known)

    def _check(
        self,
        access: ir.Load | ir.Store,
        num_bytes: int,
        statement: ir.Statement,
        known: dict[ir.Local, int],
    ) -> None:
        """Report an access in a loop that is outside of its array."""
        place = _place(access.address, known) if self.counters else None
        if place is None or access in self.reported:
            return
        base, distance = place
        start, size = base.array or (0, base.variable.num_bytes)
        first = distance + access.offset - start & _ADDRESSES - 1
        if first + num_bytes > size:
            self.reported.add(access)
            first -= _ADDRESSES * (_ADDRESSES - first < first - size)
            self.sink.report(
                self._warning(base, first, num_bytes, size, getattr(statement, "span", None))
            )

    def _warning(
        self, base: ir.AddressOf, first: int, num_bytes: int, size: int, span: Span | None
    ) -> Diagnostic:
        when = ", ".join(
            f"`{counter.name}` is {to_number(word, counter.type)}"
            for counter, word in self.counters
            if isinstance(counter.type, ScalarType)
        )
        return Diagnostic(
            "index-out-of-range",
            f"{_describe(base, first, num_bytes, size)}, is used when {when}",
            None if span is None else Annotation(span),
            help="let the loop end earlier, or make the array longer",
            severity=Severity.WARNING,
        )


def _describe(base: ir.AddressOf, first: int, num_bytes: int, size: int) -> str:
    """Return the part of an array that begins `first` bytes after its start, and its size."""
    variable = base.variable
    what = f"`{variable.name}`" if base.array is None else f"an array of `{variable.name}`"
    held = 0 if variable.element is None else variable.element.num_bytes * (1 + variable.is_wide)
    is_struct = base.array is None and bool(variable.parts)
    if held != num_bytes or is_struct or first % num_bytes:
        return f"byte {first:,} of {what}, which has {size:,} B"
    number = size // num_bytes
    elements = f"{count_of(number, 'element')} (0 … {number - 1:,})"
    return f"element {first // num_bytes:,} of {what}, which has {elements}"


def _may_leave(block: Block) -> bool:
    """Tell whether control may leave a block before its end."""
    ends = (ir.Return, ir.TailCall, ir.Trap)
    returns = any(isinstance(one, ends) for one in walk.statements(block))
    return returns or any(away >= 0 for _, away in walk.jumps(block))


def _counted(loop: ir.Loop, known: dict[ir.Local, int]) -> tuple[ir.Local, tuple[int, ...]] | None:
    """Return the counter of a loop, with its first and last value, if they are known."""
    match loop.condition, loop.step:
        case (
            ir.Binary(Opcode.LESS | Opcode.LESS_EQUAL as test, ScalarType() as type_, left, right),
            (
                ir.SetLocal(
                    counter,
                    ir.Binary(
                        Opcode.ADD | Opcode.SUB as advance, step_type, ir.ReadLocal(moved), by
                    ),
                ),
            ),
        ) if moved is counter and step_type is type_ and not type_.is_float:
            pass
        case _:
            return None
    start_word = known.get(counter)
    known = {local: word for local, word in known.items() if local is not counter}
    step_word = _word(by, known)
    is_up = isinstance(left, ir.ReadLocal) and left.local is counter
    is_down = isinstance(right, ir.ReadLocal) and right.local is counter
    limit = _word(right if is_up else left, known)
    if start_word is None or step_word is None or limit is None or is_up is is_down:
        return None
    if (advance is Opcode.ADD) is not is_up:
        return None
    start, step, end = (to_number(word, type_) for word in (start_word, step_word, limit))
    rounds = (end - start if is_up else start - end) + (test is Opcode.LESS_EQUAL)
    if rounds <= 0 or step <= 0:
        return None
    last = (rounds - 1) // step * step
    ends = dict.fromkeys((start, start + last if is_up else start - last))
    return counter, tuple(ir.canonical_word(value, type_) for value in ends)


def _word(expression: ir.Expression, known: dict[ir.Local, int]) -> int | None:
    """Return the word of a number that constants and known locals make; None: it is not known."""
    match expression:
        case ir.Immediate(per_pe=None, word=word):
            return word
        case ir.ReadLocal(local=local):
            return known.get(local)
        case ir.Convert(ScalarType() as source, target, operand):
            only = _word(operand, known)
            if only is None:
                return None
            folded = fold(ir.Convert(source, target, ir.Immediate(source, only)))
        case ir.Binary(opcode, ScalarType() as type_, left, right):
            first, second = _word(left, known), _word(right, known)
            if first is None or second is None:
                return None
            if opcode is Opcode.SHL and second < 8 * type_.num_bytes:
                opcode, second = Opcode.MUL, 1 << second
            operands = (ir.Immediate(type_, word) for word in (first, second))
            folded = fold(ir.Binary(opcode, type_, *operands))
        case _:
            return None
    return folded.word if isinstance(folded, ir.Immediate) else None


def _place(address: ir.Expression, known: dict[ir.Local, int]) -> tuple[ir.AddressOf, int] | None:
    """Return the variable of an address, and the distance from its start in bytes."""
    match address:
        case ir.AddressOf(offset=offset):
            return address, offset
        case ir.Binary(Opcode.ADD, ScalarType.U16, left, right):
            place, word = _place(left, known), _word(right, known)
            if place is None or word is None:
                return None
            base, distance = place
            return base, distance + word
        case _:
            return None
