"""Calls in run-time code: specialised functions, comptime calls, builtins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures import call_function
from onewafer.csl.sema.closures.calls import check_call, missing_return, result_type
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.analyzer import Analyzer
from onewafer.csl.sema.instance.bound_names import RuntimeLocal
from onewafer.csl.sema.instance.pending import PendingBody
from onewafer.csl.sema.instance.registry import Site, find_builtin
from onewafer.csl.sema.runtime import function_pointers, order, passing
from onewafer.csl.sema.runtime.addresses import load
from onewafer.csl.sema.runtime.bodies import analyze_block
from onewafer.csl.sema.runtime.dispatch import evaluate, evaluate_type, evaluates, operand
from onewafer.csl.sema.runtime.jumps import ends_elsewhere
from onewafer.csl.sema.runtime.stores import check_stored
from onewafer.csl.sema.runtime.structs import declare_struct, load_result
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.values import (
    Array,
    Dsd,
    FunctionAddress,
    FunctionValue,
    Runtime,
    Struct,
    TypeValue,
    Value,
    Variable,
    Void,
    force_all,
    halves,
    is_comptime,
    key_of,
    not_comptime,
    type_of,
)
from onewafer.csl.syntax import ast, tree
from onewafer.diagnostics import Annotation, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Builtin
    from onewafer.diagnostics import Span

CONTROL_TASK = "a control task"
"""Name of a control task for `start_root` and its messages."""
MAX_FUNCTIONS = 2_000
"""Limit of the specialised functions of one instance; no PE has memory for that many."""


@evaluates(ast.Call)
def _call(a: Analyzer, node: ast.Call) -> Value:
    function = _callee(a, node.callee)
    if isinstance(function, FunctionAddress):
        function = function.function
    is_pointer = function_pointers.is_pointer(type_of(function))
    if not isinstance(function, FunctionValue) and not is_pointer:
        rules.not_callable(type_of(function), node.span)
    function = a.load(function, node.callee.span)
    mark = order.here(a)
    arguments = order.in_order(a, node.arguments, operand)
    spans = [argument.span for argument in node.arguments]
    if isinstance(function, FunctionValue):
        return call_value(a, function, arguments, spans, node.span)
    pointer = order.before(a, mark, function, node.callee.span)
    if a.comptime_depth or not isinstance(pointer, Runtime):
        not_comptime(pointer, node.callee.span)
    return function_pointers.call(a, pointer, arguments, spans, node.span)


def _callee(a: Analyzer, node: ast.Expression) -> Value:
    """Return the called value; of `p.*`, the function pointer `p`."""
    if not isinstance(node, ast.Dereference):
        return operand(a, node)
    pointer = a.load(operand(a, node.base), node.base.span)
    is_known = isinstance(pointer, FunctionAddress | FunctionValue)
    if is_known or function_pointers.is_pointer(type_of(pointer)):
        return pointer
    return load(a, pointer, node.span)


def call_value(
    a: Analyzer,
    function: FunctionValue,
    arguments: Sequence[Value],
    spans: Sequence[Span],
    span: Span,
) -> Value:
    """Call a known function: at compile time where the result can or must be known there."""
    check_call(function.declaration, len(arguments), span)
    other = None if a.comptime_depth else halves.of_library_function(function)
    if other is not None:
        is_known = all(map(_is_known, arguments))
        known = _known_result(function, arguments, span) if is_known else None
        if known is None:
            halves.refuse_library_function(function, other, span)
        return known
    if a.comptime_depth or _is_comptime_call(function, arguments, span):
        for argument, where in zip(arguments, spans, strict=True):
            if not _is_known(argument):
                not_comptime(argument, where)
        with function.module.session.frozen():
            return call_function(function, arguments, span)
    if _is_better_known(function) and all(map(_is_known, arguments)):
        known = _known_result(function, arguments, span)
        if known is not None:
            return known
    values = [a.load(v, where) for v, where in zip(arguments, spans, strict=True)]
    if any(map(passing.has_array, values)):  # copied here, so all are computed here
        pairs = zip(values, spans, strict=True)
        values = [order.settled(a, "argument", value, where) for value, where in pairs]
    target, passed, result = specialize(a, function, values, spans, span)
    a.dsrs.forget_loads()
    if isinstance(result, t.StructType | t.ArrayType):
        a.emit(ir.Evaluate(ir.Call(target, passed), span))
        return load_result(a, a.instance.stored_results[target], span)
    return Runtime(result, ir.Call(target, passed))


def _is_better_known(function: FunctionValue) -> bool:
    """Tell whether a call is tried at compile time: of `inline` functions, structs, arrays, ids."""
    result = function.module.function_type(function.declaration).result
    is_inline = function.declaration.storage is ast.Storage.INLINE
    return is_inline or isinstance(result, t.StructType | t.ArrayType) or result in t.IDS


def _known_result(function: FunctionValue, arguments: Sequence[Value], span: Span) -> Value | None:
    """Return the result of a function for known arguments; None: it fails at compile time."""
    try:
        with function.module.session.frozen():
            return call_function(function, arguments, span)
    except Fault:
        return None


def _is_comptime_call(function: FunctionValue, arguments: Sequence[Value], span: Span) -> bool:
    result = function.module.function_type(function.declaration).result
    half = function.module.session.half
    if result is t.ANYTYPE and all(map(_is_known, arguments)):
        result = _result_for(function, arguments, span)
    if isinstance(result, t.StructType):
        exists_not = any(t.is_comptime_only(field, half) for field in result.fields)
        return exists_not and all(map(_is_known, arguments))
    return result is not t.ANYTYPE and t.is_comptime_only(result, half)


def _result_for(function: FunctionValue, arguments: Sequence[Value], span: Span) -> t.Type:
    """Return the result type for these arguments; `anytype` if it is numeric or faulty."""
    try:
        type_ = result_type(function, arguments, span)
    except Fault:
        return t.ANYTYPE
    return t.ANYTYPE if t.is_numeric(type_) else type_


def _is_known(argument: Value) -> bool:
    return not isinstance(argument, Variable) and is_comptime(argument)


def specialize(
    a: Analyzer,
    function: FunctionValue,
    arguments: Sequence[Value],
    spans: Sequence[Span],
    span: Span,
) -> tuple[ir.Function, tuple[ir.Expression, ...], t.Type]:
    """Return the IR function for these arguments, those that are passed, and the result type."""
    instance, declaration = a.instance, function.declaration
    chain = ((span, f"`{declaration.name}` is called here"), *a.chain)
    callee = analyzer_of(instance, function, chain)
    passed: list[ir.Expression] = []
    parameters: list[RuntimeLocal] = []
    key: list[object] = [id(function.module), id(declaration)]
    for parameter, argument, where in zip(declaration.parameters, arguments, spans, strict=True):
        if passing.is_run_time(argument) and not parameter.is_comptime:
            argument = passing.in_type_of(a, callee, parameter, argument, where)  # noqa: PLW2901
            parts = passing.Parts(a, callee, where, parameters, passed)
            bound, part = parts.bind(parameter.name, argument)
        else:
            is_inline = declaration.storage is ast.Storage.INLINE
            bound, part = bind_argument(a, callee, parameter, argument, where, is_inline=is_inline)
        callee.names.declare(parameter.name, bound)
        key.append(part)
        if isinstance(bound, RuntimeLocal):
            parameters.append(bound)
            passed.append(a.expression(a.coerce(argument, bound.type, where), where))
    instance.keep_alive.append((function, arguments))
    known = instance.specializations.get(tuple(key))
    try:
        callee.result = evaluate_type(callee, declaration.result)
        if known is None:
            known = instance.specializations[tuple(key)] = start(callee, declaration, parameters)
    except Fault as fault:
        fault.add_location(*chain[0])
        raise
    return known, tuple(passed), callee.result


class _Addressed(dict["ast.Function", frozenset[str]]):
    """Function → the names whose address it takes."""


def analyzer_of(
    instance: Instance, function: FunctionValue, chain: tuple[tuple[Span, str], ...]
) -> Analyzer:
    """Return a new analyzer for a function; `chain` is the calls that led to it."""
    module, declaration = function.module, function.declaration
    known = module.code.kept(_Addressed)
    addressed = known.get(declaration)
    if addressed is None:
        addressed = known[declaration] = frozenset(addressed_names(declaration.body))
    return Analyzer(instance, module, module.symbol(declaration), chain[:8], addressed=addressed)


def bind_argument(
    a: Analyzer,
    callee: Analyzer,
    parameter: ast.Parameter,
    argument: Value,
    span: Span,
    *,
    is_inline: bool = False,
) -> tuple[Value | RuntimeLocal, object]:
    """Return the value or local of a parameter in the callee, and its part of the key."""
    what = f"the argument `{parameter.name}`"
    type_ = evaluate_type(callee, parameter.type) if parameter.type is not None else t.ANYTYPE
    value = argument if type_ is t.ANYTYPE else a.coerce(argument, type_, span, what)
    type_ = type_of(value) if type_ in (t.ANYTYPE, t.COMPTIME_STRUCT) else type_
    is_comptime_type = t.is_comptime_only(type_, a.half)
    stays = parameter.is_comptime or is_comptime_type or isinstance(value, Array | Struct)
    if is_inline and is_comptime(value) and not isinstance(value, Variable):
        stays = True
    if isinstance(value, Void):  # `{}` for an absent argument
        stays = True
    if isinstance(value, Dsd) and value.type in (t.FABIN_DSD, t.FABOUT_DSD):
        stays = True
    if stays:
        if not is_comptime(value):
            not_comptime(value, span)
        value = force_all(value, what, span)
        return value, ("comptime", type_, key_of(value))
    descriptor = value.descriptor if isinstance(value, Dsd | Runtime) else None
    a.ir_type(type_, span)
    local = callee.new_local(parameter.name, type_, is_const=True, descriptor=descriptor)
    return local, ("run time", type_, descriptor)


def start(
    callee: Analyzer, declaration: ast.Function, parameters: Sequence[RuntimeLocal]
) -> ir.Function:
    """Make the callee's IR function and queue the analysis of its body."""
    instance = callee.instance
    result = None
    is_stored = isinstance(callee.result, t.StructType | t.ArrayType)
    if callee.result != t.VOID and not is_stored:
        result = callee.ir_type(callee.result, declaration.result.span)
    function = ir.Function(
        instance.unique_symbol(callee.name),
        tuple(p.local for p in parameters),
        result,
        span=declaration.name_span,
        is_inline=declaration.storage is ast.Storage.INLINE,
        has_stored_result=is_stored,
    )
    callee.name = function.name
    instance.functions.append(function)
    if is_stored:
        check_stored(callee, callee.result, declaration.result.span)
        variable = callee.new_variable(
            "result", callee.result, declaration.result.span, is_const=False
        )
        callee.stored_result = instance.stored_results[function] = variable
    if len(instance.functions) > MAX_FUNCTIONS:
        fail(
            "step-limit",
            f"more than {MAX_FUNCTIONS:,} functions are needed for one PE",
            declaration.name_span,
            help="a function that calls itself with other `comptime` arguments never ends",
        )
    instance.work.append(
        PendingBody(
            instance.dsrs,
            callee.module,
            declaration.body,
            lambda: _analyze_body(callee, declaration, function, parameters),
        )
    )
    return function


def _analyze_body(
    callee: Analyzer,
    declaration: ast.Function,
    function: ir.Function,
    parameters: Sequence[RuntimeLocal],
) -> None:
    try:
        spill(callee, parameters, declaration.name_span)
        _spill_structs(callee, declaration)
        callee.names.open()
        analyze_block(callee, declaration.body.statements)
        function.body = tuple(callee.blocks[0])
        is_open = callee.result != t.VOID and not ends_elsewhere(function.body)
        if is_open and not callee.has_errors:
            missing_return(declaration, callee.result)
    except Fault as fault:
        callee.report(fault)
    except RecursionError:
        message = f"`{declaration.name}` nests too deeply"
        annotation = Annotation(declaration.name_span)
        callee.report(Fault(Diagnostic("nesting-too-deep", message, annotation)))


def spill(a: Analyzer, parameters: Sequence[RuntimeLocal], span: Span) -> None:
    """Copy parameters whose address is taken to memory."""
    for parameter in parameters:
        name = parameter.name
        if name in a.addressed and a.names.scopes[-1].get(name) is parameter:
            variable = a.new_variable(name, parameter.type, span, is_const=True)
            address = ir.AddressOf(a.instance.storage(variable))
            value = ir.ReadLocal(parameter.local)
            a.emit(ir.Store(a.ir_type(parameter.type, span), address, 0, value, span))
            a.names.declare(name, variable)


def _spill_structs(a: Analyzer, declaration: ast.Function) -> None:
    """Copy struct parameters whose address is taken to memory."""
    for parameter in declaration.parameters:
        name, bound = parameter.name, a.names.scopes[-1].get(parameter.name)
        if not isinstance(bound, Struct) or bound.address is not None:
            continue
        if name in a.addressed and not is_comptime(bound):
            type_ = type_of(bound)
            assert isinstance(type_, t.StructType)
            whole = declare_struct(a, name, type_, bound, parameter.span, is_const=True)
            a.names.declare(name, whole)


def start_root(
    instance: Instance,
    function: FunctionValue,
    chain: tuple[tuple[Span, str], ...],
    what: str,
) -> ir.Function:
    """Return the IR function of a task, a handler or a function for the host or a pointer."""
    declaration = function.declaration
    callee = analyzer_of(instance, function, chain)
    parameters: list[RuntimeLocal] = []
    key: list[object] = [id(function.module), id(declaration)]
    for parameter in declaration.parameters:
        if parameter.type is None or parameter.is_comptime:
            fail(
                "type-mismatch",
                f"{what} `{declaration.name}` cannot have `anytype` or `comptime` parameters",
                declaration.name_span,
            )
        type_ = evaluate_type(callee, parameter.type)
        if what in ("a task", CONTROL_TASK):
            is_control = what == CONTROL_TASK
            _check_wavelet(declaration.name, type_, parameter.type.span, is_control=is_control)
        if what == "the function" and passing.by_address(type_):
            bound, local = passing.behind_address(
                callee, parameter.name, type_, parameter.type.span
            )
            key.append(("address", type_))
        else:
            callee.ir_type(type_, parameter.type.span)
            bound = local = callee.new_local(parameter.name, type_, is_const=True)
            key.append(("run time", type_, None))
        callee.names.declare(parameter.name, bound)
        parameters.append(local)
    callee.result = evaluate_type(callee, declaration.result)
    if callee.result != t.VOID and what != "the function":
        fail("type-mismatch", f"{what} `{declaration.name}` returns nothing", declaration.name_span)
    instance.keep_alive.append(function)
    known = instance.specializations.get(tuple(key))
    if known is None:
        known = instance.specializations[tuple(key)] = start(callee, declaration, parameters)
    return known


# --- builtins ------------------------------------------------------------------------------------


@evaluates(ast.BuiltinCall)
def _call_builtin(a: Analyzer, node: ast.BuiltinCall) -> Value:
    site = Site(node)
    builtin = find_builtin(site)
    arguments = _arguments(a, node, builtin)
    if builtin.is_internal:
        builtin.check_context(site, a.module)
    handler, emit = builtin.comptime, builtin.runtime
    is_known = all(
        is_comptime(v)
        and (
            not isinstance(v, Variable)
            or (i in builtin.operands and isinstance(v.type, t.ArrayType))
        )
        for i, v in enumerate(arguments)
    )
    is_late = not is_known or not arguments or handler is None or _waits(a, site, arguments)
    if emit is not None and builtin.context is not Where.VALUE and a.comptime_depth:
        builtin.refuse_in_function(site)
    if emit is not None and (builtin.context is not Where.VALUE or is_late):
        if a.comptime_depth and not is_known:
            _require_known(arguments, site, except_for=builtin.operands)
        return emit(site, a, arguments)
    if handler is None or builtin.context is not Where.VALUE:
        fail(
            "wrong-context",
            f"`@{site.name}` cannot be used in run-time code",
            site.span,
            help=f"it belongs {builtin.context.value}",
        )
    if not is_known:
        _require_known(arguments, site)
    return handler(site, a.module, arguments)


def _waits(a: Analyzer, site: Site, arguments: Sequence[Value]) -> bool:
    """Tell whether a builtin is left to run time, although its arguments are known."""
    match site.name, arguments:
        case "bitcast", (TypeValue(t.PointerType()), _):
            return True
        case "bitcast", (_, Struct(type=t.PackedType())):
            return True
        case "assert", _:  # it may never be reached
            return not a.comptime_depth
        case _:
            return False


def _arguments(a: Analyzer, node: ast.BuiltinCall, builtin: Builtin) -> list[Value]:
    if builtin.runtime is not None:
        return _evaluated(a, node, builtin)
    # A builtin without run-time code needs known arguments: calls in them are made here, too.
    a.comptime_depth += 1
    try:
        return _evaluated(a, node, builtin)
    finally:
        a.comptime_depth -= 1


def _evaluated(a: Analyzer, node: ast.BuiltinCall, builtin: Builtin) -> list[Value]:
    if not builtin.operands:
        return order.in_order(a, node.arguments)
    as_they_are = [n for i, n in enumerate(node.arguments) if i in builtin.operands]

    def one(a: Analyzer, argument: ast.Expression) -> Value:
        is_operand = any(argument is other for other in as_they_are)
        match argument:
            case ast.Dereference(base=ast.Name() | ast.Member()) if is_operand:
                return _pointee(a, argument)
            case _:
                pass
        return _operand(a, argument) if is_operand else evaluate(a, argument)

    return order.in_order(a, node.arguments, one)


def _pointee(a: Analyzer, node: ast.Dereference) -> Value:
    """Return an argument `p.*`; an array behind a run-time pointer has the type of the array."""
    value = _operand(a, node)
    pointer = type_of(_operand(a, node.base))
    match pointer:
        case t.PointerType(t.ArrayType() as array) if (
            isinstance(value, Runtime) and value.type == pointer
        ):
            return Runtime(array, value.expression)
        case _:
            return value


def _operand(a: Analyzer, node: ast.Expression) -> Value:
    """Return an argument that may be unknown even in comptime code (`@type_of(x)`)."""
    a.comptime_depth, outer = 0, a.comptime_depth
    try:
        return operand(a, node)
    finally:
        a.comptime_depth = outer


def _require_known(
    arguments: Sequence[Value], site: Site, *, except_for: Collection[int] = ()
) -> None:
    for index, value in enumerate(arguments):
        if index not in except_for and (isinstance(value, Variable) or not is_comptime(value)):
            not_comptime(value, site.argument_spans[index])


# --- which locals need an address ----------------------------------------------------------------


def addressed_names(node: ast.Statement) -> set[str]:
    """Return the names in a statement to which `&` is applied, as a whole or in part."""
    found: set[str] = set()
    for inner in tree.nodes(node):
        match inner:
            case ast.Unary(operator=ast.UnaryOperator.ADDRESS_OF, operand=addressed):
                _collect_root(addressed, found)
            case _:
                pass
    return found


def _collect_root(node: ast.Expression, found: set[str]) -> None:
    match node:
        case ast.Name(name=name):
            found.add(name)
        case ast.Index(base=base) | ast.Member(base=base):
            _collect_root(base, found)
        case _:
            pass


def _check_wavelet(name: str, type_: t.Type, span: Span, *, is_control: bool) -> None:
    """Fail unless a wavelet can carry the type of a task's parameter."""
    if t.fits_wavelet(type_):
        return
    match type_:
        case _ if is_control:
            advice = "a control wavelet has 16 bits for it: `task name(data: u16) void { … }`"
        case t.ArrayType() | t.StructType():
            advice = "take an element each time, or a `packed struct`"
        case _ if t.is_wide(type_):
            advice = "take a `u32` each time, and keep the first half in a variable"
        case _:
            advice = "take a `u16`, and `@as` or `@bitcast` it"
    fail(
        "type-mismatch",
        f"a wavelet carries 16 or 32 bits: `{name}` cannot take a `{type_}`",
        span,
        help=advice,
    )
