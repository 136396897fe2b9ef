"""`extern` declarations, resolved to what another module of the PE program exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import FunctionValue, Struct, Undefined, Value, Variable, type_of
from onewafer.csl.sema.values.in_memory import moved, pointer_to, struct_at
from onewafer.csl.syntax import ast, tree
from onewafer.diagnostics import Annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

Shared = ast.Variable | ast.Function


def named_externs(module: Module, body: ast.Statement) -> Iterator[Shared]:
    """Yield the `extern` declarations whose names occur in a body."""
    declared = {
        name: declaration
        for name, declaration in module.code.declarations.items()
        if isinstance(declaration, Shared) and declaration.storage is ast.Storage.EXTERN
    }
    if declared:
        names = {node.name for node in tree.nodes(body) if isinstance(node, ast.Name)}
        yield from (declaration for name, declaration in declared.items() if name in names)


def is_exported(module: Module, declaration: Shared) -> bool:
    """Tell whether a module imported so far exports the symbol of an `extern` declaration."""
    return bool(_exports(module, declaration))


def find_variable(module: Module, declaration: ast.Variable) -> Value:
    """Return the exported variable that an `extern` declaration names, or fail."""
    if declaration.initializer is not None:
        fail(
            "type-mismatch",
            f"`{declaration.name}` is `extern`: its value is where it is exported",
            declaration.initializer.span,
            help=f"leave the value out: `extern var {declaration.name}: …;`",
        )
    if declaration.type is None:
        fail("type-mismatch", "an `extern` variable needs a type", declaration.name_span)
    owner, exported = _exported_as(module, declaration)
    if not isinstance(exported, ast.Variable):
        _refuse_another(declaration, exported, "a function", "a variable")
    value = owner.read_in_memory(exported, declaration.name_span)
    type_ = module.evaluate_type(declaration.type)
    named = _retyped(value, type_, declaration.name_span)
    if named is None:
        _refuse_another(declaration, exported, f"a `{type_of(value)}`", f"a `{type_}`")
    if exported.is_const and not declaration.is_const:
        fail(
            "not-assignable",
            f"`{declaration.name}` is exported as a constant",
            declaration.name_span,
            secondary=(Annotation(exported.name_span, "exported here"),),
            help="write `extern const`",
        )
    return named


def find_function(module: Module, declaration: ast.Function) -> FunctionValue:
    """Return the exported function that an `extern` declaration names, or fail."""
    _check_parameters(module, declaration)
    owner, exported = _exported_as(module, declaration)
    if not isinstance(exported, ast.Function):
        _refuse_another(declaration, exported, "a variable", "a function")
    wanted, found = module.function_type(declaration), owner.function_type(exported)
    if wanted != found:
        _refuse_another(declaration, exported, f"a `{found}`", f"a `{wanted}`")
    return FunctionValue(owner, exported, is_extern=True)


def _check_parameters(module: Module, declaration: ast.Function) -> None:
    """Fail if an `extern` function has compile-time parameters or results."""
    wanted, half = module.function_type(declaration), module.session.half
    for parameter, type_ in zip(declaration.parameters, wanted.parameters, strict=True):
        if parameter.is_comptime or type_ is None or t.is_comptime_only(type_, half):
            fail(
                "type-mismatch",
                f"the parameter `{parameter.name}` of an `extern` function is known at run time",
                parameter.span,
                help="give it a type of run time, without `comptime`",
            )
    if t.is_comptime_only(wanted.result, half):
        fail(
            "type-mismatch",
            f"an `extern` function cannot return a `{wanted.result}`, which exists while "
            "compiling only",
            declaration.result.span,
            help="import the module that has it, and call `m.f(…)`",
        )


def _exported_as(module: Module, declaration: Shared) -> tuple[Module, Shared]:
    """Return the one export under the symbol of a declaration, and its module, or fail."""
    symbol, span = module.external_name(declaration), declaration.name_span
    found = _exports(module, declaration)
    if len(found) == 1:
        return found[0]
    what = "variable" if isinstance(declaration, ast.Variable) else "function"
    if not found:
        _refuse_missing(module, declaration, what)
    fail(
        "unresolved-extern",
        f"{len(found)} declarations of the program are exported as `{symbol}`",
        span,
        secondary=tuple(
            Annotation(name_span, "exported here")
            for name_span in dict.fromkeys(other.name_span for _, other in found)
        ),
        help="give each a symbol of its own with `linkname(…)`, and import its module once",
    )


def _refuse_missing(module: Module, declaration: Shared, what: str) -> NoReturn:
    symbol = module.external_name(declaration)
    private = [pair[1] for pair in _known_as(module, symbol) if pair[1] is not declaration]
    late = _late_imports(module)
    shown = {other.name_span: "this one is without `export`" for other in private}
    shown.update((name_span, "imported here, and known from here on only") for name_span in late)
    if late and not private:
        advice = f"import the module that exports it above the use of the {what}"
    else:
        keyword = "var" if what == "variable" else "fn"
        advice = (
            f"declare it in a module that is imported before the {what} is used: "
            f"`export {keyword} {symbol}…`"
        )
    fail(
        "unresolved-extern",
        f"no module of the program exports a {what} `{symbol}`",
        declaration.name_span,
        secondary=tuple(Annotation(name_span, label) for name_span, label in shown.items()),
        help=advice,
    )


def _late_imports(module: Module) -> list[Span]:
    """Return the imports in a file's functions that have not been carried out yet."""
    known = {owner.path for owner in module.context.modules}
    found: list[Span] = []
    for function in module.code.declarations.values():
        body = function.body if isinstance(function, ast.Function) else ()
        for node in tree.nodes(body):
            match node:
                case ast.BuiltinCall(
                    name="import_module", arguments=(ast.StringLiteral(value=path), *_)
                ) if known.isdisjoint(module.session.candidates(path, module.path)):
                    found.append(node.span)
                case _:
                    pass
    return found


def _exports(module: Module, declaration: Shared) -> list[tuple[Module, Shared]]:
    """Return all exports of the program under the symbol of a declaration."""
    known = _known_as(module, module.external_name(declaration))
    return [pair for pair in known if pair[1].storage is ast.Storage.EXPORT]


def _known_as(module: Module, symbol: str) -> list[tuple[Module, Shared]]:
    """Return the declarations with a symbol in all modules, except `extern` ones."""
    return [
        (owner, declaration)
        for owner in module.context.modules
        for declaration in owner.code.declarations.values()
        if isinstance(declaration, Shared)
        and declaration.storage is not ast.Storage.EXTERN
        and owner.external_name(declaration) == symbol
    ]


def _refuse_another(declaration: Shared, exported: Shared, found: str, wanted: str) -> NoReturn:
    fail(
        "type-mismatch",
        f"`{declaration.name}` is {found} where it is exported, not {wanted}",
        declaration.name_span,
        secondary=(Annotation(exported.name_span, "exported here"),),
        help="declare it as it is exported"
        if found != wanted
        else "a `struct` of each module is a type of its own: use that of the other, `m.T`",
    )


def _retyped(value: Value, type_: t.Type, span: Span) -> Value | None:
    """Return a variable seen as `type_`, a struct of another module; None: the fields differ."""
    if type_of(value) == type_:
        return value
    if not _is_alike(type_of(value), type_):
        return None
    match value, type_:
        case Struct(address=address), t.StructType() if address is not None:
            assert isinstance(address.type, t.PointerType)
            return struct_at(moved(address, 0, type_, is_const=address.type.is_const), span)
        case Variable(name, _, _, declared, is_const), _:
            at = pointer_to(value)
            return Variable(name, type_, Undefined(), declared, is_const, at=at)
        case _:
            return None


def _is_alike(one: t.Type, other: t.Type) -> bool:
    """Tell whether two types are equal but for the `struct` expressions that made them."""
    match one, other:
        case t.StructType(), t.StructType():
            is_same = (one.names, one.is_union) == (other.names, other.is_union)
            pairs = zip(one.fields, other.fields, strict=False)
            return is_same and all(_is_alike(field, wanted) for field, wanted in pairs)
        case t.ArrayType(), t.ArrayType():
            return one.dimensions == other.dimensions and _is_alike(one.element, other.element)
        case _:
            return one == other
