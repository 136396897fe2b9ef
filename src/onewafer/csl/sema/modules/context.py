"""The context of a module: the layout program or one instance of a PE program."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.csl.sema.closures import run_block
from onewafer.csl.sema.faults import Fault, Reports, fail
from onewafer.csl.sema.faults.names import list_params, suggest
from onewafer.csl.sema.modules.module import ModuleInstance
from onewafer.csl.sema.session.command_line import GivenParam
from onewafer.csl.sema.values import FunctionValue, Struct, Value, Void, key_of, type_of
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.csl.sema.faults import Chain
    from onewafer.csl.sema.session import Session, SourceCode
    from onewafer.csl.sema.session.contracts import Where
    from onewafer.csl.sema.types import Type
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span


MAX_MODULES = 1_000
"""Limit of the modules of the layout program, and of each instance."""


class Context:
    """The modules of one program, and the state that running their roots needs."""

    kind: Where
    is_layout = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self.reports = Reports(session.sink)
        self.report = self.reports.report
        self._pending: list[tuple[Module, Chain]] = []
        self._prefixes: dict[str, int] = {}
        self._exported: dict[str, Span] = {}
        """Symbol → the place that exports a variable under it."""
        self.modules: list[Module] = []
        """The modules made so far, in order."""
        self._library: dict[str, Module] = {}
        """Path → library module that the language itself needs, not imported by the program."""
        self._num_modules = 0

    @property
    def has_read_program(self) -> bool:
        """True if values may depend on coordinates of a PE or colors of queues, besides params."""
        return False

    def how_to_bind(self, module: Module, name: str) -> str:
        """Return advice for a param without a value."""
        if self._is_entry(module):
            return f"give it one with `--params={name}:…` or `param {name} = …;`"
        if not module.name:
            return f"give it one in the layout: `@set_tile_code(…, .{{ .{name} = … }})`"
        return f"give it one where the module is imported: `.{{ .{name} = … }}`"

    def describe_param(self, module: Module, name: str) -> str:
        """Return a name for the value of a param in messages: its option, if one gave it."""
        given = self._given(module, name)
        return f"the value of param `{name}`" if given is None else f"the value of `{given}`"

    def explain_param(self, module: Module, name: str, type_: Type, fault: Fault) -> None:
        """Rewrite the fault of a misfit value as advice on the option that gave the value."""
        given = self._given(module, name)
        found = fault.diagnostic
        if given is not None and found is not None:
            fault.diagnostic = replace(found, message=given.misfit(type_), help=given.advice(type_))

    def _given(self, module: Module, name: str) -> GivenParam | None:
        """Return the option that gave a param of the entry file its value; None: none did."""
        options = self.session.options
        for option, given in (("params", options.params), ("colors", options.colors)):
            if self._is_entry(module) and name in given:
                return GivenParam(option, name, given[name])
        return None

    def _is_entry(self, module: Module) -> bool:
        """Tell whether the command line binds the params of a module."""
        return not module.name and (self.is_layout or self.session.is_single_file)

    def import_module(self, importer: Module, path: str, params: Value, span: Span) -> Module:
        """Make a new instance of a file; its roots run in `run_pending`."""
        session = importer.session
        self._num_modules += 1
        if self._num_modules > MAX_MODULES:
            fail(
                "step-limit",
                f"`{importer.path}` imports `{path}`: more than {MAX_MODULES:,} modules are made",
                span,
                help="look for a file that imports itself, directly or through others",
            )
        code = session.source_code(session.find_file(path, importer.path, span))
        bound = self.bind(code, params, span)
        _check_import_cycle(importer, code, bound, span)
        if path.startswith("<memcpy/") and not session.options.uses_memcpy:
            session.sink.report(_memcpy_not_enabled(path, span))
        name = self._name_of(importer, path)
        module = ModuleInstance(self, code, bound, name, importer)
        self._pending.append((module, ((span, "imported here"), *self.reports.chain)))
        return module

    def library_function(self, importer: Module, path: str, name: str, span: Span) -> FunctionValue:
        """Return a function of a library module that the program need not import."""
        if path not in self._library:
            self._library[path] = self.import_module(importer, path, Struct(None, ()), span)
        function = self._library[path].read(name, span)
        assert isinstance(function, FunctionValue)
        return function

    def bind(self, code: SourceCode, params: Value, span: Span | None) -> Mapping[str, Value]:
        """Return params by name; a name that the file does not declare is a warning."""
        match params:
            case Struct(names, fields) if names is not None:
                bound = dict(zip(names, fields, strict=True))
            case Struct(_, ()) | Void():
                bound = {}
            case _:
                fail(
                    "type-mismatch",
                    f"params are given as a struct, this is of type `{type_of(params)}`",
                    span,
                    help="write `.{ .name = value }`",
                )
        declared = [n for n, d in code.declarations.items() if isinstance(d, ast.Param)]
        for name in bound:
            if name not in declared:
                self.session.sink.report(
                    Diagnostic(
                        "unknown-param",
                        f"`{code.file.source.path}` has no param `{name}`",
                        Annotation(span) if span is not None else None,
                        help=suggest(name, declared) or list_params(declared),
                        severity=Severity.WARNING,
                    )
                )
        return bound

    def _name_of(self, importer: Module, path: str) -> str:
        """Return the prefix of a module's symbols, numbered if it is taken.

        It is the name of the constant that holds the module, else the name of the file.
        """
        stem = posixpath.basename(path.strip("<>")).removesuffix(".csl")
        name = importer.qualify(importer.defining or stem)
        count = self._prefixes[name] = self._prefixes.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def note_exported(self, module: Module, symbol: str, span: Span) -> None:
        """Note the symbol of an exported variable, or fail if another one has it.

        A file that is imported twice clashes with itself. A clash in the library is reported where
        the program imports it.
        """
        is_library = module.code.is_library
        chain = self.reports.chain
        where = chain[0][0] if is_library and chain else span
        earlier = self._exported.get(symbol)
        self._exported[symbol] = where
        if earlier is not None:
            advice = 'give one of them another: `linkname("name")`, which may be a param'
            fail(
                "duplicate-declaration",
                f"two exported variables have the symbol `{symbol}`",
                where,
                secondary=(Annotation(earlier, "exported here, too"),),
                help=f"give the imports of `{module.path}` different params"
                if is_library
                else advice,
            )

    def run_roots(self, module: Module) -> None:
        """Carry out the module's imports and run its `comptime` blocks."""
        for declaration in module.code.declarations.values():
            if isinstance(declaration, ast.Variable) and self.is_root(declaration):
                try:
                    self.use_root(module.read_in_memory(declaration, declaration.name_span))
                except Fault as fault:
                    self.report(fault)
        for block in module.code.comptime_blocks:
            run_block(module, block.body)

    def is_root(self, declaration: ast.Variable) -> bool:
        """Tell whether a global is analysed even if nothing uses it."""
        match declaration.initializer:
            case ast.BuiltinCall(name="import_module"):
                return True
            case _:
                return declaration.storage is ast.Storage.EXPORT

    def use_root(self, value: Value) -> None:
        """Act on the value of a root global; the layout program has nothing to do."""

    def run_pending(self) -> None:
        """Run the roots of all modules imported so far and of those they import."""
        outer = self.reports.chain
        while self._pending:
            module, self.reports.chain = self._pending.pop(0)
            self.run_roots(module)
        self.reports.chain = outer


def _check_import_cycle(
    importer: Module, code: SourceCode, params: Mapping[str, Value], span: Span
) -> None:
    """Fail if the file is being imported by itself with the same params, which never ends."""
    wanted = _key_of_params(params)
    chain = [code.file.source.path]
    module: Module | None = importer
    while module is not None:
        chain.append(module.path)
        if module.code is code and _key_of_params(module.params) == wanted:
            fail(
                "import-cycle",
                f"`{chain[0]}` imports itself: {' → '.join(reversed(chain))}",
                span,
                help="move what both files need into a third one",
            )
        module = module.importer


def _key_of_params(params: Mapping[str, Value]) -> object:
    return tuple((name, key_of(params[name])) for name in sorted(params))


def _memcpy_not_enabled(path: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "memcpy-not-enabled",
        f"`{path}` is imported, and the program is compiled without memcpy",
        Annotation(span),
        notes=("the runtime refuses to copy or launch for such a program",),
        help="compile with `--memcpy`",
        severity=Severity.WARNING,
    )
