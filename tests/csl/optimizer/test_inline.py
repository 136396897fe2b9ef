"""`inline fn`: no call is left, and what is evaluated before one stays before it."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.optimizer.inline import expand_inline
from onewafer.image import Field, Opcode, ScalarType
from tests.csl.codegen.interpreters import check, instance
from tests.csl.library.one_pe import compile_pe

T = ScalarType
N = ir.Global("n", 2, 2, T.U16, None, [ir.Datum(0, T.U16, 3)])
OUT = ir.Global("out", 4, 2, T.U16, None)


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.U16, value)


def add(left: ir.Expression, right: ir.Expression) -> ir.Binary:
    return ir.Binary(Opcode.ADD, T.U16, left, right)


def load() -> ir.Load:
    return ir.Load(T.U16, ir.AddressOf(N))


def store(value: ir.Expression) -> ir.Store:
    return ir.Store(T.U16, ir.AddressOf(OUT), 0, value)


def bump() -> ir.Function:
    """A function that adds its argument to `n`, and says early on if that is 0."""
    step = ir.Local("step", T.U16)
    is_zero = ir.Binary(Opcode.EQUAL, T.U16, ir.ReadLocal(step), imm(0))
    body = (
        ir.If(is_zero, (ir.Return(imm(100)),), ()),
        ir.Store(T.U16, ir.AddressOf(N), 0, add(load(), ir.ReadLocal(step))),
        ir.Return(load()),
    )
    return ir.Function("bump", (step,), T.U16, body, is_inline=True)


def run(*body: ir.Statement, functions: tuple[ir.Function, ...]):
    main = ir.Function("main", (), None, body)
    found = check(instance((main, *functions), (N, OUT)))
    assert found is not None
    program, executor = found
    address = next(s.address for s in program.symbols if s.name == "out")
    return program, int.from_bytes(executor.memory[address : address + 2], "little")


def opcodes(program) -> set[Opcode]:
    return {Opcode(int(row[Field.OPCODE])) for row in program.code}


def test_an_expression_stands_in_place_of_its_call() -> None:
    a = ir.Local("a", T.U16)
    double = ir.Function(
        "double", (a,), T.U16, (ir.Return(add(ir.ReadLocal(a), ir.ReadLocal(a))),), is_inline=True
    )
    nested = ir.Call(double, (ir.Call(double, (imm(5),)),))

    program, result = run(store(nested), functions=(double,))

    assert result == 20
    assert Opcode.CALL not in opcodes(program)
    assert "double" not in {symbol.name for symbol in program.symbols}


def test_what_is_read_before_a_call_is_read_before_its_body() -> None:
    function = bump()
    total = add(load(), ir.Call(function, (imm(4),)))

    program, result = run(store(total), functions=(function,))

    assert result == 3 + 7
    assert Opcode.CALL not in opcodes(program)


def test_an_early_return_leaves_the_body_alone() -> None:
    function = bump()
    program, result = run(
        store(ir.Call(function, (imm(0),))),
        store(add(ir.Load(T.U16, ir.AddressOf(OUT)), ir.Call(function, (imm(1),)))),
        functions=(function,),
    )

    assert result == 100 + 4
    assert Opcode.CALL not in opcodes(program)


def test_a_call_stays_where_its_body_cannot_stand_before_the_statement() -> None:
    function = bump()
    is_small = ir.Binary(Opcode.LESS, T.U16, ir.Call(function, (imm(2),)), imm(10))
    loop = ir.Loop(is_small, (store(load()),), ())

    program, result = run(loop, functions=(function,))

    assert result == 9
    assert Opcode.CALL in opcodes(program)


def store_and_keep() -> tuple[ir.Function, ir.Store]:
    """A function that stores its argument or, if another one is 0, a number; and that store."""
    value, choice = ir.Local("value", T.U16), ir.Local("choice", T.U16)
    other = ir.Store(T.U16, ir.AddressOf(N), 0, imm(9))
    is_zero = ir.Binary(Opcode.EQUAL, T.U16, ir.ReadLocal(choice), imm(0))
    body = (ir.If(is_zero, (other,), (store(ir.ReadLocal(value)),)),)
    return ir.Function("store", (value, choice), None, body, is_inline=True), other


def test_the_only_call_gets_the_arguments_at_any_depth() -> None:
    function, _ = store_and_keep()

    program, result = run(ir.Evaluate(ir.Call(function, (imm(7), imm(1)))), functions=(function,))

    assert result == 7
    assert Opcode.CALL not in opcodes(program)


def test_only_the_statements_of_a_function_that_is_called_again_are_copied() -> None:
    def stores(num_calls: int) -> tuple[ir.Store, list[ir.Statement]]:
        function, other = store_and_keep()
        call = ir.Evaluate(ir.Call(function, (imm(7), imm(1))))
        main = ir.Function("main", (), None, (call,) * num_calls)
        (expanded,) = expand_inline(instance((main, function), (N, OUT))).functions
        return other, [s.then[0] for s in expanded.body if isinstance(s, ir.If)]

    other, found = stores(1)
    assert found == [other]
    other, found = stores(2)
    assert len(found) == 2
    assert other not in found
    assert found[0] is not found[1]


def test_code_of_the_library_has_the_place_of_its_call() -> None:
    """People look for the line of theirs, in messages of a run and in profiles."""
    body = 'const math = @import_module("<math>");\n x[0] = math.abs(x[1]);'
    (program,) = compile_pe(body, "var x: [2]f32;", variables={"x": "f32"}).programs
    assert {place.path for place in program.locations if place is not None} == {"pe.csl"}
    opcodes = program.code[:, Field.OPCODE].tolist()
    (unblocked,) = (pc for pc, code in enumerate(opcodes) if code == Opcode.UNBLOCK_COMMAND_STREAM)
    stored = next(pc for pc, code in enumerate(opcodes) if code == Opcode.STORE)
    assert program.locations[unblocked].line == program.locations[stored].line + 1
