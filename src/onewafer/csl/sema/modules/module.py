"""Modules: instances of files, their params bound, their globals analysed when first used."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures import Evaluate, Frame, Scope, compile_expression, compile_type
from onewafer.csl.sema.faults import Fault, fail, retired
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.rules import externs
from onewafer.csl.sema.values import (
    Array,
    FunctionValue,
    Program,
    Scalar,
    Struct,
    Text,
    TypeValue,
    Undefined,
    Value,
    Variable,
    Void,
    conversions,
    halves,
    is_plain,
    key_of,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, struct_at, whole
from onewafer.csl.syntax import ast
from onewafer.csl.syntax.foreign_types import nearest_types
from onewafer.diagnostics import Annotation
from onewafer.geometry import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.csl.sema.session import Session, SourceCode
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

_PREDECLARED: Final[Mapping[str, Value]] = {
    **{name: TypeValue(type_) for name, type_ in t.PREDECLARED.items()},
    **{direction.name: Scalar(t.DIRECTION, int(direction)) for direction in Direction},
    "undefined": Undefined(),
}


class _Expressions(dict[ast.Expression, Evaluate]):
    """Compiled top-level expressions of a file."""


class Owner(Program, Protocol):
    """The owner of a module, which binds its params and exports its variables."""

    session: Session

    def how_to_bind(self, module: Module, name: str) -> str:
        """Return advice for a param without a value."""
        ...

    def describe_param(self, module: Module, name: str) -> str:
        """Return a name for the value of a param in messages: its option, if one gave it."""
        ...

    def explain_param(self, module: Module, name: str, type_: t.Type, fault: Fault) -> None:
        """Rewrite the fault of a misfit value as advice on the option that gave the value."""
        ...

    def note_exported(self, module: Module, symbol: str, span: Span) -> None:
        """Note the symbol of an exported variable, or fail if another one has it."""
        ...


class ModuleInstance:
    """One instance of a file: every `@import_module` makes a new one."""

    def __init__(
        self,
        context: Owner,
        code: SourceCode,
        params: Mapping[str, Value],
        name: str,
        importer: Module | None = None,
    ) -> None:
        self.context = context
        self.session = context.session
        self.code = code
        self.params = params
        self.name = name
        """Prefix of the symbols; empty for the entry of a program."""
        self.importer = importer
        """The module that imported it; None for the entry of a program."""
        self._values: dict[str, Value] = {}
        self._variables: dict[str, Variable] = {}
        self._early: dict[str, Variable] = {}
        """Variables whose initial value contains their own address."""
        self._active: list[str] = []
        self._poisoned: set[str] = set()
        self._struct_names: dict[str, t.StructName] = {}
        self._function_types: dict[ast.Function, t.FunctionType] = {}
        context.modules.append(self)

    @property
    def memo_key(self) -> object:
        """A key that is equal for modules whose pure functions give equal results."""
        return self if self.context.has_read_program else self._key_by_params

    @cached_property
    def _key_by_params(self) -> object:
        if not all(map(is_plain, self.params.values())):
            return self
        params = tuple((name, key_of(value)) for name, value in self.params.items())
        known = self.session.module_keys
        return known.setdefault((self.path, self.context.is_layout, params), len(known))

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.code.file.source.path

    def color_names(self) -> dict[str, str]:
        """Return the top-level colors that the program used, by name, each as its number.

        Those in an array are called `name[index]`.
        """
        found: dict[str, str] = {}
        for name, value in self._values.items():
            match value:
                case Scalar(type=t.COLOR, value=number):
                    found[name] = str(number)
                case Array(elements=elements):
                    for index, element in enumerate(elements):
                        match element:
                            case Scalar(type=t.COLOR, value=number):
                                found[f"{name}[{index}]"] = str(number)
                            case _:
                                break
                case _:
                    pass
        return found

    @property
    def defining(self) -> str:
        """The name of the global whose value is being evaluated; empty: none."""
        return self._active[-1] if self._active else ""

    def qualify(self, name: str) -> str:
        """Return the symbol name of a declaration."""
        return f"{self.name}.{name}" if self.name else name

    def symbol(self, declaration: ast.Variable | ast.Function) -> str:
        """Return the name of a declaration in the image: its `linkname`, if it has one.

        What is exported has its own name in every module.
        """
        if declaration.link_name is not None:
            return self._name_of(declaration.link_name, "linkname")
        is_exported = declaration.storage is ast.Storage.EXPORT
        return declaration.name if is_exported else self.qualify(declaration.name)

    def _section(self, declaration: ast.Variable) -> str:
        node = declaration.link_section
        return self._name_of(node, "linksection") if node else ""

    def _name_of(self, node: ast.Expression, attribute: str) -> str:
        value = self.evaluate(node)
        if not isinstance(value, Text):
            what = f"a `{attribute}` is a string, not a `{type_of(value)}`"
            fail("type-mismatch", what, node.span)
        return value.value

    def read(self, name: str, span: Span) -> Value:
        """Return the value of a top-level name; of a run-time variable, its `Variable`."""
        value = self._values.get(name)
        return value if value is not None else self._resolve(name, span)

    def read_pointee(self, name: str, span: Span) -> Value:
        """Return the target of a pointer type; for a struct type being made, a stand-in by name."""
        node = _struct_of(self.code.declarations.get(name)) if name in self._active else None
        if node is None:
            return self.read(name, span)
        key = (node, self._key_by_params)
        return TypeValue(self._struct_names.setdefault(name, t.StructName(name, key)))

    def _resolve(self, name: str, span: Span) -> Value:
        declaration = self.code.declarations.get(name)
        if declaration is None:
            return self._predeclared(name, span)
        if name in self._poisoned:
            raise Fault(None)
        if name in self._active:
            chain = " → ".join((*self._active[self._active.index(name) :], name))
            self._poisoned.add(name)
            fail(
                "global-cycle",
                f"the value of `{name}` depends on itself: {chain}",
                span,
                help=_way_out(declaration),
            )
        self._active.append(name)
        try:
            with self.session.frozen(is_frozen=False):
                value = self._evaluate(declaration, span)
        except Fault as fault:
            self._poisoned.add(name)
            self.context.report(fault)
            raise Fault(None) from None
        finally:
            self._active.pop()
        self._values[name] = value
        early = self._early.get(name)
        if early is not None and isinstance(early.initial, Undefined):
            early.initial = value
            self._variables[name] = early
        match value:
            case TypeValue(t.StructType() | t.PackedType() as type_) if name in self._struct_names:
                self._struct_names[name].give_to(type_)
            case _:
                pass
        return value

    def _predeclared(self, name: str, span: Span) -> Value:
        value = _PREDECLARED.get(name)
        if value is None and (type_ := t.any_width(name)) is not None:
            return TypeValue(type_)
        if value is None:
            fail("unknown-name", self._unknown(name), span, help=self._suggest(name))
        return value

    def _unknown(self, name: str) -> str:
        if self.code.is_library:
            return f"`{self.path}` has no `{name}` that an SDK up to {retired.NEWEST_SDK} documents"
        return f"`{name}` is not declared"

    def _suggest(self, name: str) -> str:
        if nearest := nearest_types(name):
            return f"a type of CSL: {' or '.join(f'`{type_}`' for type_ in nearest)}"
        return suggest(name, (*self.code.declarations, *_PREDECLARED))

    def _evaluate(self, declaration: ast.Param | ast.Variable | ast.Function, span: Span) -> Value:
        match declaration:
            case ast.Function(storage=ast.Storage.EXTERN):
                return externs.find_function(self, declaration)
            case ast.Function():
                return FunctionValue(self, declaration)
            case ast.Param():
                return self._param(declaration, span)
            case ast.Variable():
                return self._variable(declaration)

    def read_lvalue(self, name: str, span: Span) -> Value:
        """Return the value of a top-level name of which an address is taken."""
        early = self.early_lvalue(name)
        if early is None or not isinstance(early.type, t.StructType | t.ArrayType):
            return self.read(name, span)
        return whole(early, span)

    def early_lvalue(self, name: str) -> Variable | None:
        """Return the variable of a name whose own initial value takes its address.

        None: the value is known already, or its type is not written in the declaration.
        """
        declaration = self.code.declarations.get(name)
        if name not in self._active or not isinstance(declaration, ast.Variable):
            return None
        node = declaration.type or _written_type(declaration.initializer)
        if node is None or declaration.storage is ast.Storage.EXTERN:
            return None
        variable = self._early.get(name)
        if variable is None:
            type_, span = self.evaluate_type(node), declaration.name_span
            if not t.can_vary(type_, self.session.half):
                return None
            symbol = self.qualify(name) if declaration.is_const else self.symbol(declaration)
            variable = Variable(symbol, type_, Undefined(), span, declaration.is_const)
            if declaration.is_const:
                variable.section = self._section(declaration)
            self._early[name] = variable
        return variable

    def _param(self, declaration: ast.Param, span: Span) -> Value:
        value = self.params.get(declaration.name)
        if value is None and declaration.default is not None:
            value = self.evaluate(declaration.default)
        if value is None:
            fail(
                "unbound-param",
                f"the param `{declaration.name}` has no value",
                span,
                secondary=(Annotation(declaration.name_span, "declared here"),),
                help=self.context.how_to_bind(self, declaration.name),
            )
        if declaration.type is None:
            return value
        type_ = self.evaluate_type(declaration.type)
        if type_ is t.COLOR and isinstance(value, Void) and declaration.default is not None:
            # `{}` stands for no color, for which modules of SDK 1.0 have a color as the default.
            value = self.evaluate(declaration.default)
        what = self.context.describe_param(self, declaration.name)
        try:
            return conversions.coerce(value, type_, declaration.name_span, what)
        except Fault as fault:
            self.context.explain_param(self, declaration.name, type_, fault)
            raise

    def _variable(self, declaration: ast.Variable) -> Value:
        is_exported = declaration.storage is ast.Storage.EXPORT
        if declaration.storage is ast.Storage.EXTERN:
            return externs.find_variable(self, declaration)
        type_ = self.evaluate_type(declaration.type) if declaration.type is not None else None
        initial = self._initial(declaration, type_)
        if declaration.is_const and not is_exported:
            return initial
        kept = initial
        if type_ is None and isinstance(initial, FunctionValue):
            kept = conversions.function_address(initial, declaration.name_span)
        type_ = type_ or type_of(kept)
        halves.refuse_other(type_, self.session.half, declaration.name_span)
        variable = self._make_variable(declaration, type_, kept)
        if declaration.is_const:  # code uses the known value; the memory is for the host
            self._variables[declaration.name] = variable
            return initial
        if isinstance(type_, t.StructType):
            return struct_at(address_of_variable(variable), declaration.name_span)
        return variable

    def read_in_memory(self, declaration: ast.Variable, span: Span) -> Value:
        """Return the value of a global; of an exported constant, its variable in memory."""
        value = self.read(declaration.name, span)
        if declaration.storage is not ast.Storage.EXPORT or not declaration.is_const:
            return value
        variable = self._variables[declaration.name]
        is_struct = isinstance(variable.type, t.StructType)
        return struct_at(address_of_variable(variable), span) if is_struct else variable

    def external_name(self, declaration: ast.Variable | ast.Function) -> str:
        """Return the name by which other modules know a variable or function."""
        is_named = declaration.link_name is not None
        return self.symbol(declaration) if is_named else declaration.name

    def _initial(self, declaration: ast.Variable, type_: t.Type | None) -> Value:
        node = declaration.initializer
        if node is None:
            if type_ is None or declaration.is_const:
                what = "constant" if declaration.is_const else "variable without a type"
                fail("type-mismatch", f"a {what} needs a value", declaration.name_span)
            return Undefined()
        value = self.evaluate(node)
        is_undefined = isinstance(value, Undefined) and not declaration.is_const
        if type_ is not None and not is_undefined:
            value = conversions.coerce(
                value, type_, node.span, f"the value of `{declaration.name}`"
            )
        return value

    def _make_variable(self, declaration: ast.Variable, type_: t.Type, initial: Value) -> Variable:
        # An undefined DSD is zeros, which may be copied; using it accesses address 0.
        has_dsd = any(part in t.DSDS for part in _parts(type_))
        is_undefined = isinstance(initial, Undefined) and not has_dsd
        if isinstance(initial, Undefined):
            initial = conversions.zero(type_, declaration.span)
        if isinstance(t.element(type_), t.StructType):
            _check_known(initial, declaration.span)
        parts = _parts(type_)
        if not (t.can_vary(type_, self.session.half) and parts and all(map(_has_size, parts))):
            fail(
                "type-mismatch",
                f"a variable cannot be of type `{type_}`, which has no size at run time",
                declaration.name_span,
                help=f"give it a sized type: `export const {declaration.name}: i16 = …`"
                if declaration.is_const
                else rules.how_to_vary(type_),
            )
        is_exported = declaration.storage is ast.Storage.EXPORT
        symbol = self.symbol(declaration)
        if is_exported:
            rules.check_width_for_host(type_, declaration.name_span)
            self.context.note_exported(self, symbol, declaration.name_span)
        alignment = None
        if declaration.alignment is not None:
            value = self.evaluate(declaration.alignment)
            alignment = rules.alignment(value, declaration.alignment.span)
        made = Variable(
            symbol,
            type_,
            initial,
            declaration.name_span,
            is_const=declaration.is_const,
            is_exported=is_exported,
            alignment=alignment,
            is_undefined=is_undefined,
            section=self._section(declaration),
        )
        early = self._early.get(declaration.name)
        return made if early is None else _become(early, made)

    def materialize(self, name: str, span: Span) -> Variable:
        """Return the variable of a top-level name; a constant gets one."""
        value = self.read(name, span)
        if isinstance(value, Variable):
            return value
        variable = self._variables.get(name)
        if variable is None:
            type_ = type_of(value)
            declaration = self.code.declarations.get(name)
            is_data = isinstance(value, Scalar | Array | Struct) and t.can_vary(
                type_, self.session.half
            )
            if declaration is None or not is_data:
                rules.no_address(span)
            name_span = declaration.name_span
            variable = Variable(self.qualify(name), type_, value, name_span, is_const=True)
            if isinstance(declaration, ast.Variable):
                variable.section = self._section(declaration)
            self._variables[name] = variable
        return variable

    # --- evaluation in the scope of the module ---------------------------------------------------

    def evaluate(self, node: ast.Expression) -> Value:
        """Evaluate a comptime expression in the module's scope."""
        known = self.code.kept(_Expressions)
        evaluate = known.get(node)
        if evaluate is None:
            evaluate = known[node] = compile_expression(node, Scope())
        return evaluate(Frame(self, 0))

    def evaluate_type(self, node: ast.Expression) -> t.Type:
        """Evaluate a type expression in the module's scope."""
        known = self.code.kept(_Expressions)
        evaluate = known.get(node)
        if evaluate is None:
            evaluate = known[node] = compile_type(node, Scope())
        return rules.expect_type(evaluate(Frame(self, 0)), node.span)

    def function_type(self, declaration: ast.Function) -> t.FunctionType:
        """Return the type of a function; parameters whose type depends on others are `anytype`."""
        type_ = self._function_types.get(declaration)
        if type_ is None:
            names = {p.name for p in declaration.parameters}
            parameters = tuple(
                None if p.type is None or _depends_on(p.type, names) else self.evaluate_type(p.type)
                for p in declaration.parameters
            )
            result = (
                t.ANYTYPE
                if _depends_on(declaration.result, names)
                else self.evaluate_type(declaration.result)
            )
            type_ = t.FunctionType(parameters, result, declaration.is_task)
            self._function_types[declaration] = type_
        return type_


def _parts(type_: t.Type) -> list[t.Type]:
    """Return the types in a variable: those of the fields of its structs, or its own."""
    element = t.element(type_)
    is_plain = not isinstance(element, t.StructType)
    return [type_] if is_plain else [part for _, part in t.leaves(element)]


def _has_size(type_: t.Type) -> bool:
    return t.num_bytes(type_) > 0 or isinstance(type_, t.ArrayType)


def _written_type(node: ast.Expression | None) -> ast.Expression | None:
    """Return the type written in a literal such as `T{ … }`; None: it is another expression."""
    match node:
        case ast.TypedStruct(type=type_) | ast.ArrayLiteral(type=type_):
            return type_
        case _:
            return None


def _become(early: Variable, made: Variable) -> Variable:
    """Copy the fields of `made` into `early`, to which pointers already refer."""
    for field in fields(made):
        setattr(early, field.name, getattr(made, field.name))
    return early


def _struct_of(declaration: ast.TopDeclaration | None) -> ast.StructType | None:
    """Return the `struct { … }` that a constant is declared as; None: it is something else."""
    match declaration:
        case ast.Variable(is_const=True, initializer=ast.StructType() as node):
            return node
        case _:
            return None


def _way_out(declaration: ast.TopDeclaration) -> str:
    """Return the advice for a global whose value depends on itself."""
    match declaration:
        case ast.Variable(name=name, initializer=ast.StructType()):
            return f"a struct refers to another of its type by a pointer, `*{name}`, or an index"
        case ast.Variable(type=None):
            return (
                "if only its address is needed, write its type: `: T = …`, `= T{ … }`; a `var` can "
                "also be assigned to while the program runs"
            )
        case ast.Variable(is_const=False):
            return "assign what refers to it while the program runs"
        case _:
            return ""


def _check_known(value: Value, span: Span) -> None:
    """Fail if a part of an initial value is the content of a run-time variable."""
    match value:
        case Struct(_, parts) | Array(_, parts):
            # `@zeros` and `@constants` repeat one element as often as the array is long.
            for part in {id(part): part for part in parts}.values():
                _check_known(part, span)
        case Variable():
            not_comptime(value, span)
        case _:
            pass


def _depends_on(node: ast.Expression, names: set[str]) -> bool:
    """Tell whether a type expression mentions one of the function's parameters."""
    match node:
        case ast.Name(name=name):
            return name in names
        case ast.ArrayType(dimensions=dimensions, element=element):
            return any(_depends_on(n, names) for n in (*dimensions, element))
        case ast.PointerType(pointee=pointee):
            return _depends_on(pointee, names)
        case ast.BuiltinCall(arguments=arguments):
            return any(_depends_on(n, names) for n in arguments)
        case ast.Call(callee=callee, arguments=arguments):
            return any(_depends_on(n, names) for n in (callee, *arguments))
        case ast.Binary(left=left, right=right):
            return _depends_on(left, names) or _depends_on(right, names)
        case ast.Unary(operand=operand) | ast.ComptimeExpression(operand=operand):
            return _depends_on(operand, names)
        case ast.IfExpression(condition=condition, then=then, otherwise=otherwise):
            parts = (condition, then, *((otherwise,) if otherwise else ()))
            return any(_depends_on(n, names) for n in parts)
        case ast.Member(base=base) | ast.Dereference(base=base):
            return _depends_on(base, names)
        case _:
            return False
