"""Write `src/onewafer/mesh/kernel_costs.json` from the compiled listing of the mesh kernels.

    python tools/kernel_costs.py            write the file
    python tools/kernel_costs.py --check    exit with 1 if the file is out of date

A program with all kinds of operations is compiled; for every kind the instructions of one step
of the state machine are walked through, with schedule entries of several sizes. Their number is
`call + rows · (row + inner steps · inner)` exactly, so three walks give the coefficients and a
fourth checks them. No engine and no timing is involved: the file holds counts by cost class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.graph import Add, AddBias, DataType, Graph, Linear, Relu, Tensor
from onewafer.image import (
    DsdOperation,
    Field,
    Opcode,
    ScalarType,
    SectionKind,
    TaskKind,
    cost_class,
)
from onewafer.mesh import emit_csl, shard
from onewafer.mesh.kernel_costs import KernelCost, KernelCosts
from onewafer.mesh.schedule import ENTRY_WORDS, Kind
from onewafer.simulator.arithmetic import binary, canonical, conversion, unary

if TYPE_CHECKING:
    from onewafer.image import Symbol, TileProgram, WaferImage

PATH = Path(__file__).parents[1] / "src" / "onewafer" / "mesh" / "kernel_costs.json"

_BINARY = range(Opcode.ADD, Opcode.REM + 1)
_BITWISE = (Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.SHL, Opcode.SHR)
_COMPARISONS = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
_DSD_UPDATES = range(Opcode.DSD_SET_BASE, Opcode.DSD_ADVANCE + 1)
_WITHOUT_RESULT = (Opcode.ACTIVATE, Opcode.UNBLOCK_COMMAND_STREAM, Opcode.DSR_LOAD)


class Walk:
    """The scalar part of one task: registers, memory, and what has been counted."""

    def __init__(self, program: TileProgram) -> None:
        self._program = program
        self._registers = [0] * (program.num_registers + 1)
        self._memory = bytearray(1 << 16)
        self._memory[program.data_address : program.data_address + len(program.data)] = bytes(
            program.data
        )

    def store(self, address: int, words: tuple[int, ...]) -> None:
        """Put u16 words into memory."""
        for index, word in enumerate(words):
            self._write(address + 2 * index, word, ScalarType.U16)

    def count(self, entry: int) -> Counter[str]:
        """Walk from an instruction to the end of its task, or to an asynchronous operation."""
        counts: Counter[str] = Counter()
        stack: list[int] = []
        pc = entry
        while True:
            row = [int(field) for field in self._program.code[pc]]
            opcode, immediate = Opcode(row[Field.OPCODE]), row[Field.IMM]
            cost = cost_class(opcode, row[Field.TYPE]).name.lower()
            pc += 1
            match opcode:
                case Opcode.DSD if immediate >= 0:
                    return counts
                case Opcode.DSD:
                    counts[DsdOperation(row[Field.TYPE]).name.lower()] += 1
                    continue
                case Opcode.BRANCH_ZERO | Opcode.BRANCH_NONZERO:
                    if (self._registers[row[Field.RA]] == 0) == (opcode is Opcode.BRANCH_ZERO):
                        counts["branch_taken"] += 1
                        pc = immediate
                        continue
                case Opcode.JUMP:
                    pc = immediate
                case Opcode.CALL:
                    stack.append(pc)
                    pc = immediate
                case Opcode.RETURN if stack:
                    pc = stack.pop()
                case Opcode.END_TASK | Opcode.RETURN:
                    counts[cost] += 1
                    return counts
                case _:
                    self._execute(opcode, row)
            counts[cost] += 1

    def _execute(self, opcode: Opcode, row: list[int]) -> None:
        registers, rd, immediate = self._registers, row[Field.RD], row[Field.IMM]
        left, right = registers[row[Field.RA]], registers[row[Field.RB]]
        if opcode in _WITHOUT_RESULT:
            return
        if opcode in _DSD_UPDATES:  # values of DSDs decide nothing here
            return
        element = ScalarType(row[Field.TYPE])
        if opcode is Opcode.LOAD_IMMEDIATE:
            registers[rd] = canonical(immediate, element)
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

    def _read(self, address: int, element: ScalarType) -> int:
        size = element.num_bytes
        word = int.from_bytes(self._memory[address : address + size], "little")
        return canonical(word, element)

    def _write(self, address: int, word: int, element: ScalarType) -> None:
        size = element.num_bytes
        self._memory[address : address + size] = (word & ((1 << 8 * size) - 1)).to_bytes(
            size, "little"
        )


def graph_of_all_kinds(dtype: DataType) -> Graph:
    """Build a graph that needs every kind of operation on a rectangle of 4×4."""

    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, dtype)

    operations = (
        Linear(tensor("a", 4, 8), "x", "w"),
        Linear(tensor("b", 4, 8), "a", "w"),
        AddBias(tensor("c", 4, 8), "b", "v"),
        Relu(tensor("d", 4, 8), "c"),
        Add(tensor("e", 4, 8), "d", "x"),
    )
    parameters = (tensor("w", 8, 8), tensor("v", 8))
    return Graph("all kinds", (tensor("x", 4, 8),), parameters, operations, ("e",))


def compile_all_kinds(dtype: DataType, arch: str) -> WaferImage:
    """Compile that graph."""
    architecture = load_architecture(arch)
    program = shard(graph_of_all_kinds(dtype), width=4, height=4, architecture=architecture)
    emitted = emit_csl.write_text(program)
    options = CompileOptions(
        entry=emitted.entry,
        architecture=architecture,
        params=emitted.params,
    )
    return compile_program(options, MemoryFiles(emitted.files))


def measure(dtype: DataType, arch: str) -> KernelCosts:
    """Return the counts of all kinds for one dtype."""
    image = compile_all_kinds(dtype, arch)
    first = image.programs[int(image.program_of_pe[0, 0])]
    last = image.programs[int(image.program_of_pe[-1, -1])]
    starts_at_far_end = (Kind.CHAIN_REDUCE_X, Kind.CHAIN_REDUCE_Y)
    kinds = {
        kind.name.lower(): _measure_kind(last if kind in starts_at_far_end else first, kind)
        for kind in Kind
        if not (kind is Kind.CONVERT and dtype is DataType.F32)
    }
    infer = _symbol(first, first.exports["infer"])
    return KernelCosts(
        num_bytes=max(_kernel_bytes(program) for program in image.programs),
        launch=dict(Walk(first).count(infer.address)),
        kinds=kinds,
    )


def _measure_kind(program: TileProgram, kind: Kind) -> KernelCost:
    step = next(task for task in program.tasks if task.kind is TaskKind.LOCAL)
    schedule = _symbol(program, "model.schedule").address

    def walk(rows: int, inner: int) -> Counter[str]:
        walker = Walk(program)
        entry = (kind, 0, 0, 0, rows * 2, rows, 2, inner)
        if len(entry) != ENTRY_WORDS:
            raise AssertionError("the entry does not have the form of schedule.py")
        walker.store(schedule, entry)
        return walker.count(step.entry)

    base, wide, tall = walk(1, 1), walk(1, 2), walk(2, 1)
    inner = _difference(wide, base)
    row = _difference(_difference(tall, base), inner)
    call = _difference(_difference(base, row), inner)
    predicted = {name: call[name] + 3 * (row[name] + 4 * inner[name]) for name in base}
    if predicted != dict(walk(3, 4)):
        raise AssertionError(f"the instructions of {kind.name} are not linear in its sizes")
    return KernelCost(
        *({n: c for n, c in sorted(part.items()) if c} for part in (call, row, inner))
    )


def _difference(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return Counter({name: left[name] - right[name] for name in left | right})


def _symbol(program: TileProgram, name: str) -> Symbol:
    return next(symbol for symbol in program.symbols if symbol.name == name)


def _kernel_bytes(program: TileProgram) -> int:
    """Return the bytes of a program without the runtime and without the model's own arrays."""
    counted = (SectionKind.CODE, SectionKind.DATA, SectionKind.STACK)
    total = sum(section.num_bytes for section in program.sections if section.kind in counted)
    arrays = ("parameters", "activations", "sums", "schedule")
    names = {f"model.{name}" for name in arrays}
    return total - sum(symbol.num_bytes for symbol in program.symbols if symbol.name in names)


def generate() -> str:
    """Return the text of the file; both generations must give the same counts."""
    tables: dict[str, object] = {}
    for dtype in DataType:
        costs = measure(dtype, "wse3")
        if costs != measure(dtype, "wse2"):
            raise AssertionError(
                "the generations compile to different kernels: key the file by arch"
            )
        tables[dtype] = dataclasses.asdict(costs)
    return json.dumps(tables, indent=1) + "\n"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH} is out of date; run `python tools/kernel_costs.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
