"""The shape of the code: what a reader of a listing expects to see."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.image import (
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    PatchTarget,
    ScalarType,
    TaskKind,
    decode_operand,
    operand,
)
from tests.csl.codegen.interpreters import ARCHITECTURE, check, compile_instance, instance

Op, T = Opcode, ScalarType
MEM = DsdDescriptor(DsdKind.MEM1D)


def imm(value: int, scalar: ScalarType = T.U16) -> ir.Immediate:
    return ir.Immediate(scalar, value)


def vector(variable: ir.Global, extent: int = 4) -> ir.Vector:
    return ir.Vector(ir.MakeDsd(MEM, ir.AddressOf(variable), imm(extent), imm(1, T.I16)))


def array(name: str, num_bytes: int = 64, alignment: int = 4) -> ir.Global:
    return ir.Global(name, num_bytes, alignment, T.F32, None)


def function(*body: ir.Statement, name: str = "main", parameters=(), result=None) -> ir.Function:
    return ir.Function(name, tuple(parameters), result, body)


def opcodes(one: ir.InstanceIr) -> list[str]:
    return [Opcode(row[Field.OPCODE]).name for row in compile_instance(one).code]


def count(counter: ir.Local, stop: int, *body: ir.Statement) -> tuple[ir.Statement, ...]:
    read = ir.ReadLocal(counter)
    return (
        ir.SetLocal(counter, imm(0)),
        ir.Loop(
            ir.Binary(Op.LESS, T.U16, read, imm(stop)),
            body,
            (ir.SetLocal(counter, ir.Binary(Op.ADD, T.U16, read, imm(1))),),
        ),
    )


def test_a_global_scalar_is_read_and_written_by_one_instruction_each() -> None:
    x = array("x")
    load = ir.Load(T.F32, ir.AddressOf(x, 8))
    main = function(ir.Store(T.F32, ir.AddressOf(x), 4, load))
    assert opcodes(instance((main,), (x,))) == ["LOAD", "STORE", "RETURN"]


def test_a_constant_index_offset_costs_nothing() -> None:
    x, i = array("x"), ir.Local("i", T.I16)
    index = ir.Binary(Op.SUB, T.I16, ir.ReadLocal(i), imm(1, T.I16))
    scaled = ir.Binary(Op.MUL, T.U16, ir.Convert(T.I16, T.U16, index), imm(4))
    address = ir.Binary(Op.ADD, T.U16, ir.AddressOf(x), scaled)
    main = function(ir.Store(T.F32, address, 0, imm(0, T.F32)), parameters=(i,))
    one = instance((main,), (x,))
    assert opcodes(one) == ["ADD", "ADD", "STORE", "RETURN"]
    check(one, (3,))


def test_a_loop_tests_at_the_bottom_and_keeps_its_constants() -> None:
    x, i = array("x"), ir.Local("i", T.U16)
    main = function(*count(i, 10, ir.Store(T.U16, ir.AddressOf(x), 0, imm(7))))
    assert opcodes(instance((main,), (x,))) == [
        *["LOAD_IMMEDIATE"] * 3,
        *["STORE", "SUB", "BRANCH_NONZERO"],
        "RETURN",
    ]


def counting_down(i: ir.Local, condition: ir.Expression) -> ir.Function:
    step = ir.SetLocal(i, ir.Binary(Op.SUB, T.U16, ir.ReadLocal(i), imm(1)))
    return function(ir.Loop(condition, (ir.Activate(9),), (step,)), parameters=(i,))


def test_a_loop_that_may_not_run_is_tested_before_it() -> None:
    i = ir.Local("i", T.U16)
    one = instance((counting_down(i, ir.Binary(Op.NOT_EQUAL, T.U16, ir.ReadLocal(i), imm(0))),))
    assert opcodes(one)[:2] == ["LOAD_IMMEDIATE", "BRANCH_ZERO"]
    assert "JUMP" not in opcodes(one)
    for rounds in (0, 1, 3):
        _, executor = check(one, (rounds,))
        assert len(executor.events) == rounds


def test_a_long_test_of_a_loop_is_not_repeated() -> None:
    i, bound = ir.Local("i", T.U16), imm(9)
    sum_ = ir.Binary(Op.ADD, T.U16, ir.ReadLocal(i), ir.Binary(Op.XOR, T.U16, bound, bound))
    one = instance((counting_down(i, ir.Binary(Op.LESS, T.U16, imm(0), sum_)),))
    assert opcodes(one).count("JUMP") == 1
    for rounds in (0, 1, 3):
        _, executor = check(one, (rounds,))
        assert len(executor.events) == rounds


def test_an_unchanging_dsd_is_loaded_once_before_the_loop() -> None:
    y, a, i = array("y"), array("a"), ir.Local("i", T.U16)
    operation = ir.DsdStatement(
        DsdOperation.FADDS, vector(y), vector(y), vector(a), scalar=None, config=None
    )
    one = instance((function(*count(i, 5, operation)),), (y, a))
    names = opcodes(one)
    top = names.index("DSD")
    assert names[:top].count("DSR_LOAD_CONSTANT") == 3
    assert names[top:] == ["DSD", "SUB", "BRANCH_NONZERO", "RETURN"]


def test_one_register_is_the_destination_and_the_first_source() -> None:
    y, a = array("y"), array("a")

    def loads(dest: ir.Vector, src0: ir.Vector, *, optimizes: bool = True) -> int:
        operation = ir.DsdStatement(
            DsdOperation.FADDS, dest, src0, vector(a), scalar=None, config=None
        )
        code = compile_instance(instance((function(operation),), (y, a)), optimizes=optimizes).code
        if optimizes:
            check(instance((function(operation),), (y, a)))
        return sum(row[Field.OPCODE] == Op.DSR_LOAD_CONSTANT for row in code)

    assert loads(vector(y), vector(y)) == 2
    assert loads(vector(y), vector(y), optimizes=False) == 3
    assert loads(vector(y), vector(y, extent=3)) == 3


def test_what_is_known_is_loaded_before_what_is_computed() -> None:
    y, a = array("y"), array("a")
    scalar = ir.Load(T.F32, ir.AddressOf(a), 4)
    operation = ir.DsdStatement(
        DsdOperation.FMACS, vector(y), vector(y), vector(a), scalar=scalar, config=None
    )
    one = instance((function(operation),), (y, a))
    code = compile_instance(one, optimizes=True).code
    loads = ["DSR_LOAD_CONSTANT"] * 2
    assert [Opcode(row[Field.OPCODE]).name for row in code] == [*loads, "LOAD", "DSD", "RETURN"]
    check(one)


def test_numbers_of_16_bits_stand_in_instructions() -> None:
    x, i = array("x"), ir.Local("i", T.U16)
    doubled = ir.Binary(Op.ADD, T.U16, imm(40_000), ir.ReadLocal(i))
    is_large = ir.Binary(Op.LESS, T.U16, ir.ReadLocal(i), imm(9))
    body = (
        ir.Store(T.U16, ir.AddressOf(x), 0, doubled),
        ir.Store(T.I16, ir.AddressOf(x), 2, imm(-5, T.I16)),
        ir.Store(T.U32, ir.AddressOf(x), 4, imm(70_000, T.U32)),
        ir.If(is_large, (ir.Activate(3),), ()),
    )
    one = instance((function(*body, parameters=(i,)),), (x,))
    code = compile_instance(one, optimizes=True).code
    names = [Opcode(row[Field.OPCODE]).name for row in code]
    assert names.count("LOAD_IMMEDIATE") == 1  # of 70,000
    held = [(row[Field.IMM], row[Field.AUX]) for row in code if row[Field.RB] == 0]
    assert {(40_000, 0), (9, 0)} <= set(held)
    assert -5 in {aux for _, aux in held}
    for value in (3, 12):
        check(one, (value,))


def test_a_dsd_that_the_loop_changes_is_loaded_every_time() -> None:
    y, i, d = array("y"), ir.Local("i", T.U16), ir.Local("d", ir.DSD)
    operation = ir.DsdStatement(
        DsdOperation.FMOVS, ir.Vector(ir.ReadLocal(d)), None, vector(y), scalar=None, config=None
    )
    advance = ir.UpdateDsd(ir.DsdUpdate.ADVANCE, ir.ReadLocal(d), imm(1), 4)
    main = function(ir.SetLocal(d, vector(y).dsd), *count(i, 3, operation, ir.SetLocal(d, advance)))
    one = instance((main,), (y,))
    names = opcodes(one)
    assert names[names.index("BRANCH_NONZERO") - 6 :].count("DSR_LOAD") == 1
    _, executor = check(one)
    bases = [event[1][1] for event in executor.events]
    assert [b - bases[0] for b in bases] == [0, 4, 8]


def test_synchronous_operations_stay_clear_of_asynchronous_and_named_registers() -> None:
    y = array("y")
    dsr = ir.Dsr(OperandMode.DSR_DEST, 1)
    operations = [
        ir.DsdStatement(DsdOperation.FMOVS, vector(y), None, vector(y), None, config)
        for config in (None, DsdConfig(1), DsdConfig(2), None)
    ]
    main = function(ir.LoadDsr(dsr, vector(y).dsd), *operations)
    code = compile_instance(instance((main,), (y,))).code
    dests = [decode_operand(int(r[Field.RD]))[1] for r in code if r[Field.OPCODE] == Op.DSD]
    # 0 is memcpy's, 1 is named by the program.
    assert dests == [2, 3, 4, 2]


def test_operations_of_one_microthread_share_registers_when_there_are_too_few() -> None:
    y = array("y")
    body = [
        ir.DsdStatement(DsdOperation.FMOVS, vector(y), None, vector(y), None, DsdConfig(i % 3))
        for i in range(40)
    ]
    code = compile_instance(instance((function(*body),), (y,))).code
    dests = [decode_operand(int(r[Field.RD]))[1] for r in code if r[Field.OPCODE] == Op.DSD]
    assert dests == [2 + i % 3 for i in range(40)]


def test_a_variable_that_nothing_writes_is_a_constant() -> None:
    x, d = array("x"), ir.Global("d", 8, 4, None, None)
    d.data.append(ir.DsdDatum(0, vector(x).dsd))
    read = ir.Vector(ir.Load(ir.DSD, ir.AddressOf(d)))
    operation = ir.DsdStatement(
        DsdOperation.FMOVS, read, None, ir.Scalar(imm(0, T.F32)), None, None
    )
    one = instance((function(operation),), (x, d))
    assert opcodes(one) == ["DSR_LOAD_CONSTANT", "DSD", "RETURN"]
    d.is_exported = True
    assert opcodes(one) == ["LOAD", "LOAD", "DSR_LOAD", "DSD", "RETURN"]


def test_zero_is_a_register() -> None:
    x = array("x")
    main = function(ir.Store(T.F32, ir.AddressOf(x), 0, imm(0, T.F32)))
    assert opcodes(instance((main,), (x,))) == ["STORE", "RETURN"]


def test_only_a_task_that_nobody_calls_ends_without_return() -> None:
    called, task = function(name="called"), function(name="task")
    tasks = [ir.TaskBinding(TaskKind.LOCAL, 9 + i, f) for i, f in enumerate((called, task))]
    main = function(ir.Evaluate(ir.Call(called, ())))
    one = instance((main, called, task), tasks=tasks)
    assert opcodes(one) == ["CALL", "RETURN", "RETURN", "END_TASK"]


def test_tasks_know_the_registers_of_their_arguments() -> None:
    low, high = ir.Local("low", T.F16), ir.Local("high", T.U16)
    task = function(parameters=(low, high))
    binding = ir.TaskBinding(TaskKind.DATA, 5, task, is_blocked=True)
    program = compile_instance(instance((task,), tasks=(binding,)))
    assert program.tasks[0].argument_registers == (1, 2)
    assert program.tasks[0].argument_types == (T.F16, T.U16)
    assert program.tasks[0].is_blocked


def test_a_trap_names_its_place() -> None:
    main = function(ir.Trap(imm(0, T.BOOL), "x is too large"))
    assert compile_instance(instance((main,))).messages == ("x is too large",)


def test_values_that_differ_between_pes_become_patches() -> None:
    x = ir.Global("x", 64, 4, T.U16, None, [ir.Datum(2, T.U16, 5, ir.PerPe(0))])
    width = ir.Immediate(T.U16, 5, ir.PerPe(0))
    dsd = ir.MakeDsd(MEM, ir.AddressOf(x), width, imm(1, T.I16))
    main = function(
        ir.Store(T.U16, ir.AddressOf(x), 0, width),
        ir.LoadDsr(ir.Dsr(OperandMode.DSR_DEST, 3), dsd),
    )
    pes = ((0, 0), (1, 0), (2, 0))
    program = compile_instance(instance((main,), (x,), pes=pes, per_pe=((5, 6, 7), (4, 4, 4))))
    address = program.symbols[0].address
    immediate, dsd_base, datum = program.patches
    assert immediate.target is dsd_base.target is PatchTarget.IMMEDIATE
    assert immediate.values.tolist() == [5, 6, 7]
    assert dsd_base.values.tolist() == [address | n << 16 for n in (5, 6, 7)]
    assert (datum.target, datum.location) == (PatchTarget.DATA, address + 2)
    assert program.code[dsd_base.location, Field.IMM] == address | 5 << 16


def test_a_per_pe_value_that_is_equal_everywhere_needs_no_patch() -> None:
    x = array("x")
    same = ir.Immediate(T.U16, 4, ir.PerPe(0))
    main = function(ir.Store(T.U16, ir.AddressOf(x), 0, same))
    one = instance((main,), (x,), pes=((0, 0), (1, 0)), per_pe=((4, 4),))
    assert compile_instance(one).patches == ()


def test_machine_statements_map_to_their_instructions() -> None:
    x = array("x")
    main = function(
        ir.SetBlocked(0x105, is_blocked=True),
        ir.SetBlocked(0x105, is_blocked=False),
        ir.UnblockCommandStream(),
        ir.Timestamp(ir.AddressOf(x)),
        ir.TimestampControl(1),
        ir.SetFifoLength(2, is_written=True, length=ir.Immediate(T.U16, 5)),
    )
    assert opcodes(instance((main,), (x,))) == [
        *["BLOCK", "UNBLOCK", "UNBLOCK_COMMAND_STREAM"],
        *["LOAD_IMMEDIATE", "TIMESTAMP", "TIMESTAMP_CONTROL"],
        *["LOAD_IMMEDIATE", "FIFO_SET_LENGTH", "RETURN"],
    ]


def test_scalar_operands_and_configurations_of_an_operation() -> None:
    x, a = array("x"), ir.Local("a", T.F32)
    operation = ir.DsdStatement(
        DsdOperation.FMACS,
        ir.ScalarDestination(ir.AddressOf(x)),
        vector(x),
        vector(x),
        ir.ReadLocal(a),
        DsdConfig(3, activate=9),
    )
    program = compile_instance(instance((function(operation, parameters=(a,)),), (x,)))
    row = next(r for r in program.code if r[Field.OPCODE] == Op.DSD)
    assert decode_operand(int(row[Field.RD]))[0] is OperandMode.POINTER
    assert row[Field.RC] == operand(OperandMode.REGISTER, 1)
    assert program.configs[row[Field.IMM]] == DsdConfig(3, activate=9)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 8, 24, 32768])
def test_index_arithmetic_is_exact(factor: int) -> None:
    x, i, j = array("x"), ir.Local("i", T.U16), ir.Local("j", T.U16)
    row = ir.Binary(Op.MUL, T.U16, ir.ReadLocal(i), imm(factor))
    column = ir.Binary(Op.SHL, T.U16, ir.ReadLocal(j), imm(1))
    address = ir.Binary(Op.ADD, T.U16, ir.AddressOf(x), ir.Binary(Op.SUB, T.U16, row, column))
    main = function(ir.Store(T.U16, ir.AddressOf(x), 0, address), parameters=(i, j))
    for arguments in ((0, 0), (2, 1), (0, 3), (65535, 65535)):
        check(instance((main,), (x,)), arguments)


def test_the_toy_machine_compiles_too() -> None:
    assert compile_instance(instance((function(),)), ARCHITECTURE).num_registers == 1
