"""Comptime calls of functions and builtins, and top-level blocks."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures.dispatch import (
    compile_block,
    compile_expression,
    compile_statement,
    compile_type,
    compiles,
    compiles_pointee,
)
from onewafer.csl.sema.closures.expressions import compile_operand
from onewafer.csl.sema.closures.frame import Frame, Scope, Signal
from onewafer.csl.sema.closures.statements import compile_labelled
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.registry import Site, find_builtin
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import (
    VOID_VALUE,
    FunctionAddress,
    FunctionValue,
    Scalar,
    Struct,
    TypeValue,
    Value,
    conversions,
    is_plain,
    key_of,
    show,
    type_of,
)
from onewafer.csl.syntax import ast, tree
from onewafer.diagnostics import Annotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.closures.frame import Evaluate, Execute
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


_CALLEE: Final = re.compile(r"(?:\w+\s*\.\s*)*(\w+)\s*\(")
"""The beginning of a call, with the name of the function: it may have another one elsewhere."""


@dataclass(slots=True)
class FunctionCode:
    """A function compiled for comptime; parameters are the first slots."""

    parameter_types: tuple[Evaluate | None, ...]
    result_type: Evaluate
    body: Execute
    size: int
    is_pure: bool = True
    """True if no call of it has had an effect so far."""


@dataclass(slots=True)
class Calls:
    """The calls of an analysis: cached results, and types under construction."""

    results: dict[object, tuple[Value, object]] = field(
        default_factory=dict[object, "tuple[Value, object]"]
    )
    """Key of a pure call → its result, and the objects whose `id` is in the key."""
    making: dict[object, t.StructName | None] = field(
        default_factory=dict[object, "t.StructName | None"]
    )
    """Calls that construct a type → the placeholder for pointers to it; None: none yet."""


def _compile_function(declaration: ast.Function) -> FunctionCode:
    scope = Scope()
    types: list[Evaluate | None] = []
    for parameter in declaration.parameters:
        types.append(compile_type(parameter.type, scope) if parameter.type is not None else None)
        scope.declare(parameter.name, is_const=True)
    result = compile_type(declaration.result, scope)
    body = compile_block(declaration.body.statements, scope)
    return FunctionCode(tuple(types), result, body, scope.size)


def call_function(function: FunctionValue, arguments: Sequence[Value], span: Span) -> Value:
    """Run a function at compile time."""
    module, declaration = function.module, function.declaration
    if function.is_extern:
        _refuse_extern(declaration, span)
    session = module.session
    code = _code_of(function)
    arguments = _with_absent(function, arguments)
    check_call(declaration, len(arguments), span)
    session.tick(span)
    key = (declaration, module.memo_key, *map(key_of, arguments)) if code.is_pure else None
    if key is not None and not any(map(_is_tainted, arguments)):
        known = session.kept(Calls).results.get(key)
        if known is not None:
            return known[0]
    else:
        key = None
    effects = session.effects
    result = _run(module, code, declaration, arguments, span)
    if session.effects != effects:
        code.is_pure = False
    elif key is not None and (module.memo_key is module or is_plain(result)):
        # The call may be the first that read the coordinates of the PE, which changes the key.
        key = (declaration, module.memo_key, *map(key_of, arguments))
        session.kept(Calls).results[key] = (result, (module, tuple(arguments)))
    return result


def _refuse_extern(declaration: ast.Function, span: Span) -> NoReturn:
    """Fail because a function is called by a name that only the linker knows."""
    called = _CALLEE.match(span.source.text, span.start, span.end)
    fail(
        "wrong-context",
        f"`{called[1] if called else declaration.name}` is `extern`: it cannot be called while "
        "compiling",
        span,
        secondary=(Annotation(declaration.name_span, "this is the function"),),
        help="call it in run-time code, or through the module that has it: `m.f(…)`",
    )


def result_type(function: FunctionValue, arguments: Sequence[Value], span: Span) -> t.Type:
    """Return the result type of a function for these arguments."""
    module, declaration = function.module, function.declaration
    code = _code_of(function)
    frame = _enter(module, code, declaration, arguments, span)
    return rules.expect_type(code.result_type(frame), declaration.result.span)


class _Functions(dict["ast.Function", FunctionCode]):
    """The compiled functions of a file."""


def _functions_of(module: Module) -> dict[ast.Function, FunctionCode]:
    return module.code.kept(_Functions)


def _code_of(function: FunctionValue) -> FunctionCode:
    """Return the code of a function, compiled once."""
    functions, declaration = _functions_of(function.module), function.declaration
    code = functions.get(declaration)
    if code is None:
        code = functions[declaration] = _compile_function(declaration)
    return code


def _with_absent(function: FunctionValue, arguments: Sequence[Value]) -> Sequence[Value]:
    """Return the arguments, with `{}` for optional parameters of a library function.

    The SDK documents layout functions with optional arguments, for which the language has no
    syntax: in our library, optional parameters are the last ones of type `anytype`.
    """
    parameters = function.declaration.parameters[len(arguments) :]
    if not parameters or not function.module.code.is_library:
        return arguments
    if not arguments or any(parameter.type is not None for parameter in parameters):
        return arguments
    return (*arguments, *(VOID_VALUE for _ in parameters))


def _is_tainted(value: Value) -> bool:
    match value:
        case Scalar(_, _, taint):
            return taint is not None
        case Struct(_, fields):
            return any(map(_is_tainted, fields))
        case _:
            return False


def _run(
    module: Module,
    code: FunctionCode,
    declaration: ast.Function,
    arguments: Sequence[Value],
    span: Span,
) -> Value:
    session = module.session
    label = f"`{declaration.name}` is called here"
    session.depth += 1
    try:
        if session.depth > session.max_depth:
            session.stop_nesting(span)
        frame = _enter(module, code, declaration, arguments, span)
        result_type = rules.expect_type(code.result_type(frame), declaration.result.span)
        with nullcontext() if session.recorder is None else session.recorder.calling(span, label):
            if result_type is t.TYPE:
                return _make_type(frame, code, declaration, span)
            signal = code.body(frame)
        return _result(frame, signal, result_type, declaration)
    except Fault as fault:
        fault.add_location(span, label)
        raise
    except RecursionError:  # whatever the calls stand in: the innermost that has room to say it
        session.stop_nesting(span)
    finally:
        session.depth -= 1


def _enter(
    module: Module,
    code: FunctionCode,
    declaration: ast.Function,
    arguments: Sequence[Value],
    span: Span,
) -> Frame:
    """Return the frame of a call, the arguments in the types of the parameters."""
    frame = Frame(module, code.size)
    for index, (argument, type_) in enumerate(zip(arguments, code.parameter_types, strict=True)):
        value = argument
        if type_ is not None:
            expected = rules.expect_type(type_(frame), span)
            what = f"the argument `{declaration.parameters[index].name}`"
            value = conversions.coerce(argument, expected, span, what)
        frame.slots[index] = value
    return frame


# --- types that functions make -------------------------------------------------------------------


def _make_type(frame: Frame, code: FunctionCode, declaration: ast.Function, span: Span) -> Value:
    """Run a function that returns a type; pointers in the type may refer to the type itself."""
    making = frame.module.session.kept(Calls).making
    key = _key_of_call(frame, declaration)
    if key in making:
        name = _spelled(frame, declaration)
        fail(
            "step-limit",
            f"to make `{name}`, `{name}` is needed",
            span,
            help=f"a struct refers to another of its type by a pointer, `*{name}`, or an index",
        )
    making[key] = None
    try:
        made = _result(frame, code.body(frame), t.TYPE, declaration)
    finally:
        name = making.pop(key)
    match made:
        case TypeValue(t.StructType() | t.PackedType() as type_) if name is not None:
            is_new = any(node is type_.origin for node in tree.nodes(declaration.body))
            if is_new and type_.name is None:
                name.give_to(type_)
            else:
                name.type = type_
        case _:
            pass
    return made


def _key_of_call(frame: Frame, declaration: ast.Function) -> object:
    """Return a key that is equal for equal calls."""
    arguments = frame.slots[: len(declaration.parameters)]
    keys = (key_of(argument) for argument in arguments if argument is not None)
    return (declaration, frame.module.memo_key, *keys)


def _spelled(frame: Frame, declaration: ast.Function) -> str:
    arguments = frame.slots[: len(declaration.parameters)]
    shown = ", ".join(show(argument) for argument in arguments if argument is not None)
    return f"{declaration.name}({shown})"


@compiles_pointee(ast.Call)
def _compile_pointee(node: ast.Call, scope: Scope) -> Evaluate:
    """Return a closure for a call that is a pointer's target type, perhaps under construction."""
    call, callee = _compile_call(node, scope), compile_operand(node.callee, scope)
    arguments = [compile_expression(argument, scope) for argument in node.arguments]

    def pointee(frame: Frame) -> Value:
        making = frame.module.session.kept(Calls).making
        function = callee(frame) if making else None
        if type(function) is not FunctionValue:
            return call(frame)
        module, declaration = function.module, function.declaration
        code = _functions_of(module).get(declaration)
        if code is None or len(arguments) != len(declaration.parameters):
            return call(frame)
        values = [argument(frame) for argument in arguments]
        entered = _enter(module, code, declaration, values, node.span)
        key = _key_of_call(entered, declaration)
        if key not in making:
            return call_function(function, values, node.span)
        name = making[key]
        if name is None:
            text = _spelled(entered, declaration)
            name = making[key] = t.StructName(text, (declaration, key))
        return TypeValue(name)

    return pointee


def _result(frame: Frame, signal: Signal | None, type_: t.Type, declaration: ast.Function) -> Value:
    if frame.result is not None:
        what = f"the result of `{declaration.name}`"
        return conversions.coerce(frame.result, type_, declaration.result.span, what)
    if type_ != t.VOID and signal is not Signal.RETURN:
        missing_return(declaration, type_)
    return VOID_VALUE


def missing_return(declaration: ast.Function, type_: t.Type) -> None:
    """Fail because a function with a result can end without one."""
    fail(
        "missing-return",
        f"`{declaration.name}` can end without returning a `{type_}`",
        declaration.name_span,
        help="end it with `return …;`",
    )


def check_call(declaration: ast.Function, count: int, span: Span) -> None:
    """Fail unless a function may be called with this number of arguments."""
    if declaration.is_task:
        fail(
            "not-callable",
            f"`{declaration.name}` is a task; tasks are activated, not called",
            span,
            help="bind it to an id and use `@activate(id)`",
        )
    expected = len(declaration.parameters)
    if count != expected:
        fail(
            "wrong-argument-count",
            f"`{declaration.name}` takes {expected} argument(s), {count} are given",
            span,
        )


@compiles(ast.Call)
def _compile_call(node: ast.Call, scope: Scope) -> Evaluate:
    """Return a closure for `callee(arguments)`."""
    named = node.callee
    if isinstance(named, ast.Dereference):
        named = named.base  # a function is called through its address
    callee = compile_operand(named, scope)
    arguments = [compile_expression(argument, scope) for argument in node.arguments]
    span = node.span

    def call(frame: Frame) -> Value:
        function = callee(frame)
        if type(function) is FunctionAddress:
            function = function.function
        if type(function) is not FunctionValue:
            rules.not_callable(type_of(function), span)
        return call_function(function, [argument(frame) for argument in arguments], span)

    return call


@compiles(ast.BuiltinCall)
def _compile_builtin(node: ast.BuiltinCall, scope: Scope) -> Evaluate:
    """Return a closure for `@name(arguments)`."""
    site = Site(node)
    try:
        builtin = find_builtin(site)
    except Fault as fault:
        return _raise_later(fault)
    handler = builtin.comptime
    arguments = [
        (compile_operand if index in builtin.operands else compile_expression)(argument, scope)
        for index, argument in enumerate(node.arguments)
    ]
    if handler is None:
        return _raise_later(builtin.only_at_run_time(site))
    has_effect, needs = builtin.has_effect, builtin.context
    is_recordable = builtin.is_recordable

    def call(frame: Frame) -> Value:
        module = frame.module
        if needs is not Where.VALUE or builtin.is_internal:
            builtin.check_context(site, module)
        if is_recordable:
            module.session.effects += 1
        elif has_effect:
            module.session.note_effect()
        return handler(site, module, [argument(frame) for argument in arguments])

    return call


def _raise_later(fault: Fault) -> Evaluate:
    def call(_: Frame) -> Value:
        raise Fault(fault.diagnostic)

    return call


@compiles(ast.BlockExpression)
def _compile_block_expression(node: ast.BlockExpression, scope: Scope) -> Evaluate:
    """Return a closure that executes a block and returns the value of its `break`."""
    body = compile_labelled(node.block, scope)

    def evaluate(frame: Frame) -> Value:
        frame.broken = None
        signal = body(frame)
        if signal is not None:
            fail("misplaced-jump", "a jump cannot leave a block that is a value", node.span)
        value, frame.broken = frame.broken, None
        return VOID_VALUE if value is None else value

    return evaluate


def run_block(module: Module, block: ast.Block) -> None:
    """Run a top-level block; a mistake in one statement does not stop the others."""
    scope = Scope()
    frame = Frame(module, 0)
    for statement in block.statements:
        try:
            execute = compile_statement(statement, scope)
            frame.slots.extend([None] * (scope.size - len(frame.slots)))
            execute(frame)
        except Fault as fault:
            frame.slots.extend([None] * (scope.size - len(frame.slots)))
            module.context.report(fault)
