"""From tile assignments to instances: one analysis for all PEs on which it comes out the same.

PEs are grouped by file and by everything in their params that is not a number. Within a group,
the numbers that differ are tainted and the group's first PE is analysed; PEs for which one of the
decisions made on the way would have come out differently are left for the next round.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.handlers import handler_task
from onewafer.csl.sema.instance.initial_data import fill_globals
from onewafer.csl.sema.modules.instance_context import InstanceContext
from onewafer.csl.sema.modules.module import ModuleInstance
from onewafer.csl.sema.runtime import CONTROL_TASK, function_pointers, start_root
from onewafer.csl.sema.values import (
    Decision,
    FunctionValue,
    Number,
    Pointer,
    Scalar,
    Struct,
    Taint,
    Value,
    Variable,
    formats,
    key_of,
    show,
)
from onewafer.csl.sema.values.in_memory import address_of_variable
from onewafer.csl.sema.variants import Variant, name_variants
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Annotation
from onewafer.image import TEARDOWN_TASK, ChannelKind, QueueBinding, TaskKind, channel

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from onewafer.csl.sema.instance.handlers import Handlers
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.state import Binding
    from onewafer.csl.sema.layout.context import LayoutContext, TileCode
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class _Pe:
    """A PE to find an instance for."""

    tile: TileCode
    row: tuple[Number, ...]
    """The numbers of its params, then x and y."""


def analyze_instances(session: Session, layout: LayoutContext) -> list[ir.InstanceIr]:
    """Return the instances of all PEs that have code, in the order of their first PEs."""
    groups: dict[object, list[_Pe]] = {}
    shapes: dict[int, _Shape] = {}
    for y in range(layout.height):
        for x in range(layout.width):
            tile = layout.tiles.get((x, y))
            if tile is not None:
                row: list[Number] = []
                shape = _flatten(tile.params, tile.row, row, shapes)
                row += (x, y)
                groups.setdefault((id(tile.file), shape), []).append(_Pe(tile, tuple(row)))
    found = [variant for members in groups.values() for variant in _split(session, layout, members)]
    return sorted(name_variants(found), key=lambda i: (i.pes[0][1], i.pes[0][0]))


def _flatten(
    value: Value, source: tuple[int, ...], row: list[Number], shapes: dict[int, _Shape]
) -> object:
    """Append the numbers inside `value` to `row` and return everything else as a key.

    Tainted numbers are functions of `source`.
    """
    match value:
        case Scalar(type_, number):
            row.append(number if value.taint is None else value.taint.evaluate(source))
            return type_
        case Struct(names, fields):
            known = shapes.get(id(value))
            if known is None:
                known = shapes[id(value)] = _shape_of(value, names, fields, source, shapes)
            start = len(row)
            row.extend(known.numbers)
            for position, evaluate in known.tainted:
                row[start + position] = evaluate(source)
            return known.key
        case _:
            return key_of(value)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The form of a struct of params, apart from its numbers."""

    value: Value
    """Keeps the `id` of the struct from being given to another one."""
    key: object
    numbers: tuple[Number, ...]
    tainted: tuple[tuple[int, Callable[[Sequence[Number]], Number]], ...]
    """Position and function of each number that differs between the PEs of one `@set_tile_code`."""


def _shape_of(
    value: Value,
    names: tuple[str, ...] | None,
    fields: tuple[Value, ...],
    source: tuple[int, ...],
    shapes: dict[int, _Shape],
) -> _Shape:
    numbers: list[Number] = []
    key = (names, *(_flatten(field, source, numbers, shapes) for field in fields))
    evaluators = [s.taint.evaluate if s.taint is not None else None for s in _scalars(value)]
    tainted = tuple((i, f) for i, f in enumerate(evaluators) if f is not None)
    return _Shape(value, key, tuple(numbers), tainted)


def _scalars(value: Value) -> Iterator[Scalar]:
    """Yield the scalars of a value in the order of `_flatten`."""
    match value:
        case Scalar():
            yield value
        case Struct(_, fields):
            for field in fields:
                yield from _scalars(field)
        case _:
            pass


def _with_numbers(value: Value, numbers: Iterator[Number]) -> Value:
    """Return params with the numbers of one PE."""
    match value:
        case Scalar(type_):
            return Scalar(type_, next(numbers))
        case Struct(names, fields):
            return Struct(names, tuple(_with_numbers(field, numbers) for field in fields))
        case _:
            return value


def _split(session: Session, layout: LayoutContext, members: list[_Pe]) -> Iterator[Variant]:
    """Analyse a group until every PE of it has an instance."""
    remaining, splits = members, list[Decision]()
    while remaining:
        first = remaining[0]
        varying = [
            any(v != column[0] for v in column)
            for column in zip(*(pe.row for pe in remaining), strict=True)
        ]
        analysis = _Analysis(session, first, varying)
        analysis.run()
        rows = [pe for pe in remaining if pe is first or analysis.covers(pe.row)]
        covered = {id(pe) for pe in rows}
        remaining = [pe for pe in remaining if id(pe) not in covered]
        splits = _splitting(analysis, splits, remaining)
        analysis.set_local_colors(layout, rows)
        yield analysis.finish(rows, splits)
        if session.sink.has_errors:
            return


def _splitting(
    analysis: _Analysis, earlier: list[Decision], remaining: Sequence[_Pe]
) -> list[Decision]:
    """Return the decisions that split a group, one per place in the source."""
    own = [
        decision
        for decision in analysis.instance.decisions.entries
        if any(not _rows_agree(decision.evaluate, pe.row, decision.value) for pe in remaining)
    ]
    places = dict[tuple[object, str], Decision]()
    for decision in (*earlier, *own):
        places.setdefault((decision.span, decision.reason), decision)
    return list(places.values())


class _Analysis:
    """The analysis of one PE, which stands for all PEs whose decisions come out the same."""

    def __init__(self, session: Session, pe: _Pe, varying: Sequence[bool]) -> None:
        session.restart_quota()
        self.session = session
        self.pe = pe
        self.context = InstanceContext(session)
        self.instance = self.context.instance
        self._varying = varying
        self._position = 0
        self._columns: dict[str, tuple[int, t.Type]] = {}
        """Path of a param → its place in the row of a PE, and its type."""
        tile = pe.tile
        if tile.span is not None:
            label = f"required by the code of PE ({tile.x}, {tile.y})"
            self.instance.reports.chain = ((tile.span, label),)
        self._plain_params = _with_numbers(tile.params, iter(pe.row))
        self.params = self._taint(self._plain_params, ())
        self.instance.coordinates = (self._coordinate(-2, "x"), self._coordinate(-1, "y"))
        self.tasks: list[ir.TaskBinding] = []
        self.exports: list[ir.ExportedSymbol] = []
        self.fifos: list[ir.Fifo] = []

    def _taint(self, value: Value, path: tuple[str, ...]) -> Value:
        match value:
            case Scalar(type_, number):
                index = self._position
                self._position += 1
                self._columns[".".join(path)] = index, type_
                if not self._varying[index]:
                    return value
                taint = Taint(_pick(index), (".".join(path),), self.instance.decisions)
                return Scalar(type_, number, taint)
            case Struct(names, fields):
                labels = names if names is not None else tuple(map(str, range(len(fields))))
                parts = [
                    self._taint(field, (*path, label))
                    for label, field in zip(labels, fields, strict=True)
                ]
                return Struct(names, tuple(parts))
            case _:
                return value

    def _coordinate(self, index: int, name: str) -> Scalar:
        value = self.pe.row[index]
        self._columns.setdefault(name, (index, t.U16))
        if not self._varying[index]:
            return Scalar(t.U16, value)
        return Scalar(t.U16, value, Taint(_pick(index), (name,), self.instance.decisions))

    def run(self) -> None:
        """Analyse everything reachable."""
        instance, tile = self.instance, self.pe.tile
        code = self.session.source_code(tile.file)
        try:
            bound = self.context.bind(code, self.params, tile.span)
        except Fault as fault:
            instance.report(fault)
            return
        context = self.context
        module = ModuleInstance(context, code, bound, "")
        context.run_roots(module)
        context.run_pending()
        instance.resolve_requests()
        if self.session.is_single_file:
            self._check_all(module)
        for binding in list(instance.tasks.bindings.values()):
            with self._reporting(binding.span):
                self._task(binding)
        self._handler_task()
        for name, (target, span) in instance.exports.items():
            with self._reporting(span):
                self._export(name, target, span)
        instance.drain()
        context.run_pending()
        for request in instance.fifos.requests:
            with self._reporting(request.span):
                self.fifos.append(instance.fifo(request))
        instance.report_fifo_findings()
        fill_globals(instance)
        while function_pointers.finish(instance, self._pointed):
            instance.drain()
            fill_globals(instance)

    def _pointed(self, function: FunctionValue) -> ir.Function:
        """Return the IR of a function that is called through pointers."""
        span = function.declaration.name_span
        chain = ((span, "its address is taken"), *self.instance.reports.chain)
        return start_root(self.instance, function, chain, "the function")

    @contextmanager
    def _reporting(self, span: Span) -> Generator[None]:
        try:
            yield
        except Fault as fault:
            fault.add_location(span, "required here")
            self.instance.report(fault)

    def _check_all(self, module: Module) -> None:
        """Analyse every function of a file that is compiled without a layout."""
        for name, declaration in module.code.declarations.items():
            if not isinstance(declaration, ast.Function) or _is_elsewhere(declaration):
                continue
            if not _is_generic(module, declaration):
                function = module.read(name, declaration.name_span)
                assert isinstance(function, FunctionValue)
                span = declaration.name_span
                with self._reporting(span):
                    start_root(self.instance, function, (), "the function")

    def _task(self, binding: Binding) -> None:
        instance = self.instance
        chain = ((binding.span, "bound here"), *instance.reports.chain)
        what = CONTROL_TASK if binding.kind is TaskKind.CONTROL else "a task"
        function = start_root(instance, binding.task, chain, what)
        is_local = binding.kind is TaskKind.LOCAL
        gate = channel(ChannelKind.LOCAL_TASK, binding.task_id)
        self.tasks.append(
            ir.TaskBinding(
                binding.kind,
                binding.task_id,
                function,
                is_blocked=is_local and gate in instance.tasks.blocked,
                is_active=is_local and binding.task_id in instance.tasks.active,
            )
        )

    def _handler_task(self) -> None:
        """Bind a task that calls the handlers of torn down colors and of empty queues."""
        instance = self.instance
        teardown = self._handlers(instance.teardown_handlers)
        empty = self._handlers(instance.empty_queue_handlers)
        if empty:
            instance.reach_queues()
        if teardown or empty:
            instance.reaches_registers = True
            task = handler_task(teardown, empty)
            instance.functions.append(task)
            self.tasks.append(ir.TaskBinding(TaskKind.LOCAL, TEARDOWN_TASK, task))

    def _handlers(self, handlers: Mapping[Key, tuple[FunctionValue, Span]]) -> Handlers[Key]:
        """Return handlers in order, each with its function as IR."""
        calls: Handlers[Key] = []
        for key, (handler, span) in sorted(handlers.items(), key=itemgetter(0)):
            with self._reporting(span):
                _check_task_of_handlers_is_free(self.instance, span)
                chain = ((span, "set as a handler here"), *self.instance.reports.chain)
                calls.append((key, start_root(self.instance, handler, chain, "a handler"), span))
        return calls

    def _export(self, name: str, value: Value, span: Span) -> None:
        instance = self.instance
        match value:
            case FunctionValue():
                chain = ((span, "exported here"), *instance.reports.chain)
                target = start_root(instance, value, chain, "an exported function")
            case Variable():
                target = instance.address(address_of_variable(value))
            case Pointer():
                target = instance.address(value)
            case _:
                raise AssertionError(value)
        self.exports.append(ir.ExportedSymbol(name, target, span))

    def covers(self, row: Sequence[Number]) -> bool:
        """Tell whether a PE with these numbers gets the same instance."""
        for decision in self.instance.decisions.entries:
            if not _rows_agree(decision.evaluate, row, decision.value):
                return False
        try:
            for taint, _ in self.instance.columns:
                taint.evaluate(row)
        except (ArithmeticError, ValueError, struct.error):
            return False
        return True

    def set_local_colors(self, layout: LayoutContext, pes: Sequence[_Pe]) -> None:
        """Carry out the instance's `@set_local_color_config`s at all of its PEs."""
        for entry in self.instance.colors.local:
            try:
                for pe in pes:
                    layout.set_color(pe.tile.x, pe.tile.y, entry.color, entry.config, entry.span)
            except Fault as fault:
                self.instance.report(fault)
        for color, (config, span) in self.instance.colors.streams.items():
            for pe in pes:
                layout.set_stream(pe.tile.x, pe.tile.y, color, config, span)
        for color, span in self.instance.colors.filter_users.items():
            with self._reporting(span):
                for pe in pes:
                    layout.check_filter(pe.tile.x, pe.tile.y, color, span)

    def finish(self, pes: Sequence[_Pe], splits: Sequence[Decision]) -> Variant:
        """Return the instance of `pes`; `splits` are the decisions that keep it from other PEs."""
        deciding = dict.fromkeys(path for split in splits for path in split.params)
        rows = [pe.row for pe in pes]
        return Variant(self._instance(pes, splits), tuple(deciding), self._columns, rows)

    def _instance(self, pes: Sequence[_Pe], splits: Sequence[Decision]) -> ir.InstanceIr:
        instance = self.instance
        local = {channel(ChannelKind.LOCAL_TASK, b.task_id) for b in self.tasks}
        started = {
            gate
            for gate in instance.tasks.unblocked
            if gate >> 8 == ChannelKind.LOCAL_TASK
            or (TaskKind.DATA, gate & 0xFF) in instance.tasks.bindings
        }
        path = self.pe.tile.file.source.path
        decisions = tuple(
            ir.Decision(d.params, _show(d, self.pe.row), d.reason, d.span) for d in splits
        )
        return ir.InstanceIr(
            name=path,
            globals=tuple(instance.globals),
            functions=tuple(instance.functions),
            tasks=tuple(self.tasks),
            queues=tuple(
                QueueBinding(
                    queue, color, is_input, instance.control_tables.offset(queue) if is_input else 0
                )
                for (is_input, queue), (color, _) in sorted(instance.queues.items())
            ),
            blocked_channels=tuple(c for c in instance.tasks.blocked if c not in local),
            unblocked_channels=tuple(c for c in instance.tasks.unblocked if c not in started),
            exports=tuple(self.exports),
            fifos=tuple(self.fifos),
            loads=tuple(instance.dsrs.loads),
            reaches_registers=instance.reaches_registers,
            reaches_queues=instance.reaches_queues,
            rotations=tuple(rotation for rotation, _ in instance.rotations),
            control_mask=instance.control_mask,
            unmasks_exceptions=instance.unmasks_exceptions,
            exception_mask=instance.exception_mask,
            half=self.session.options.half,
            pes=tuple((pe.tile.x, pe.tile.y) for pe in pes),
            per_pe=tuple(
                tuple(formats.canonical_word(type_, taint.evaluate(pe.row)) for pe in pes)
                for taint, type_ in instance.columns
            ),
            path=path,
            params=_params(self._plain_params),
            decisions=decisions,
        )


def _check_task_of_handlers_is_free(instance: Instance, span: Span) -> None:
    """Fail if a task is bound to the id of the task that calls handlers."""
    binding = instance.tasks.bindings.get((TaskKind.LOCAL, TEARDOWN_TASK))
    if binding is not None:
        fail(
            "duplicate-task-binding",
            f"local task id {TEARDOWN_TASK} is taken: a program has handlers of teardown and empty "
            "queues, or a task of its own with this id",
            span,
            secondary=(Annotation(binding.span, "bound here"),),
            help="call the function from that task, or leave the id to the handlers",
        )


def _pick(index: int) -> Callable[[Sequence[Number]], Number]:
    return lambda row: row[index]


def _is_elsewhere(declaration: ast.Function) -> bool:
    return declaration.storage is ast.Storage.EXTERN


def _is_generic(module: Module, declaration: ast.Function) -> bool:
    """Tell whether a function can only be analysed for the arguments of a call."""
    type_ = module.function_type(declaration)

    def stands_alone(part: t.Type | None) -> bool:
        return part in (t.VOID, t.MEM1D_DSD, t.MEM4D_DSD) or (
            part is not None and t.register_type(part) is not None
        )

    return any(p.is_comptime for p in declaration.parameters) or not all(
        map(stands_alone, (*type_.parameters, type_.result))
    )


def _params(value: Value) -> tuple[tuple[str, str], ...]:
    match value:
        case Struct():
            return tuple((name, show(field)) for name, field in value.items())
        case _:
            return ()


def _show(decision: Decision, row: Sequence[Number]) -> str:
    """Return the outcome of a decision for a PE, as text."""
    try:
        value = decision.evaluate(row)
    except (ArithmeticError, ValueError, struct.error):
        return "undefined"
    match value:
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def explain_instances(program: ir.ProgramIr) -> str:
    """Return, as text, which instances a program has and which params made them differ."""
    lines: list[str] = []
    for instance in program.instances:
        x, y = instance.pes[0]
        lines.append(f"{instance.path}: {len(instance.pes)} PE(s), the first is ({x}, {y})")
        siblings = [i for i in program.instances if i.path == instance.path and i is not instance]
        if siblings:
            mine = dict(instance.params)
            differing = dict.fromkeys(
                name
                for other in siblings
                for name, value in other.params
                if mine.get(name) != value
            )
            names = ", ".join(f"`{name}` = {mine.get(name, '(absent)')}" for name in differing)
            lines.append(f"  params that differ from other instances: {names}")
        lines.extend(
            f"  split by {', '.join(f'`{p}`' for p in d.params)}: {d.reason} at {d.span}: {d.value}"
            for d in instance.decisions
        )
    return "\n".join(lines)


def _rows_agree(
    evaluate: Callable[[Sequence[Number]], Number], row: Sequence[Number], value: Number
) -> bool:
    """Tell whether a decision comes out the same for another PE."""
    try:
        return evaluate(row) == value
    except (ArithmeticError, ValueError, struct.error):
        return False
