"""Emitted code does what the IR says, on random programs: two small interpreters agree."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.csl import ir
from onewafer.image import (
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    OperandMode,
    ScalarType,
)
from tests.csl.codegen.interpreters import canonical, check, instance

Op, T = Opcode, ScalarType
WIDE = (T.I16, T.U16, T.I32, T.U32)
INTEGERS = (T.I8, T.U8, *WIDE)
I64, U64 = ir.WideType.I64, ir.WideType.U64
PAIRS = (I64, U64)
"""Two words; what else there is for `ARITHMETIC` is a call by now."""
OF_PAIRS = (Op.ADD, Op.ADD, Op.SUB, Op.SUB, Op.AND, Op.OR, Op.XOR)
ARITHMETIC = (
    *(Op.ADD, Op.ADD, Op.SUB, Op.MUL, Op.MUL, Op.DIV, Op.REM),
    *(Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR),
)


# --- random programs -----------------------------------------------------------------------------

BUFFER = ir.Global(
    "buffer", 64, 4, T.U16, None, [ir.Datum(2 * i, T.U16, 257 * i) for i in range(32)]
)
OUTPUT = ir.Global("output", 48, 8, T.I32, None)
RESULT = {s: 4 * i for i, s in enumerate(INTEGERS)} | {I64: 32, U64: 40}
"""Where in it a variable of each type ends."""
MEM = DsdDescriptor(DsdKind.MEM1D)
STREAM = DsdDescriptor(DsdKind.FABIN, color=3, queue=2)
CONSTANT_DSD = ir.MakeDsd(
    MEM, ir.AddressOf(BUFFER, 8), ir.Immediate(T.U16, 5), ir.Immediate(T.I16, 2)
)
STREAM_DSD = ir.MakeDsd(
    STREAM, ir.Immediate(T.U16, 0), ir.Immediate(T.U16, 7), ir.Immediate(T.I16, 0)
)
KEPT_DSD = ir.Global("kept_dsd", 8, 4, None, None, [ir.DsdDatum(0, CONSTANT_DSD)])
CHANGED_DSD = ir.Global("changed_dsd", 8, 4, None, None, [ir.DsdDatum(0, STREAM_DSD)])
KEPT = ir.Global("kept", 4, 2, T.U16, None, [ir.Datum(2, T.U16, 41)])
GLOBALS = (BUFFER, OUTPUT, KEPT_DSD, CHANGED_DSD, KEPT)
NAMED_DSR = (OperandMode.DSR_SRC1, 1)


def imm(scalar: ir.NumberType, value: int) -> ir.Expression:
    if isinstance(scalar, ScalarType):
        return ir.Immediate(scalar, canonical(value, scalar))
    return ir.Join(scalar, imm(T.U32, value), imm(T.U32, value >> 32))


@dataclass
class Program:
    """What a random function may mention."""

    random: Random
    variables: dict[ir.NumberType, list[ir.Local]]
    dsds: list[ir.Local]
    callees: list[ir.Function]
    result: ScalarType | None = None
    counters: int = 0

    def expression(self, scalar: ir.NumberType, depth: int) -> ir.Expression:
        leaves = ["immediate", "local"]
        inner = ["binary", "binary", "unary", "convert", "select", "load", "call"]
        inner += [*["binary"] * 5, *["call"] * 3] if scalar in PAIRS else []
        kind = self.random.choice(leaves if depth == 0 else leaves + inner)
        match kind:
            case "immediate":
                number = self.random.choice((0, 1, 2, 3, 4, 8, 12, -1, -7, 300))
                is_pair = scalar in PAIRS and self.random.choice((True, False))
                return imm(scalar, number << 31 if is_pair else number)
            case "local":
                return ir.ReadLocal(self.random.choice(self.variables[scalar]))
            case "unary":
                opcode = self.random.choice((Op.NEG, Op.NOT))
                return ir.Unary(opcode, scalar, self.expression(scalar, depth - 1))
            case "convert":
                source = self.random.choice((T.BOOL, *INTEGERS, *PAIRS))
                operand = self.condition(depth - 1) if source is T.BOOL else None
                operand = operand or self.expression(source, depth - 1)
                return ir.Convert(source, scalar, operand)
            case "select":
                return ir.Select(
                    scalar,
                    self.condition(depth - 1),
                    self.expression(scalar, depth - 1),
                    self.expression(scalar, depth - 1),
                )
            case "load":
                if scalar in PAIRS and self.random.choice((True, False)):
                    return ir.Load(scalar, self.address(depth - 1))
                kept = ir.Load(T.U16, ir.AddressOf(KEPT), self.random.choice((0, 2)))
                changed = ir.Load(T.U16, self.address(depth - 1))
                return ir.Convert(T.U16, scalar, self.random.choice((kept, changed, changed)))
            case "call":
                found = [f for f in self.callees if f.result is scalar]
                if not found:
                    return imm(scalar, 5)
                function = self.random.choice(found)
                return ir.Call(
                    function,
                    tuple(self.expression(p.type, depth - 1) for p in function.parameters),
                )
            case "binary" if isinstance(scalar, ir.WideType):
                return self.pair(scalar, depth - 1)
            case _:
                return ir.Binary(
                    self.random.choice(ARITHMETIC),
                    scalar,
                    self.expression(scalar, depth - 1),
                    self.expression(scalar, depth - 1),
                )

    def pair(self, scalar: ir.WideType, depth: int) -> ir.Expression:
        """An operation on two words each, or a word of each of two in the place of the other."""
        left = self.expression(scalar, depth)
        match self.random.randrange(5):
            case 0:
                count = imm(T.U16, self.random.choice((0, 1, 8, 31, 32, 33, 40, 63, 64, 80)))
                return ir.Binary(self.random.choice((Op.SHL, Op.SHR)), scalar, left, count)
            case 1:
                high = ir.Binary(Op.SHR, U64, left, imm(T.U16, 32))
                right = self.expression(self.random.choice(PAIRS), depth)
                words = [ir.Convert(U64, T.U32, high), ir.Convert(I64, T.U32, right)]
                return ir.Join(scalar, *words)
            case 2:
                local = ir.ReadLocal(self.random.choice(self.variables[scalar]))
                high = ir.Binary(Op.SHR, U64, local, imm(T.U16, 32))
                words = [ir.Convert(U64, T.U32, high), ir.Convert(U64, T.U32, local)]
                swapped = ir.Join(scalar, *words)
                if self.random.choice((True, False)):
                    return swapped
                return ir.Binary(self.random.choice(OF_PAIRS), scalar, left, swapped)
            case _:
                right = self.expression(scalar, depth)
                return ir.Binary(self.random.choice(OF_PAIRS), scalar, left, right)

    def condition(self, depth: int) -> ir.Expression:
        kind = self.random.choice(("compare", "not", "and", "or", "constant"))
        if depth <= 0 or kind == "compare":
            scalar = self.random.choice((*WIDE, *PAIRS))
            opcode = self.random.choice((Op.EQUAL, Op.NOT_EQUAL, Op.LESS, Op.LESS_EQUAL))
            return ir.Binary(
                opcode, scalar, self.expression(scalar, max(0, depth - 1)),
                self.random.choice((imm(scalar, 0), self.expression(scalar, 0))),
            )  # fmt: skip
        match kind:
            case "not":
                return ir.Unary(Op.NOT, T.BOOL, self.condition(depth - 1))
            case "and":
                return ir.Select(
                    T.BOOL, self.condition(depth - 1), self.condition(depth - 1), imm(T.BOOL, 0)
                )
            case "or":
                return ir.Select(
                    T.BOOL, self.condition(depth - 1), imm(T.BOOL, 1), self.condition(depth - 1)
                )
            case _:
                return imm(T.BOOL, self.random.randint(0, 1))

    def address(self, depth: int) -> ir.Expression:
        """An even address inside BUFFER."""
        index = ir.Binary(Op.AND, T.U16, self.expression(T.U16, max(0, depth)), imm(T.U16, 7))
        scaled = ir.Binary(Op.MUL, T.U16, index, imm(T.U16, self.random.choice((0, 2, 4))))
        if self.random.choice((True, False)):
            second = ir.Binary(
                Op.AND, T.U16, self.expression(T.U16, max(0, depth - 1)), imm(T.U16, 3)
            )
            doubled = ir.Binary(Op.SHL, T.U16, second, imm(T.U16, 1))
            opcode = self.random.choice((Op.ADD, Op.SUB))
            terms = self.random.choice(((scaled, doubled), (doubled, scaled)))
            scaled = ir.Binary(opcode, T.U16, *terms)
        base = ir.AddressOf(BUFFER, self.random.choice((28, 30)))
        return ir.Binary(Op.ADD, T.U16, base, scaled)

    def dsd(self, depth: int) -> ir.Expression:
        match self.random.choice(("make", "kept", "kept", "changed", "local", "update", "select")):
            case "local":
                return ir.ReadLocal(self.random.choice(self.dsds))
            case "kept":
                return ir.Load(ir.DSD, ir.AddressOf(KEPT_DSD))
            case "changed":
                return ir.Load(ir.DSD, ir.AddressOf(CHANGED_DSD))
            case "update" if depth:
                update = self.random.choice(tuple(ir.DsdUpdate))
                return ir.UpdateDsd(update, self.dsd(depth - 1), self.expression(T.I16, 1), 4)
            case "select" if depth:
                return ir.Select(
                    ir.DSD, self.condition(1), self.dsd(depth - 1), self.dsd(depth - 1)
                )
            case _:
                base = self.random.choice((ir.AddressOf(BUFFER, 4), self.address(1)))
                return ir.MakeDsd(
                    MEM, base, self.expression(T.U16, 1), imm(T.I16, self.random.choice((1, -2)))
                )

    def block(self, depth: int, *, in_loop: bool) -> tuple[ir.Statement, ...]:
        count = self.random.randint(1, 4)
        return tuple(s for _ in range(count) for s in self.statement(depth, in_loop=in_loop))

    def statement(self, depth: int, *, in_loop: bool) -> tuple[ir.Statement, ...]:
        kinds = ["set", "set", "dsd"]
        kinds += ["store", "store", "store dsd", "fresh", "operation", "operation", "load dsr"]
        kinds += ["trap", "activate"]
        kinds += ["if", "if", "loop"] if depth else []
        kinds += ["break", "continue"] if in_loop else []
        kinds += ["call", "return"] if depth else []
        scalar = self.random.choice((*INTEGERS, *PAIRS, *PAIRS))
        match self.random.choice(kinds):
            case "set":
                local = self.random.choice(self.variables[scalar])
                return (ir.SetLocal(local, self.expression(scalar, 3)),)
            case "store" if scalar in PAIRS:
                return (ir.Store(scalar, ir.AddressOf(OUTPUT), 32, self.expression(scalar, 2)),)
            case "store":
                return (ir.Store(T.U16, self.address(2), 2, self.expression(T.U16, 2)),)
            case "fresh":
                local = ir.Local("fresh", scalar)
                first = ir.SetLocal(local, self.expression(scalar, 1))
                low = ir.Convert(scalar, T.U8, ir.ReadLocal(local))
                return first, ir.Store(T.U8, ir.AddressOf(OUTPUT), 28, low)
            case "dsd":
                local = self.random.choice(self.dsds)
                return (ir.SetLocal(local, self.dsd(2)),)
            case "store dsd":
                return (ir.Store(ir.DSD, ir.AddressOf(CHANGED_DSD), 0, self.dsd(1)),)
            case "operation":
                return (self.operation(),)
            case "load dsr":
                return (ir.LoadDsr(ir.Dsr(*NAMED_DSR), self.dsd(1)),)
            case "trap":
                return (ir.Trap(self.condition(2), "wrong"),)
            case "activate":
                return (ir.Activate(9),)
            case "if":
                otherwise = (
                    self.block(depth - 1, in_loop=in_loop)
                    if self.random.choice((True, False))
                    else ()
                )
                return (
                    ir.If(self.condition(2), self.block(depth - 1, in_loop=in_loop), otherwise),
                )
            case "return" if self.result is not None:
                result = ir.Return(self.expression(self.result, 1))
                return (ir.If(self.condition(1), (result,), ()),)
            case "return" | "call":
                call = self.expression(self.random.choice((T.U16, T.I16, U64)), 3)
                return (ir.Evaluate(call),) if isinstance(call, ir.Call) else ()
            case "break":
                return (ir.If(self.condition(1), (ir.Break(),), ()),)
            case "continue":
                return (ir.If(self.condition(1), (ir.Continue(),), ()),)
            case _:
                return self.loop(depth)

    def loop(self, depth: int) -> tuple[ir.Statement, ...]:
        scalar = self.random.choice((T.I16, T.U16))
        counter = ir.Local(f"counter{self.counters}", scalar)
        self.counters += 1
        stop = self.random.randint(0, 4)
        start = self.random.randint(0, 2)
        self.variables[scalar].append(counter)
        body = self.block(depth - 1, in_loop=True)
        self.variables[scalar].remove(counter)
        body = tuple(s for s in body if not (isinstance(s, ir.SetLocal) and s.local is counter))
        read = ir.ReadLocal(counter)
        # The counter is a copy, so that nothing in the body can make the loop endless.
        hidden = ir.Local("hidden", scalar)
        step = ir.SetLocal(hidden, ir.Binary(Op.ADD, scalar, ir.ReadLocal(hidden), imm(scalar, 1)))
        condition = ir.Binary(Op.LESS, scalar, ir.ReadLocal(hidden), imm(scalar, stop))
        assert read is not None
        return (
            ir.SetLocal(hidden, imm(scalar, start)),
            ir.Loop(condition, (ir.SetLocal(counter, ir.ReadLocal(hidden)), *body), (step,)),
        )

    def operation(self) -> ir.DsdStatement:
        dest = self.random.choice((ir.Vector(self.dsd(1)), ir.ScalarDestination(self.address(1))))
        same = self.random.choice((True, False)) and isinstance(dest, ir.Vector)
        src0 = dest if same else ir.Scalar(self.expression(T.U16, 1))
        src1 = self.random.choice((ir.Vector(self.dsd(1)), ir.Dsr(*NAMED_DSR)))
        config = self.random.choice((None, None, None, DsdConfig(2), DsdConfig(3, activate=9)))
        return ir.DsdStatement(DsdOperation.ADD16, dest, src0, src1, None, config)


def random_function(
    random: Random, name, result, callees, *, depth: int, types=(T.U16, T.U16)
) -> ir.Function:
    parameters = tuple(ir.Local(f"p{i}", type_) for i, type_ in enumerate(types))
    variables = {s: [ir.Local(s.name.lower(), s)] for s in (*INTEGERS, *PAIRS)}
    dsds = [ir.Local("d", ir.DSD)]
    initial = [ir.SetLocal(v, imm(s, 3)) for s, (v,) in variables.items()]
    initial += [
        ir.SetLocal(dsds[0], ir.MakeDsd(MEM, ir.AddressOf(BUFFER), imm(T.U16, 3), imm(T.I16, 1)))
    ]
    for parameter in parameters:
        variables[parameter.type].append(parameter)
    program = Program(random, variables, dsds, callees, result)
    body = program.block(depth, in_loop=False)
    final: list[ir.Statement] = (
        [
            ir.Store(s, ir.AddressOf(OUTPUT), RESULT[s], ir.ReadLocal(locals_[0]))
            for s, locals_ in variables.items()
        ]
        if result is None
        else [ir.Return(program.expression(result, 2))]
    )
    is_inline = result is not None and random.choice((True, False))
    return ir.Function(name, parameters, result, (*initial, *body, *final), is_inline=is_inline)


def sum_of_parameters(random: Random) -> ir.Function:
    """A function that is one expression."""
    parameters = tuple(ir.Local(f"p{i}", T.U16) for i in range(2))
    program = Program(random, {s: [ir.Local("none", s)] for s in (*INTEGERS, *PAIRS)}, [], [])
    program.variables[T.U16] = list(parameters)
    factors = [ir.ReadLocal(random.choice(parameters)), ir.Load(T.U16, program.address(0))]
    body = (ir.Return(ir.Binary(Op.ADD, T.U16, *factors)),)
    return ir.Function("sum", parameters, T.U16, body, is_inline=random.choice((True, False)))


def random_instance(random: Random) -> ir.InstanceIr:
    leaf = random_function(random, "leaf", T.U16, [], depth=1)
    total = sum_of_parameters(random)
    other = random_function(random, "other", T.I16, [leaf, total], depth=1)
    types = (T.U16, U64, I64)
    pair = random_function(random, "pair", U64, [leaf, total], depth=1, types=types)
    far = random_function(random, "far", I64, [pair, total], depth=1, types=(I64, T.U16))
    main = random_function(random, "main", None, [leaf, other, total, pair, far], depth=2)
    return instance((main, leaf, other, total, pair, far), GLOBALS)


@settings(max_examples=200, deadline=None, phases=(Phase.generate,))
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(0, 65535))
def test_random_programs_do_what_their_ir_says(seed, a, b):
    # Not for secrets: the seed is the test case.
    check(random_instance(Random(seed)), (a, b))  # noqa: S311
