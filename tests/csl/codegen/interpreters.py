"""Two small interpreters, of IR trees and of bytecode, and how to compare them.

They share only the scalar operations, written with Python integers and `struct`; nothing of the
simulator is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from onewafer.arch import load_architecture
from onewafer.csl import ir
from onewafer.csl.codegen import generate, link, plan_memory
from onewafer.csl.ir import walk
from onewafer.csl.optimizer import PASSES, REQUIRED_PASSES
from onewafer.csl.optimizer.inline import expand_inline
from onewafer.diagnostics import DiagnosticSink
from onewafer.image import (
    DsdDescriptor,
    DsdOperation,
    Opcode,
    OperandMode,
    ScalarType,
    condition_of,
    decode_operand,
)

Op, T = Opcode, ScalarType
MEMORY_BYTES = 1 << 16
ARCHITECTURE = load_architecture("wse2")
FUEL = 20_000


# --- scalar operations ----------------------------------------------------------------------------


def signed(word: int, bits: int = 32) -> int:
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word


def canonical(value: int, scalar: ir.NumberType) -> int:
    """A word as the signed 32-bit number that tables hold; two words as the number they are."""
    if scalar is T.BOOL:
        return int(value != 0)
    if isinstance(scalar, ir.WideType):
        return signed(value, 64) if scalar.is_signed else value & ((1 << 64) - 1)
    if scalar.is_float:
        return signed(value)
    bits = scalar.num_bytes * 8
    return signed(value, bits) if scalar.is_signed else signed(value & ((1 << bits) - 1))


def number(word: int, scalar: ir.NumberType) -> int:
    is_whole = scalar.is_signed or isinstance(scalar, ir.WideType)
    return word if is_whole else word & 0xFFFF_FFFF


def to_float(word: int) -> float:
    return struct.unpack("<f", struct.pack("<I", word & 0xFFFF_FFFF))[0]


def from_float(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]


def divide(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def binary(opcode: Opcode, scalar: ir.NumberType, a: int, b: int) -> int:
    if scalar is T.F32:
        x, y = to_float(a), to_float(b)
        match opcode:
            case Op.ADD:
                return from_float(x + y)
            case Op.SUB:
                return from_float(x - y)
            case Op.LESS:
                return int(x < y)
            case _:
                raise AssertionError(opcode)
    x, y = number(a, scalar), number(b, scalar)
    width = scalar.num_bytes * 8
    match opcode:
        case Op.ADD:
            value = x + y
        case Op.SUB:
            value = x - y
        case Op.MUL:
            value = x * y
        case Op.DIV:
            value = divide(x, y)
        case Op.REM:
            value = x - divide(x, y) * y if y else x
        case Op.AND:
            value = x & y
        case Op.OR:
            value = x | y
        case Op.XOR:
            value = x ^ y
        case Op.SHL:
            value = x << y if 0 <= y < width else 0
        case Op.SHR:
            value = x >> min(y, width) if y >= 0 else 0
        case Op.EQUAL:
            return int(x == y)
        case Op.NOT_EQUAL:
            return int(x != y)
        case Op.LESS:
            return int(x < y)
        case Op.LESS_EQUAL:
            return int(x <= y)
        case _:
            raise AssertionError(opcode)
    return canonical(value, scalar)


def unary(opcode: Opcode, scalar: ir.NumberType, a: int) -> int:
    if opcode is Op.NEG:
        return canonical(-number(a, scalar), scalar)
    return int(not a) if scalar is T.BOOL else canonical(~a, scalar)


def load(memory: bytearray, address: int, scalar: ir.NumberType) -> int:
    raw = bytes(memory[(address + i) & 0xFFFF] for i in range(scalar.num_bytes))
    return canonical(int.from_bytes(raw, "little"), scalar)


def store(memory: bytearray, address: int, scalar: ir.NumberType, word: int) -> None:
    for i in range(scalar.num_bytes):
        memory[(address + i) & 0xFFFF] = (word >> (8 * i)) & 0xFF


# --- IR trees ------------------------------------------------------------------------------------


class LeaveError(Exception):
    """With the number of loops and blocks to leave besides the innermost one."""

    @property
    def outer(self) -> LeaveError | None:
        return type(self)(self.args[0] - 1) if self.args[0] else None


class BreakError(LeaveError):
    pass


class ContinueError(LeaveError):
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
            case ir.Join(type=scalar, low=low, high=high):
                words = self.value(low) & 0xFFFF_FFFF, self.value(high) & 0xFFFF_FFFF
                return canonical(words[0] | words[1] << 32, scalar)
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
            case ir.Labelled(body=body):
                try:
                    self.block(body)
                except LeaveError as left:
                    if left.outer:
                        raise left.outer from None
            case ir.Break(levels=levels):
                raise BreakError(levels)
            case ir.Continue(levels=levels):
                raise ContinueError(levels)
            case ir.Return(value=value):
                raise ReturnError(None if value is None else self.value(value))
            case ir.DsdStatement():
                self.events.append(self.operation(s))
            case ir.LoadDsr(dsr=dsr, dsd=dsd):
                self.events.append(("load", dsr.file, dsr.index, self.value(dsd)))
            case ir.Activate(task_id=task_id):
                self.events.append((Op.ACTIVATE, task_id))
            case ir.Trap(condition=condition):
                self.events.append((Op.TRAP, bool(self.value(condition))))
            case _:
                raise AssertionError(s)

    def loop(self, s: ir.Loop) -> None:
        while self.value(s.condition):
            try:
                self.block(s.body)
            except LeaveError as left:
                if left.outer:
                    raise left.outer from None
                if isinstance(left, BreakError):
                    return
            self.block(s.step)
            self.fuel -= 1
            if self.fuel < 0:
                raise OutOfFuelError

    def operation(self, s: ir.DsdStatement):
        computed = {}
        """An expression that is two operands is evaluated once."""

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
                    if dsd not in computed:
                        computed[dsd] = self.value(dsd)
                    return computed[dsd]

        scalar = None if s.scalar is None else ("scalar", self.value(s.scalar))
        return (
            s.operation,
            operand(s.dest),
            operand(s.src0),
            operand(s.src1),
            scalar,
            s.config,
        )


# --- bytecode ------------------------------------------------------------------------------------


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
        return self.dsd_of(self.registers[register], self.registers[register + 1])

    def dsd_of(self, low: int, high: int):
        low, high = low & 0xFFFF_FFFF, high & 0xFFFF_FFFF
        return self.program.dsds[high >> 16], low & 0xFFFF, low >> 16, high & 0xFFFF

    def step(self, pc: int, row: list[int], stack: list[int]) -> int | None:
        opcode, type_, rd, ra, rb, rc, imm, aux = row
        opcode, r = Opcode(opcode), self.registers
        if not self.holds(condition_of(opcode, rc)):
            return pc + 1
        match opcode:
            case Op.END_TASK:
                return None
            case Op.RETURN:
                return stack.pop() if stack else None
            case Op.JUMP:
                return imm
            case Op.BRANCH_ZERO:
                return imm if r[ra] == 0 else pc + 1
            case Op.BRANCH_NONZERO:
                return imm if r[ra] != 0 else pc + 1
            case Op.CALL:
                stack.append(pc + 1)
                return imm
            case Op.LOAD_IMMEDIATE:
                assert canonical(imm, T(type_)) == imm
                r[rd] = imm
            case Op.MOVE:
                r[rd] = r[ra]
            case Op.LOAD:
                r[rd] = load(self.memory, r[ra] + imm, T(type_))
            case Op.STORE:
                store(self.memory, r[ra] + imm, T(type_), aux if rb == 0 else r[rb])
            case Op.NEG | Op.NOT:
                r[rd] = unary(opcode, T(type_), r[ra])
            case Op.CONVERT:
                r[rd] = canonical(number(r[ra], T(type_)), T(imm))
            case Op.COORDINATE:
                r[rd] = 3 + imm
            case Op.TRAP:
                self.events.append((Op.TRAP, bool(r[ra])))
            case Op.ACTIVATE:
                self.events.append((Op.ACTIVATE, imm))
            case Op.DSD_SET_BASE:
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF0000) | (r[rb] & 0xFFFF), r[ra + 1]
            case Op.DSD_SET_LENGTH:
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF) | (r[rb] & 0xFFFF) << 16, r[ra + 1]
            case Op.DSD_SET_STRIDE:
                r[rd], r[rd + 1] = r[ra], (r[ra + 1] & 0xFFFF0000) | (r[rb] & 0xFFFF)
            case Op.DSD_ADVANCE:
                base = (r[ra] + r[rb] * imm) & 0xFFFF
                r[rd], r[rd + 1] = (r[ra] & 0xFFFF0000) | base, r[ra + 1]
            case Op.DSR_LOAD | Op.DSR_LOAD_CONSTANT:
                dsr = decode_operand(rd)
                self.dsrs[dsr] = self.dsd(ra) if opcode is Op.DSR_LOAD else self.dsd_of(imm, aux)
                if dsr in self.named_dsrs:
                    self.events.append(("load", *dsr, self.dsrs[dsr]))
            case Op.DSD:
                config = None if imm < 0 else self.program.configs[imm]
                fields = [self.operand(v) for v in (rd, ra, rb, rc)]
                self.events.append((DsdOperation(type_), *fields, config))
            case _:
                r[rd] = binary(opcode, T(type_), r[ra], imm if rb == 0 else r[rb])
        return pc + 1

    def holds(self, condition: int) -> bool:
        return not condition or (self.registers[abs(condition)] != 0) is (condition > 0)

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


# --- comparing them ------------------------------------------------------------------------------


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


def compile_instance(one: ir.InstanceIr, architecture=ARCHITECTURE, *, optimizes: bool = False):
    sink = DiagnosticSink()
    for run in (PASSES if optimizes else REQUIRED_PASSES).values():
        one = run(one)
    objects = generate(one, architecture, uses_memcpy=True, sink=sink, optimizes=optimizes)
    plan = plan_memory(objects, architecture, uses_memcpy=True, sink=sink)
    assert not sink.diagnostics
    return link(objects, plan, architecture, uses_memcpy=True)


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
    """Run the first function both ways; return the program and what it did.

    What the optimiser made of it does the same.
    """
    _check(one, arguments, optimizes=True)
    return _check(one, arguments, optimizes=False)


def _check(one: ir.InstanceIr, arguments: tuple[int, ...], *, optimizes: bool):
    kept = [(function, function.body, function.is_inline) for function in one.functions]
    program = compile_instance(one, optimizes=optimizes)
    named = named_dsrs(expand_inline(one))
    for function, body, is_inline in kept:
        function.body, function.is_inline = body, is_inline  # as before the passes
    symbols = {symbol.name: symbol for symbol in program.symbols}
    function = symbols[one.functions[0].name]
    executor = Executor(program, initial_memory(program), named)
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
