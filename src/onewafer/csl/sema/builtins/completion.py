"""The configuration of a DSD operation: microthread, priority, and actions on completion.

Settings that an operation omits are taken from the loads of its DSRs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.state import NO_IDS
from onewafer.csl.sema.runtime.maps.dsr_faults import complaint, varied_load
from onewafer.csl.sema.runtime.task_ids import unknown_ids, with_id
from onewafer.csl.sema.values import (
    Dsd,
    Dsr,
    Runtime,
    Scalar,
    Struct,
    Value,
    conversions,
    force,
    is_comptime,
    type_of,
)
from onewafer.csl.sema.values.structs import read_fields, read_flag, read_priority
from onewafer.image import NO_TASK, DsdConfig, DsdKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.state import DsrState
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor


def known_descriptors(a: Analyzer, operands: Sequence[Value]) -> list[DsdDescriptor]:
    """Return the known descriptors of the operands, the destination first."""
    found: list[DsdDescriptor] = []
    for value in operands:
        match value:
            case Dsd() | Runtime() if value.descriptor is not None:
                found.append(value.descriptor)
            case Dsr():
                state = _known_state(a, value)
                if state is not None and state.descriptor is not None:
                    found.append(state.descriptor)
            case _:
                pass
    return found


def _refuse_numbers(config: Value, span: Span) -> None:
    """Fail if a task to activate or unblock is a run-time number instead of an id."""
    for name in ("activate", "unblock"):
        chosen = config.get(name) if isinstance(config, Struct) else None
        if isinstance(chosen, Runtime) and isinstance(chosen.type, t.IntegerType):
            fail(
                "type-mismatch",
                f"`.{name}` takes the id of a task, this is of type `{chosen.type}`",
                span,
                help=f"make an id of the number: `.{name} = @get_local_task_id(…)`",
            )


def read_config(
    a: Analyzer, value: Value, span: Span, operands: Sequence[Value]
) -> DsdConfig | None:
    """Return the configuration in an operation's last argument; None: it is synchronous."""
    if not isinstance(value, Struct) or not is_comptime(value):
        _refuse_numbers(value, span)
        fail(
            "not-comptime",
            "the configuration of a DSD operation is a struct known at compile time",
            span,
            help="write `.{ .async = true, .activate = task_id }`",
        )
    fields = read_fields(
        value,
        "the configuration of a DSD operation",
        span,
        known=("async", "activate", "unblock", "priority", "ut_id", "on_control"),
    )
    loaded = loaded_config(a, operands, span)
    is_async = read_flag(fields, "async", span)
    if loaded is not None and not is_async:
        if "async" in fields:
            fail(
                "type-mismatch",
                "a DSR of this operation was loaded with `.async = true`, so it is asynchronous",
                span,
                help="leave `.async` out, or load the DSR without it",
            )
        _refuse_mixed_loads(a, operands, span)
        is_async = True
    if not is_async:
        for name in ("activate", "unblock", "on_control"):
            if name in fields:
                fail("missing-field", f"`.{name}` needs `.async = true`", span)
        return None
    _check_input(a, fields, operands, span)
    return _merged(read_completion(a, fields, operands, span), loaded)


def _merged(config: DsdConfig, loaded: DsdConfig | None) -> DsdConfig:
    """Return the settings of an operation; missing ones are taken from its DSRs."""
    if loaded is not None and config.activate == NO_TASK and config.unblock == NO_TASK:
        config = replace(config, activate=loaded.activate, unblock=loaded.unblock)
    if loaded is not None and not config.ends_on_control:
        config = replace(
            config,
            ends_on_control=loaded.ends_on_control,
            control_activate=loaded.control_activate,
            control_unblock=loaded.control_unblock,
        )
    return config


def _check_input(
    a: Analyzer, fields: Mapping[str, Value], operands: Sequence[Value], span: Span
) -> None:
    """Fail if an operation with `.on_control` has no fabric input."""
    vectors = [value for value in operands if isinstance(value, Dsr) or type_of(value) in t.DSDS]
    known = known_descriptors(a, operands)
    is_known = len(known) == len(vectors)
    if "on_control" in fields and is_known and all(d.kind is not DsdKind.FABIN for d in known):
        fail(
            "missing-fabric-input",
            "`.on_control` waits for control wavelets, and no operand is a fabin_dsd",
            span,
            help="leave it out, or read from a fabin_dsd",
        )


def loaded_config(a: Analyzer, operands: Sequence[Value], span: Span) -> DsdConfig | None:
    """Return the settings that the DSRs of an operation were loaded with."""
    for value in operands:
        if isinstance(value, Dsr):
            state = _state_of(a, value, span)
            if state is not None and state.config is not None:
                return state.config
    return None


def note_synchronous(a: Analyzer, operands: Sequence[Value], span: Span) -> None:
    """Make a later load with `.async = true` an error: it may reach this operation."""
    for value in operands:
        if isinstance(value, Dsr) and a.dsrs.last_load((value.type, value.index)) is None:
            fault = varied_load(value, span, None)
            reliance = a.instance.dsrs.never_async[value.type, value.index]
            reliance.rely(fault, complaint(a, fault))


def _refuse_mixed_loads(a: Analyzer, operands: Sequence[Value], span: Span) -> None:
    """Fail, now or at a later load, unless all loads of a DSR have `.async = true`."""
    for value in operands:
        if not isinstance(value, Dsr) or a.dsrs.last_load((value.type, value.index)) is not None:
            continue
        state = a.instance.dsrs.states.get((value.type, value.index))
        if state is None or state.config is None:
            continue
        fault = varied_load(value, span, state)
        state.is_always_async.rely(fault, complaint(a, fault))


def _state_of(a: Analyzer, dsr: Dsr, span: Span) -> DsrState | None:
    """Return the settings of a DSR's loads that apply to an operation."""
    key = (dsr.type, dsr.index)
    if (known := a.dsrs.last_load(key)) is not None:
        return known
    state = a.instance.dsrs.states.get(key)
    if state is None or state.config is None:
        return state
    fault = varied_load(
        dsr,
        span,
        state,
        what="different completion settings, and which of them hold here",
        label="some of them",
        user="the operation",
    )
    state.has_one_config.rely(fault, complaint(a, fault))
    return state


def read_completion(
    a: Analyzer, fields: Mapping[str, Value], operands: Sequence[Value], span: Span
) -> DsdConfig:
    """Return the microthread of an asynchronous operation, and its actions on completion."""
    microthread = _microthread(a, fields, operands, span)
    if "activate" in fields and "unblock" in fields:
        fail("type-mismatch", "an operation either activates or unblocks, not both", span)
    activate, unblock = NO_TASK, NO_TASK
    if "activate" in fields:
        activate = a.instance.tasks.local_task(fields["activate"], span)
    if "unblock" in fields:
        unblock = a.instance.tasks.channel_of(fields["unblock"], span)
    return DsdConfig(
        microthread,
        activate,
        unblock,
        read_priority(fields, span),
        *_control_actions(a, fields, span),
    )


_CONTROL_ACTIONS: Final = ("terminate", "activate", "unblock")


def _control_actions(a: Analyzer, fields: Mapping[str, Value], span: Span) -> tuple[bool, int, int]:
    """Return whether a control wavelet ends an operation, and its tasks to activate and unblock."""
    if "on_control" not in fields:
        return False, NO_TASK, NO_TASK
    chosen = read_fields(fields["on_control"], "`.on_control`", span, known=_CONTROL_ACTIONS)
    if len(chosen) != 1:
        fail(
            "type-mismatch",
            f"`.on_control` has one of {', '.join(_CONTROL_ACTIONS)}, not {len(chosen)}",
            span,
            help="write `.on_control = .{ .terminate = true }`, or `.{ .activate = task }`",
        )
    if "terminate" in chosen:
        return read_flag(chosen, "terminate", span), NO_TASK, NO_TASK
    if "activate" in chosen:
        return True, a.instance.tasks.local_task(chosen["activate"], span), NO_TASK
    return True, NO_TASK, a.instance.tasks.channel_of(chosen["unblock"], span)


def _microthread(
    a: Analyzer, fields: Mapping[str, Value], operands: Sequence[Value], span: Span
) -> int:
    """Return the microthread of an asynchronous operation."""
    machine = a.session.architecture
    value = fields.get("ut_id")
    loaded = _first_fabric_state(a, operands)
    if loaded is not None and isinstance(loaded.ut_id, Scalar):
        value = loaded.ut_id
    if value is not None:
        if not isinstance(value, Scalar) or value.type is not t.UT_ID:
            conversions.mismatch(value, t.UT_ID, span, "`ut_id`")
        return int(force(value, "ut_id", span))
    fabric = [d for d in known_descriptors(a, operands) if _is_of_fabric(d)]
    if not fabric:
        has_ut_id = machine.names_microthreads
        fail(
            "missing-microthread",
            f"an asynchronous operation on {machine.name} needs "
            f"{'`.ut_id`, or ' * has_ut_id}a fabric operand that is known here",
            span,
            help=f"{'give it `.ut_id = @get_ut_id(n)`, ' * has_ut_id}"
            "use a fabric DSD that is a constant (of a function that makes it: `comptime f(…)`), "
            "or leave out `.async`",
        )
    first = fabric[0]  # the destination, if that is a fabout_dsd
    _rely_on_queue(a, operands, span)
    if first.queue < 0:
        side = "input" if first.kind is DsdKind.FABIN else "output"
        fail(
            "missing-microthread",
            f"on {machine.name} the queue of a fabric operand is the microthread of an "
            f"asynchronous operation, and this fab{side.removesuffix('put')}_dsd names none",
            span,
            help=f"add `.{side}_queue = @get_{side}_queue(n)` to the DSD, or leave out `.async`",
        )
    return first.queue


def _rely_on_queue(a: Analyzer, operands: Sequence[Value], span: Span) -> None:
    """Fail, now or at a later load, if the queue of the first fabric operand varies."""
    for value in operands:
        if not isinstance(value, Dsr):
            if isinstance(value, Dsd | Runtime) and _is_of_fabric(value.descriptor):
                return
            continue
        state = _known_state(a, value)
        if state is None or not state.is_of_fabric:
            continue
        if a.dsrs.last_load((value.type, value.index)) is None:
            fault = varied_load(
                value,
                span,
                state,
                what="different queues, and which of them is the microthread here",
                label="one of them",
                user="the operation",
            )
            state.has_one_queue.rely(fault, complaint(a, fault))
        return


def _is_of_fabric(descriptor: DsdDescriptor | None) -> bool:
    return descriptor is not None and descriptor.kind.is_fabric


def _first_fabric_state(a: Analyzer, operands: Sequence[Value]) -> DsrState | None:
    """Return the load of the first fabric operand; None: it is not a register.

    This operand, the destination before the sources, determines the microthread.
    """
    for value in operands:
        state = _known_state(a, value) if isinstance(value, Dsr) else None
        descriptor = state.descriptor if state is not None else None
        if isinstance(value, Dsd | Runtime):
            descriptor = value.descriptor
        if _is_of_fabric(descriptor):
            return state
    return None


def with_loaded_ids(a: Analyzer, settings: Value, operands: Sequence[Value]) -> Value:
    """Return the settings of an operation with run-time ids from the loads of its registers."""
    loaded = next(
        (
            state
            for value in operands
            if isinstance(value, Dsr)
            and (state := _known_state(a, value)) is not None
            and state.config is not None
        ),
        None,
    )
    own = settings if isinstance(settings, Struct) else NO_IDS
    assert isinstance(own, Struct)
    if loaded is not None:
        has_end = own.get("activate") is not None or own.get("unblock") is not None
        for path, value in unknown_ids(loaded.ids).items():
            is_said = own.get("on_control") is not None if path[0] == "on_control" else has_end
            if path != ("ut_id",) and not is_said:
                settings = with_id(settings, path, value)
    first = _first_fabric_state(a, operands)
    if first is not None and isinstance(first.ut_id, Runtime):
        settings = with_id(settings, ("ut_id",), first.ut_id)
    return settings


def _known_state(a: Analyzer, dsr: Dsr) -> DsrState | None:
    key = (dsr.type, dsr.index)
    return a.dsrs.last_load(key) or a.instance.dsrs.states.get(key)
