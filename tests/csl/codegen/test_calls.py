"""Arguments and results of calls arrive, whatever the frames of the callees share."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.csl import ir
from onewafer.csl.codegen.expressions import ExpressionGenerator
from onewafer.csl.codegen.frame import Frame
from onewafer.csl.codegen.object_code import DescriptorTable, Instruction, Register
from onewafer.image import DsdDescriptor, DsdKind, Opcode, OperandMode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType
X = ir.Global("x", 64, 4, T.U16, None, [ir.Datum(2 * i, T.U16, i + 1) for i in range(32)])
N = ir.Global("n", 2, 2, T.U16, None)
OUT = ir.Global("out", 8, 2, T.U16, None)
DSD = ir.MakeDsd(
    DsdDescriptor(DsdKind.MEM1D),
    ir.AddressOf(X),
    ir.Immediate(T.U16, 4),
    ir.Immediate(T.I16, 1),
)
TARGET = ir.Dsr(OperandMode.DSR_SRC1, 3)


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.U16, value)


def load(variable: ir.Global) -> ir.Load:
    return ir.Load(T.U16, ir.AddressOf(variable))


def bump(result: int) -> ir.Function:
    """A function that sets `n` to 5."""
    return ir.Function(
        "bump", (), T.U16, (ir.Store(T.U16, ir.AddressOf(N), 0, imm(5)), ir.Return(imm(result)))
    )


def main(*body: ir.Statement) -> ir.Function:
    return ir.Function("main", (), None, body)


def test_an_argument_is_read_before_a_later_one_changes_it() -> None:
    a, b = ir.Local("a", T.U16), ir.Local("b", T.U16)
    tens = ir.Binary(Op.MUL, T.U16, ir.ReadLocal(a), imm(10))
    digits = ir.Function(
        "digits",
        (a, b),
        T.U16,
        (ir.Return(ir.Binary(Op.ADD, T.U16, tens, ir.ReadLocal(b))),),
    )
    bumping = bump(2)
    call = ir.Call(digits, (load(N), ir.Call(bumping, ())))
    caller = main(ir.Store(T.U16, ir.AddressOf(OUT), 0, call))
    check(instance((caller, digits, bumping), (X, N, OUT)))


def test_an_element_is_found_before_the_value_is_computed() -> None:
    bumping = bump(2)
    place = ir.Binary(Op.ADD, T.U16, ir.AddressOf(OUT), load(N))
    caller = main(ir.Store(T.U16, place, 0, ir.Call(bumping, ())))
    check(instance((caller, bumping), (X, N, OUT)))


def test_a_dsd_result_becomes_an_argument_one_register_further_on() -> None:
    k, d = ir.Local("k", T.U16), ir.Local("d", ir.DSD)
    moved = ir.Function(
        "moved",
        (k,),
        ir.DSD,
        (ir.Return(ir.UpdateDsd(ir.DsdUpdate.ADVANCE, DSD, ir.ReadLocal(k), 2)),),
    )
    use = ir.Function("use", (d,), T.U16, (ir.LoadDsr(TARGET, ir.ReadLocal(d)), ir.Return(imm(1))))
    call = ir.Call(use, (ir.Call(moved, (imm(3),)),))
    caller = main(ir.Store(T.U16, ir.AddressOf(OUT), 0, call))
    check(instance((caller, moved, use), (X, N, OUT)))


def test_a_dsd_argument_is_put_together_from_results() -> None:
    d = ir.Local("d", ir.DSD)
    bumping = bump(2)
    use = ir.Function("use", (d,), None, (ir.LoadDsr(TARGET, ir.ReadLocal(d)),))
    shorter = ir.UpdateDsd(ir.DsdUpdate.LENGTH, DSD, ir.Call(bumping, ()))
    further = ir.UpdateDsd(ir.DsdUpdate.ADVANCE, shorter, ir.Call(bumping, ()), 2)
    caller = main(ir.Evaluate(ir.Call(use, (further,))))
    check(instance((caller, use, bumping), (X, N, OUT)))


def test_a_variable_that_was_just_set_is_copied_on() -> None:
    a, b, c = (ir.Local(name, T.U32) for name in "abc")
    values = [ir.SetLocal(v, ir.Immediate(T.U32, 5 + i)) for i, v in enumerate((a, b, c))]
    copies = [ir.SetLocal(b, ir.ReadLocal(a)), ir.SetLocal(c, ir.ReadLocal(b))]
    kept = [
        ir.Store(T.U16, ir.AddressOf(OUT), 2 * i, ir.Convert(T.U32, T.U16, ir.ReadLocal(v)))
        for i, v in enumerate((a, b, c))
    ]
    check(instance((main(*values, *copies, *kept),), (X, N, OUT)))


@given(st.integers(0, 4), st.integers(0, 4))
def test_both_words_of_a_pair_arrive_where_it_overlaps_itself(source, dest) -> None:
    function = main()
    generator = ExpressionGenerator(function, Frame(function), descriptors=DescriptorTable())
    generator.move(Register(function, source), Register(function, dest), 2)
    registers = list(range(6))
    for item in generator.items:
        match item:
            case Instruction(Op.MOVE, rd=Register(slot=to), ra=Register(slot=of)):
                registers[to] = registers[of]
            case _:
                raise AssertionError(item)
    assert registers[dest : dest + 2] == [source, source + 1]


# --- arguments that are passed on in another order ------------------------------------------------

TYPES = (T.U16, T.I16, T.U32, T.F32, ir.DSD)
PLACES = ir.Global("places", 64, 4, T.U32, None)


def parameters_of(random: Random) -> tuple[ir.Local, ...]:
    types = random.sample(TYPES, 2)
    return tuple(ir.Local(f"p{i}", random.choice(types)) for i in range(random.randint(1, 6)))


def passed_on(random: Random, own: tuple[ir.Local, ...], wanted: ir.Local) -> ir.Expression:
    """One of the variables at hand, or a constant where none has the type."""
    fitting = [local for local in own if local.type is wanted.type]
    if fitting:
        return ir.ReadLocal(random.choice(fitting))
    if isinstance(wanted.type, ir.DsdType):
        return DSD
    return ir.Immediate(wanted.type, random.randint(0, 99))


def copies(random: Random, own: tuple[ir.Local, ...]) -> list[ir.SetLocal]:
    """Copies among the variables of a function, also each to the next one in order."""
    copied = [random.choice(own) for _ in range(random.randint(0, 4))]
    made = [ir.SetLocal(local, passed_on(random, own, local)) for local in copied]
    if random.choice((True, False)):
        following = [(a, b) for a, b in pairwise(own) if a.type is b.type]
        made += [ir.SetLocal(b, ir.ReadLocal(a)) for a, b in following]
    return made


def chain_of_calls(random: Random) -> tuple[ir.Function, ...]:
    """Functions that each call the next one, the last of which stores what arrived."""
    parameters = parameters_of(random)
    stores = [
        ir.Store(p.type, ir.AddressOf(PLACES), 8 * i, ir.ReadLocal(p))
        for i, p in enumerate(parameters)
    ]
    result = random.choice((None, T.U16))
    end = [] if result is None else [ir.Return(imm(7))]
    chain = [ir.Function("last", parameters, result, (*stores, *end))]
    for depth in range(random.randint(1, 3)):
        own = parameters_of(random)
        arguments = tuple(passed_on(random, own, p) for p in chain[0].parameters)
        call = ir.Call(chain[0], arguments)
        result = random.choice((None, T.U16))
        statement = ir.Evaluate(call)
        if chain[0].result is not None:
            statement = ir.Store(T.U16, ir.AddressOf(OUT), 2 * depth, call)
        end = [] if result is None else [ir.Return(imm(depth))]
        body = (*copies(random, own), statement, *end)
        chain.insert(0, ir.Function(f"f{depth}", own, result, body))
    arguments = tuple(
        replace(DSD, extent=imm(20 + i))
        if isinstance(p.type, ir.DsdType)
        else ir.Immediate(p.type, 1000 + i)
        for i, p in enumerate(chain[0].parameters)
    )
    return (main(ir.Evaluate(ir.Call(chain[0], arguments))), *chain)


@settings(max_examples=150, deadline=None, phases=(Phase.generate,))
@given(st.integers(0, 2**32))
def test_arguments_arrive_through_a_chain_of_calls(seed) -> None:
    # Not for secrets: the seed is the test case.
    functions = chain_of_calls(Random(seed))  # noqa: S311
    check(instance(functions, (X, N, OUT, PLACES)))
