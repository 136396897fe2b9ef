"""Walk through the instructions of one step of the state machine, and count them.

A helper of `kernel_costs.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import (
    IMMEDIATE_OPCODES,
    IN_MAP,
    RESULT_SHIFT,
    CostClass,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    ScalarType,
    TaskKind,
    condition_of,
    cost_classes,
    decode_operand,
)
from onewafer.mesh.budget import LOCAL_TASK_IDS
from onewafer.mesh.kernel_costs import VectorOperation
from onewafer.mesh.kinds import Task as StepTask
from onewafer.simulator.arithmetic import binary, canonical, conversion, unary

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onewafer.image import Task, TileProgram
    from onewafer.mesh.kinds import Kind

_BINARY = range(Opcode.ADD, Opcode.REM + 1)
_BITWISE = (Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.SHL, Opcode.SHR)
_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
_WITHOUT_RESULT = (Opcode.ACTIVATE, Opcode.UNBLOCK_COMMAND_STREAM)
_ON_DSDS = frozenset(
    {
        Opcode.DSR_LOAD,
        Opcode.DSR_LOAD_CONSTANT,
        Opcode.DSD_SET_BASE,
        Opcode.DSD_SET_LENGTH,
        Opcode.DSD_SET_STRIDE,
        Opcode.DSD_ADVANCE,
    }
)
_IN_MAPS = frozenset({Opcode.MAP_READ, Opcode.MAP_WRITE})
_DSR_MODES = (OperandMode.DSR_SRC0, OperandMode.DSR_SRC1, OperandMode.DSR_DEST)
_ELEMENTS = {int(element): element for element in ScalarType}
_COST_NAMES = {cost: cost.name.lower() for cost in CostClass}
_LOW_HALF, _HIGH_HALF, _WORD = 0xFFFF, 0xFFFF0000, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Code:
    """The facts that walks ask of the instructions of a program, by index."""

    rows: list[tuple[Opcode, list[int]]]
    costs: list[tuple[str, ...]]
    """Names of what each instruction costs, its waits included."""

    @classmethod
    def of(cls, program: TileProgram) -> _Code:
        """Decode a program."""
        rows: list[list[int]] = program.code.tolist()
        costs = [tuple(_COST_NAMES[c] for c in costs) for costs in cost_classes(program)]
        return cls([(Opcode(row[Field.OPCODE]), row) for row in rows], costs)


_known: dict[int, tuple[TileProgram, _Code]] = {}
"""By the id of a program, which stays alive here: thousands of walks go through one."""


def _code_of(program: TileProgram) -> _Code:
    """Return the instructions of a program."""
    if id(program) not in _known:
        _known[id(program)] = program, _Code.of(program)
    return _known[id(program)][1]


def _signed(word: int) -> int:
    """Return the low half of a word as a signed number."""
    return (word + 0x8000 & _LOW_HALF) - 0x8000


def _number(number: int, operation: DsdOperation) -> int:
    """Return the word of a number as the result of an operation on f16 or f32."""
    dtype = np.float16 if operation.name.endswith("H") else np.float32
    return int.from_bytes(dtype(number).tobytes(), "little")


@dataclass(frozen=True, slots=True)
class Learnt:
    """The answer to a question of the state machine."""

    is_below: bool
    """True if the kind is below the one that was asked for."""
    counts: Counter[str]
    """The cost of asking."""


class Walk:
    """The scalar part of one task: registers, memory, and what has been counted.

    DSD operations are counted by name and length, and not executed; a reduction to one scalar
    leaves the number of elements there, so that the results of unequal vectors differ. What asks
    for kinds, the instructions that are `questions`, is counted apart (`learnt`).
    """

    def __init__(self, program: TileProgram, questions: Collection[int] = ()) -> None:
        self._program = program
        self._questions = questions
        self._code = _code_of(program)
        self._issued: list[int] = []
        """Instructions of the walk, taken branches and DSD operations left out."""
        self._registers = [0] * (program.num_registers + 1)
        self._dsrs: dict[int, tuple[int, int]] = {}
        self.visited: set[int] = set()
        """Instructions that were walked through."""
        self.touched: set[int] = set()
        """Addresses that instructions named."""
        self._before_last: tuple[Counter[str], int] = Counter(), 0
        """Operations and instructions up to the last synchronous DSD operation of the walk."""
        self.learnt: list[Learnt] = []
        """The lesson of the last walk about the kind, question by question."""
        self._memory = bytearray(1 << 16)
        self._memory[program.data_address : program.data_address + len(program.data)] = bytes(
            program.data
        )

    def store(self, address: int, words: tuple[int, ...]) -> None:
        """Put u16 words into memory."""
        for index, word in enumerate(words):
            self._write(address + 2 * index, word, ScalarType.U16)

    def count_step(self, kind: Kind) -> Counter[str]:
        """Walk one step of the state machine, on an entry of that kind."""
        return self.count(task_of(self._program, kind).entry)

    def count(self, entry: int) -> Counter[str]:
        """Walk from an instruction to the end of its task, or to an asynchronous operation."""
        counts: Counter[str] = Counter()
        self._issued.clear()
        self.learnt = []
        stack: list[int] = []
        pc = entry
        while True:
            at = pc
            opcode, row = self._code.rows[at]
            immediate = row[Field.IMM]
            self.visited.add(at)
            pc += 1
            match opcode:
                case Opcode.DSD if immediate >= 0:
                    return counts + self._cost_of(self._issued)
                case Opcode.DSD:
                    counts[str(self._vector_operation(row))] += 1
                    self._before_last = counts.copy(), len(self._issued)
                    continue
                case Opcode.BRANCH_ZERO | Opcode.BRANCH_NONZERO:
                    is_set = self._registers[row[Field.RA]] != 0
                    is_taken = is_set == (opcode is Opcode.BRANCH_NONZERO)
                    pc = immediate if is_taken else pc
                    if at in self._questions:
                        self.learnt.append(Learnt(is_set, self._cost_of_question(at, is_taken)))
                        continue
                    if is_taken:
                        counts["branch_taken"] += 1
                        continue
                case Opcode.MAP_BEGIN:
                    counts["map_begin"] += 1
                    if self._registers[row[Field.RA]] == 0:
                        pc = immediate
                    continue
                case Opcode.MAP_STEP:
                    self._registers[row[Field.RA]] -= 1
                    if self._registers[row[Field.RA]]:
                        pc = immediate
                case Opcode.JUMP:
                    pc = immediate
                case Opcode.CALL:
                    stack.append(pc)
                    pc = immediate
                case Opcode.RETURN if stack:
                    pc = stack.pop()
                case Opcode.END_TASK | Opcode.RETURN:
                    self._issued.append(at)
                    return counts + self._cost_of(self._issued)
                case _:
                    self._execute_if(opcode, row)
            self._issued.append(at)

    @property
    def before_last(self) -> Counter[str]:
        """The counts of the last walk up to its last synchronous DSD operation."""
        counts, num_issued = self._before_last
        return counts + self._cost_of(self._issued[:num_issued])

    def _cost_of(self, issued: Sequence[int]) -> Counter[str]:
        """Count what instructions cost, those that ask for a kind left out."""
        counts: Counter[str] = Counter()
        for pc, number in Counter(issued).items():
            if pc not in self._questions:
                for name in self._code.costs[pc]:
                    counts[name] += number
        return counts

    def _cost_of_question(self, branch: int, is_taken: bool) -> Counter[str]:  # noqa: FBT001
        """Count what a question costs that ends with a branch."""
        counts = Counter(("branch_taken",) if is_taken else self._code.costs[branch])
        while self._issued and self._issued[-1] in self._questions:
            counts.update(self._code.costs[self._issued.pop()])
        return counts

    def _execute_if(self, opcode: Opcode, row: list[int]) -> None:
        """Execute an instruction, unless it has a condition that does not hold (M153)."""
        condition = condition_of(opcode, row[Field.RC])
        is_set = self._registers[abs(condition)] != 0
        if condition == 0 or is_set is (condition > 0):
            self._execute(opcode, row)

    def _execute(self, opcode: Opcode, row: list[int]) -> None:
        registers, rd, immediate = self._registers, row[Field.RD], row[Field.IMM]
        left, right = registers[row[Field.RA]], registers[row[Field.RB]]
        if not row[Field.RB]:  # a number may be in the instruction
            right = immediate if opcode in IMMEDIATE_OPCODES else right
            right = row[Field.AUX] if opcode is Opcode.STORE else right
        if opcode in _WITHOUT_RESULT:
            return
        if opcode in _ON_DSDS:
            self._execute_dsd(opcode, row)
            return
        if opcode in _IN_MAPS:
            self._execute_map(opcode, row)
            return
        element = _ELEMENTS[row[Field.TYPE]]
        if opcode is Opcode.LOAD_IMMEDIATE:
            registers[rd] = canonical(immediate, element)
        elif opcode is Opcode.COORDINATE:  # all walks are on PE (0, 0)
            registers[rd] = 0
        elif opcode is Opcode.MOVE:
            registers[rd] = left
        elif opcode is Opcode.LOAD:
            registers[rd] = self._read(left + immediate, element)
        elif opcode is Opcode.STORE:
            self._write(left + immediate, right, element)
        elif opcode in _BINARY or opcode in _BITWISE or opcode in _COMPARISONS:
            registers[rd] = binary(opcode, element)(left, right)
        elif opcode in (Opcode.NEG, Opcode.NOT):
            registers[rd] = unary(opcode, element)(left)
        elif opcode is Opcode.CONVERT:
            registers[rd] = conversion(element, ScalarType(immediate))(left)
        else:
            raise NotImplementedError(f"the kernels use {opcode.name}, which this tool cannot walk")

    def _execute_dsd(self, opcode: Opcode, row: list[int]) -> None:
        """Execute an instruction on DSD values or DSRs."""
        registers, rd, immediate = self._registers, row[Field.RD], row[Field.IMM]
        low, high = registers[row[Field.RA]], registers[min(row[Field.RA] + 1, len(registers) - 1)]
        value = registers[row[Field.RB]] & _LOW_HALF
        match opcode:
            case Opcode.DSR_LOAD:
                self._dsrs[rd] = low, high
            case Opcode.DSR_LOAD_CONSTANT:
                self._dsrs[rd] = immediate & _WORD, row[Field.AUX] & _WORD
            case Opcode.DSD_SET_BASE:
                registers[rd : rd + 2] = low & _HIGH_HALF | value, high
            case Opcode.DSD_SET_LENGTH:
                registers[rd : rd + 2] = low & _LOW_HALF | value << 16, high
            case Opcode.DSD_SET_STRIDE:
                registers[rd : rd + 2] = low, high & _HIGH_HALF | value
            case _:
                address = low + canonical(value, ScalarType.I16) * immediate
                registers[rd : rd + 2] = low & _HIGH_HALF | address & _LOW_HALF, high

    def _vector_operation(self, row: list[int]) -> VectorOperation:
        """Return a DSD operation; its length is that of src0, else src1, else dest, else 1."""
        operands = {decode_operand(row[f])[0]: row[f] for f in (Field.RA, Field.RB, Field.RD)}
        dsrs = [self._dsrs[operands[mode]] for mode in _DSR_MODES if mode in operands]
        length = next((low >> 16 for low, _ in dsrs if low >> 16), 1)
        self.touched |= {low & _LOW_HALF for low, _ in dsrs}
        operation = DsdOperation(row[Field.TYPE])
        if OperandMode.POINTER in operands:
            _, register = decode_operand(operands[OperandMode.POINTER])
            self._write_number(self._registers[register], length, operation)
        if result := row[Field.AUX] >> RESULT_SHIFT:
            self._registers[result] = _number(length, operation)
        return VectorOperation(
            operation.name.lower(),
            str(length),
            str(max(abs(_signed(high)) for _, high in dsrs)),
            is_reduction=OperandMode.POINTER in operands,
            is_mapped=row[Field.AUX] == IN_MAP,
        )

    def _execute_map(self, opcode: Opcode, row: list[int]) -> None:
        """Execute an instruction that moves elements in a map loop."""
        registers, pair = self._registers, row[Field.RA]
        element = ScalarType(row[Field.TYPE])
        address = registers[pair] & _LOW_HALF
        if opcode is Opcode.MAP_READ:
            registers[row[Field.RD]] = self._read(address, element)
        else:
            self._write(address, registers[row[Field.RB]], element)
        after = address + _signed(registers[pair + 1]) * element.num_bytes
        registers[pair] = registers[pair] & _HIGH_HALF | after & _LOW_HALF

    def _write_number(self, address: int, number: int, operation: DsdOperation) -> None:
        """Store the result of an operation on f16 or f32."""
        element = ScalarType.F16 if operation.name.endswith("H") else ScalarType.F32
        self._write(address, _number(number, operation), element)

    def _read(self, address: int, element: ScalarType) -> int:
        self.touched.add(address)
        size = element.num_bytes
        word = int.from_bytes(self._memory[address : address + size], "little")
        return canonical(word, element)

    def _write(self, address: int, word: int, element: ScalarType) -> None:
        self.touched.add(address)
        size = element.num_bytes
        self._memory[address : address + size] = (word & ((1 << 8 * size) - 1)).to_bytes(
            size, "little"
        )


def task_of(program: TileProgram, kind: Kind) -> Task:
    """Return the task of the state machine that asks for a kind."""
    task_id = dict(zip(StepTask, LOCAL_TASK_IDS, strict=True))[kind.task]
    return next(task for task in step_tasks(program) if task.task_id == task_id)


def step_tasks(program: TileProgram) -> list[Task]:
    """Return the tasks that are the state machine."""
    return [task for task in program.tasks if task.kind is TaskKind.LOCAL]
