"""Emitted code does what the IR says: two small interpreters must agree.

`evaluate_instance` walks IR trees, `execute` steps through bytecode. They share only the scalar
operations below, written with Python integers and `struct`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl import ir
from onewafer.csl.codegen import generate, link, plan_memory, walk
from onewafer.diagnostics import DiagnosticSink
from onewafer.image import (
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    ScalarType,
    TaskKind,
    decode_operand,
)

O, T = Opcode, ScalarType
WIDE = (T.I16, T.U16, T.I32, T.U32)
INTEGERS = (T.I8, T.U8, *WIDE)
MEMORY_BYTES = 1 << 16
ARCHITECTURE = load_architecture("wse2")
FUEL = 20_000


# --- scalar operations ----------------------------------------------------------------------------


def signed(word: int, bits: int = 32) -> int:
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word


def canonical(value: int, scalar: ScalarType) -> int:
    """A word as the signed 32-bit number that tables hold."""
    if scalar is T.BOOL:
        return int(value != 0)
    if scalar.is_float:
        return signed(value)
    bits = scalar.num_bytes * 8
    return signed(value, bits) if scalar.is_signed else signed(value & ((1 << bits) - 1))


def number(word: int, scalar: ScalarType) -> int:
    return word if scalar.is_signed else word & 0xFFFF_FFFF


def to_float(word: int) -> float:
    return struct.unpack("<f", struct.pack("<I", word & 0xFFFF_FFFF))[0]


def from_float(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


def divide(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def binary(opcode: Opcode, scalar: ScalarType, a: int, b: int) -> int:
    if scalar is T.F32:
        x, y = to_float(a), to_float(b)
        match opcode:
            case O.ADD:
                return from_float(x + y)
            case O.SUB:
                return from_float(x - y)
            case O.LESS:
                return int(x < y)
            case _:
                raise AssertionError(opcode)
    x, y = number(a, scalar), number(b, scalar)
    width = scalar.num_bytes * 8
    match opcode:
        case O.ADD:
            value = x + y
        case O.SUB:
            value = x - y
        case O.MUL:
            value = x * y
        case O.DIV:
            value = divide(x, y)
        case O.REM:
            value = x - divide(x, y) * y if y else x
        case O.AND:
            value = x & y
        case O.OR:
            value = x | y
        case O.XOR:
            value = x ^ y
        case O.SHL:
            value = x << y if 0 <= y < width else 0
        case O.SHR:
            value = x >> min(y, width) if y >= 0 else 0
        case O.EQUAL:
            return int(x == y)
        case O.NOT_EQUAL:
            return int(x != y)
        case O.LESS:
            return int(x < y)
        case O.LESS_EQUAL:
            return int(x <= y)
        case _:
            raise AssertionError(opcode)
    return canonical(value, scalar)


def unary(opcode: Opcode, scalar: ScalarType, a: int) -> int:
    if opcode is O.NEG:
        return canonical(-number(a, scalar), scalar)
    return int(not a) if scalar is T.BOOL else canonical(~a, scalar)


def load(memory: bytearray, address: int, scalar: ScalarType) -> int:
    raw = bytes(memory[(address + i) & 0xFFFF] for i in range(scalar.num_bytes))
    return canonical(int.from_bytes(raw, "little"), scalar)


def store(memory: bytearray, address: int, scalar: ScalarType, word: int) -> None:
    for i in range(scalar.num_bytes):
        memory[(address + i) & 0xFFFF] = (word >> (8 * i)) & 0xFF


# --- IR trees --------------------------------------------------------------------------------------


class BreakError(Exception):
    pass


class ContinueError(Exception):
    pass


class ReturnError(Exception):
    pass


class OutOfFuelError(Exception):
    pass


@dataclass
class Evaluator:
    addresses: dict[str, int]
    memory: bytearray
    descriptors: tuple[DsdDescriptor, ...]
    events: list[object] = field(default_factory=list)
    locals: dict[ir.Local, object] = field(default_factory=dict)
    fuel: int = FUEL

    def call(self, function: ir.Function, arguments: list[object]) -> object:
        self.locals.update(zip(function.parameters, arguments, strict=True))
        try:
            self.block(function.body)
        except ReturnError as result:
            return result.args[0]
        return None

    def value(self, e: ir.Expression):
        match e:
            case ir.Immediate(word=word):
                return word
            case ir.ReadLocal(local=local):
                return self.locals[local]
            case ir.AddressOf(variable=variable, offset=offset):
                return self.addresses[variable.name] + offset
            case ir.Load(type=ir.DSD, address=address, offset=offset):
                at = self.value(address) + offset
                return self.unpack(load(self.memory, at, T.U32), load(self.memory, at + 4, T.U32))
            case ir.Load(type=scalar, address=address, offset=offset):
                return load(self.memory, self.value(address) + offset, scalar)
            case ir.Unary(opcode=opcode, type=scalar, operand=operand):
                return unary(opcode, scalar, self.value(operand))
            case ir.Binary(opcode=opcode, type=scalar, left=left, right=right):
                return binary(opcode, scalar, self.value(left), self.value(right))
            case ir.Convert(source=source, target=target, operand=operand):
                return canonical(number(self.value(operand), source), target)
            case ir.Select(condition=condition, then=then, otherwise=otherwise):
                return self.value(then if self.value(condition) else otherwise)
            case ir.Call(function=function, arguments=arguments):
                values = [self.value(a) for a in arguments]
                return self.call(function, values)
            case ir.Coordinate(axis=axis):
                return 3 + axis
            case ir.MakeDsd(descriptor=descriptor, base=base, extent=extent, stride=stride):
                return (
                    descriptor,
                    self.value(base) & 0xFFFF,
                    self.value(extent) & 0xFFFF,
                    self.value(stride) & 0xFFFF,
                )
            case ir.UpdateDsd(update=update, dsd=dsd, value=value, element_bytes=size):
                descriptor, base, extent, stride = self.value(dsd)
                new = self.value(value)
                match update:
                    case ir.DsdUpdate.BASE:
                        base = new & 0xFFFF
                    case ir.DsdUpdate.LENGTH:
                        extent = new & 0xFFFF
                    case ir.DsdUpdate.STRIDE:
                        stride = new & 0xFFFF
                    case ir.DsdUpdate.ADVANCE:
                        base = (base + new * size) & 0xFFFF
                return descriptor, base, extent, stride
        raise AssertionError(e)

    def unpack(self, low: int, high: int):
        low, high = low & 0xFFFF_FFFF, high & 0xFFFF_FFFF
        return self.descriptors[high >> 16], low & 0xFFFF, low >> 16, high & 0xFFFF

    def pack(self, dsd) -> tuple[int, int]:
        descriptor, base, extent, stride = dsd
        return base | extent << 16, stride | self.descriptors.index(descriptor) << 16

    def block(self, block: tuple[ir.Statement, ...]) -> None:
        for statement in block:
            self.statement(statement)

    def statement(self, s: ir.Statement) -> None:
        self.fuel -= 1
        if self.fuel < 0:
            raise OutOfFuelError
        match s:
            case ir.SetLocal(local=local, value=value):
                self.locals[local] = self.value(value)
            case ir.Store(type=ir.DSD, address=address, offset=offset, value=value):
                at = self.value(address) + offset
                for i, word in enumerate(self.pack(self.value(value))):
                    store(self.memory, at + 4 * i, T.U32, word)
            case ir.Store(type=scalar, address=address, offset=offset, value=value):
                store(self.memory, self.value(address) + offset, scalar, self.value(value))
            case ir.Evaluate(call=call):
                self.value(call)
            case ir.If(condition=condition, then=then, otherwise=otherwise):
                self.block(then if self.value(condition) else otherwise)
            case ir.Loop():
                self.loop(s)
            case ir.Break():
                raise BreakError
            case ir.Continue():
                raise ContinueError
            case ir.Return(value=value):
                raise ReturnError(None if value is None else self.value(value))
            case ir.DsdStatement():
                self.events.append(self.operation(s))
            case ir.LoadDsr(dsr=dsr, dsd=dsd):
                self.events.append(("load", dsr.file, dsr.index, self.value(dsd)))
            case ir.Activate(task_id=task_id):
                self.events.append((O.ACTIVATE, task_id))
            case ir.Trap(condition=condition):
                self.events.append((O.TRAP, bool(self.value(condition))))
            case _:
                raise AssertionError(s)

    def loop(self, s: ir.Loop) -> None:
        while self.value(s.condition):
            try:
                self.block(s.body)
            except ContinueError:
                pass
            except BreakError:
                return
            self.block(s.step)
            self.fuel -= 1
            if self.fuel < 0:
                raise OutOfFuelError

    def operation(self, s: ir.DsdStatement):
        def operand(o: ir.DsdOperand | None):
            match o:
                case None:
                    return None
                case ir.Dsr(file=file, index=index):
                    return "dsr", file, index
                case ir.Scalar(value=value):
                    return "scalar", self.value(value)
                case ir.ScalarDestination(address=address):
                    return "pointer", self.value(address)
                case ir.Vector(dsd=dsd):
                    return self.value(dsd)

        scalar = None if s.scalar is None else ("scalar", self.value(s.scalar))
        return (
            s.operation,
            operand(s.dest),
            operand(s.src0),
            operand(s.src1),
            scalar,
            s.config,
        )


# --- bytecode --------------------------------------------------------------------------------------


@dataclass
class Executor:
    program: object
    memory: bytearray
    named_dsrs: frozenset = frozenset()
    events: list[object] = field(default_factory=list)

    def run(self, entry: int, arguments: dict[int, int]) -> None:
        self.registers = [0] + [0x55AA55AA] * (self.program.num_registers - 1)
        for register, word in arguments.items():
            self.registers[register] = word
        self.dsrs: dict[tuple[OperandMode, int], object] = {}
        pc: int | None = entry
        stack: list[int] = []
        for _ in range(100 * FUEL):
            if pc is None:
                return
            pc = self.step(pc, [int(v) for v in self.program.code[pc]], stack)
            assert self.registers[0] == 0
        raise AssertionError("the program does not end")

    def dsd(self, register: int):
        low = self.registers[register] & 0xFFFF_FFFF
        high = self.registers[register + 1] & 0xFFFF_FFFF
        return self.program.dsds[high >> 16], low & 0xFFFF, low >> 16, high & 0xFFFF

    def step(self, pc: int, row: list[int], stack: list[int]) -> int | None:
        opcode, type_, rd, ra, rb, rc, imm = row[:7]
        opcode, r = Opcode(opcode), self.registers
        match opcode:
            case O.END_TASK:
                return None
            case O.RETURN:
                return stack.pop() if stack else None
            case O.JUMP:
                return imm
            case O.BRANCH_ZERO:
                return imm if r[ra] == 0 else pc + 1
            case O.BRANCH_NONZERO:
                return imm if r[ra] != 0 else pc + 1
            case O.CALL:
                stack.append(pc + 1)
                return imm
            case O.LOAD_IMMEDIATE:
                assert canonical(imm, T(type_)) == imm
                r[rd] = imm
            case O.MOVE:
                r[rd] = r[ra]
            case O.LOAD:
                r[rd] = load(self.memory, r[ra] + imm, T(type_))
            case O.STORE:
                store(self.memory, r[ra] + imm, T(type_), r[rb])
            case O.NEG | O.NOT:
                r[rd] = unary(opcode, T(type_), r[ra])
            case O.CONVERT:
                r[rd] = canonical(number(r[ra], T(type_)), T(imm))
            case O.COORDINATE:
                r[rd] = 3 + imm
            case O.TRAP:
                self.events.append((O.TRAP, bool(r[ra])))
            case O.ACTIVATE:
                self.events.append((O.ACTIVATE, imm))
            case O.DSD_SET_BASE:
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF0000) | (r[rb] & 0xFFFF), r[ra + 1]
            case O.DSD_SET_LENGTH:
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF) | (r[rb] & 0xFFFF) << 16, r[ra + 1]
            case O.DSD_SET_STRIDE:
                r[rd], r[rd + 1] = r[ra], (r[ra + 1] & 0xFFFF0000) | (r[rb] & 0xFFFF)
            case O.DSD_ADVANCE:
                base = (r[ra] + r[rb] * imm) & 0xFFFF
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF0000) | base, r[ra + 1]
            case O.DSR_LOAD:
                dsr = decode_operand(rd)
                self.dsrs[dsr] = self.dsd(ra)
                if dsr in self.named_dsrs:
                    self.events.append(("load", *dsr, self.dsd(ra)))
            case O.DSD:
                config = None if imm < 0 else self.program.configs[imm]
                fields = [self.operand(v) for v in (rd, ra, rb, rc)]
                self.events.append((DsdOperation(type_), *fields, config))
            case _:
                r[rd] = binary(opcode, T(type_), r[ra], r[rb])
        return pc + 1

    def operand(self, encoded: int):
        mode, index = decode_operand(encoded)
        match mode:
            case OperandMode.NONE:
                return None
            case OperandMode.REGISTER:
                return "scalar", self.registers[index]
            case OperandMode.POINTER:
                return "pointer", self.registers[index]
            case _:
                if (mode, index) in self.named_dsrs:
                    return "dsr", mode, index
                return self.dsrs[mode, index]


# --- comparing them --------------------------------------------------------------------------------


def instance(functions, globals_=(), *, exports=(), tasks=(), pes=((0, 0),), per_pe=()):
    return ir.InstanceIr(
        name="test.csl",
        globals=tuple(globals_),
        functions=tuple(functions),
        tasks=tuple(tasks),
        queues=(),
        blocked_channels=(),
        exports=tuple(exports),
        pes=pes,
        per_pe=per_pe,
    )


def compile_instance(one: ir.InstanceIr, architecture=ARCHITECTURE):
    sink = DiagnosticSink()
    objects = generate(one, architecture, uses_memcpy=True, sink=sink)
    plan = plan_memory(objects, architecture, uses_memcpy=True, sink=sink)
    assert not sink.diagnostics
    return link(objects, plan)


def initial_memory(program) -> bytearray:
    memory = bytearray(MEMORY_BYTES)
    memory[program.data_address : program.data_address + len(program.data)] = program.data.tobytes()
    return memory


def named_dsrs(one: ir.InstanceIr) -> frozenset:
    """The registers that the program itself names; the compiler has the others for itself."""
    statements = [s for f in one.functions for s in walk.statements(f.body)]
    operations = [s for s in statements if isinstance(s, ir.DsdStatement)]
    named = [o for s in operations for o in walk.dsd_operands(s) if isinstance(o, ir.Dsr)]
    named += [s.dsr for s in statements if isinstance(s, ir.LoadDsr)]
    return frozenset((dsr.file, dsr.index) for dsr in named)


def check(one: ir.InstanceIr, arguments: tuple[int, ...] = ()):
    """Run the first function both ways; return its events and the final memory."""
    program = compile_instance(one)
    symbols = {symbol.name: symbol for symbol in program.symbols}
    function = symbols[one.functions[0].name]
    executor = Executor(program, initial_memory(program), named_dsrs(one))
    evaluator = Evaluator(
        {name: s.address for name, s in symbols.items()}, initial_memory(program), program.dsds
    )
    try:
        evaluator.call(one.functions[0], list(arguments))
    except OutOfFuelError:
        return None
    executor.run(function.address, dict(zip(function.argument_registers, arguments, strict=True)))
    assert executor.events == evaluator.events
    data = slice(program.data_address, program.data_address + len(program.data))
    assert executor.memory[data] == evaluator.memory[data]
    return program, executor


# --- random programs -------------------------------------------------------------------------------

BUFFER = ir.Global(
    "buffer", 64, 4, T.U16, None, [ir.Datum(2 * i, T.U16, 257 * i) for i in range(32)]
)
OUTPUT = ir.Global("output", 32, 4, T.I32, None)
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


def imm(scalar: ScalarType, value: int) -> ir.Immediate:
    return ir.Immediate(scalar, canonical(value, scalar))


@dataclass
class Program:
    """What a random function may mention."""

    random: Random
    variables: dict[ScalarType, list[ir.Local]]
    dsds: list[ir.Local]
    callees: list[ir.Function]
    is_pure: bool
    """Callees have no effects: the order in which operands are evaluated is unspecified."""
    counters: int = 0

    def expression(self, scalar: ScalarType, depth: int) -> ir.Expression:
        leaves = ["immediate", "local"]
        inner = ["binary", "binary", "unary", "convert", "select", "load", "call"]
        kind = self.random.choice(leaves if depth == 0 else leaves + inner)
        match kind:
            case "immediate":
                return imm(scalar, self.random.choice((0, 1, 2, 3, 4, 8, 12, -1, -7, 300)))
            case "local":
                return ir.ReadLocal(self.random.choice(self.variables[scalar]))
            case "unary":
                opcode = self.random.choice((O.NEG, O.NOT))
                return ir.Unary(opcode, scalar, self.expression(scalar, depth - 1))
            case "convert":
                source = self.random.choice((T.BOOL, *INTEGERS))
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
            case _:
                return ir.Binary(
                    self.random.choice((O.ADD, O.ADD, O.SUB, O.MUL, O.MUL, O.DIV, O.REM, O.AND,
                                               O.OR, O.XOR, O.SHL, O.SHR)),
                    scalar,
                    self.expression(scalar, depth - 1),
                    self.expression(scalar, depth - 1),
                )  # fmt: skip

    def condition(self, depth: int) -> ir.Expression:
        kind = self.random.choice(("compare", "not", "and", "or", "constant"))
        if depth <= 0 or kind == "compare":
            scalar = self.random.choice(WIDE)
            opcode = self.random.choice((O.EQUAL, O.NOT_EQUAL, O.LESS, O.LESS_EQUAL))
            return ir.Binary(
                opcode, scalar, self.expression(scalar, max(0, depth - 1)),
                self.random.choice((imm(scalar, 0), self.expression(scalar, 0))),
            )  # fmt: skip
        match kind:
            case "not":
                return ir.Unary(O.NOT, T.BOOL, self.condition(depth - 1))
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
        index = ir.Binary(O.AND, T.U16, self.expression(T.U16, max(0, depth)), imm(T.U16, 7))
        scaled = ir.Binary(O.MUL, T.U16, index, imm(T.U16, self.random.choice((2, 4, 6))))
        if self.random.choice((True, False)):
            second = ir.Binary(O.AND, T.U16, self.expression(T.U16, 0), imm(T.U16, 3))
            scaled = ir.Binary(O.ADD, T.U16, scaled, ir.Binary(O.SHL, T.U16, second, imm(T.U16, 1)))
        return ir.Binary(O.ADD, T.U16, ir.AddressOf(BUFFER, self.random.choice((0, 2, 4))), scaled)

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
        if not self.is_pure:
            kinds += ["store", "store", "store dsd", "fresh", "operation", "operation", "load dsr"]
            kinds += ["trap", "activate"]
        kinds += ["if", "if", "loop"] if depth else []
        kinds += ["break", "continue"] if in_loop else []
        scalar = self.random.choice(INTEGERS)
        match self.random.choice(kinds):
            case "set":
                local = self.random.choice(self.variables[scalar])
                return (ir.SetLocal(local, self.expression(scalar, 3)),)
            case "store":
                return (ir.Store(T.U16, self.address(2), 2, self.expression(T.U16, 2)),)
            case "fresh":
                local = ir.Local("fresh", scalar)
                first = ir.SetLocal(local, self.expression(scalar, 1))
                output = ir.Store(T.U8, ir.AddressOf(OUTPUT), 28, ir.ReadLocal(local))
                return first, output
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
        step = ir.SetLocal(hidden, ir.Binary(O.ADD, scalar, ir.ReadLocal(hidden), imm(scalar, 1)))
        condition = ir.Binary(O.LESS, scalar, ir.ReadLocal(hidden), imm(scalar, stop))
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


def random_function(random: Random, name, result, callees, *, depth: int) -> ir.Function:
    parameters = tuple(ir.Local(f"p{i}", T.U16) for i in range(2))
    variables = {scalar: [ir.Local(scalar.name.lower(), scalar)] for scalar in INTEGERS}
    dsds = [ir.Local("d", ir.DSD)]
    initial = [ir.SetLocal(v, imm(s, 3)) for s, (v,) in variables.items()]
    initial += [
        ir.SetLocal(dsds[0], ir.MakeDsd(MEM, ir.AddressOf(BUFFER), imm(T.U16, 3), imm(T.I16, 1)))
    ]
    variables[T.U16] = [*variables[T.U16], *parameters]
    program = Program(random, variables, dsds, callees, is_pure=result is not None)
    body = program.block(depth, in_loop=False)
    final: list[ir.Statement] = (
        [
            ir.Store(s, ir.AddressOf(OUTPUT), 4 * i, ir.ReadLocal(locals_[0]))
            for i, (s, locals_) in enumerate(variables.items())
        ]
        if result is None
        else [ir.Return(program.expression(result, 2))]
    )
    return ir.Function(name, parameters, result, (*initial, *body, *final))


def random_instance(random: Random) -> ir.InstanceIr:
    leaf = random_function(random, "leaf", T.U16, [], depth=1)
    other = random_function(random, "other", T.I16, [leaf], depth=1)
    main = random_function(random, "main", None, [leaf, other], depth=2)
    return instance((main, leaf, other), GLOBALS)


@settings(max_examples=200, deadline=None, phases=(Phase.generate,))
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(0, 65535))
def test_random_programs_do_what_their_ir_says(seed, a, b):
    check(random_instance(Random(seed)), (a, b))
