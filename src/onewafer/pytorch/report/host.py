"""Work of the host, one entry a cause, and what would bring more of it to the wafer.

In: the records of a ledger. Out: values in which nothing is guessed: each piece of advice follows
from FLOP that were counted at a place, for a cause.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.report.values import (
    Advice,
    AdviceKind,
    ElementWork,
    FlopReport,
    HostCalls,
    HostCause,
    NotCounted,
)
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onewafer.errors import SourceLine
    from onewafer.pytorch.host_work import HostTask, HostWork
    from onewafer.pytorch.ledger import Ledger
    from onewafer.pytorch.places import Place

    _Records = list[tuple[HostTask, HostWork]]

_REASONS = {
    Cause.GRADIENT: "the result needs a gradient",
    Cause.BACKWARD: "backward pass of what is computed outside of modules",
    Cause.OUTSIDE: "computed outside of modules",
}
_NOT_COMPILED = {Cause.OUTSIDE: "not compiled for the wafer"}
_LEAST_SHARE = 0.01
"""The least share of all FLOP for which advice is given."""
_MOST_OPERATIONS = 3
_ENOUGH = 0.8
"""The share of the refused FLOP, after which no further refusal is named."""


def report_flop(ledger: Ledger) -> FlopReport | None:
    """Return the FLOP of a run and how many ran on the wafer; None: they were not counted."""
    if not ledger.host.counts_flop:
        return None
    on_wafer = sum(record.flop for record in ledger.programs)
    total = on_wafer + sum(work.flop for work in [*ledger.host.works.values()])
    share = on_wafer / total if total else None
    found = [
        NotCounted(name, _line_of(place), calls)
        for (name, place), calls in ledger.host.not_counted.most_common()
    ]
    return FlopReport(
        *(total, on_wafer, share),
        is_whole=ledger.host.sees_all_calls,
        not_counted=tuple(found),
        elements_on_wafer=round(
            sum(one.samples * one.program.graph.elements_per_sample for one in ledger.programs)
        ),
        elements_on_host=_report_elements(ledger),
    )


def _report_elements(ledger: Ledger) -> tuple[ElementWork, ...]:
    """Return element-wise work of the host by module class and line, most of it first."""
    found = Counter["tuple[str, Place | None]"]()
    for task, work in [*ledger.host.works.items()]:
        found[task.module, task.place] += work.elements
    return tuple(
        ElementWork(module, _line_of(place), results)
        for (module, place), results in found.most_common()
        if results
    )


def report_causes(ledger: Ledger, flop: FlopReport | None) -> tuple[HostCause, ...]:
    """Return the causes, the one with most FLOP first."""
    groups: defaultdict[tuple[object, ...], _Records] = defaultdict(list)
    for task, work in [*ledger.host.works.items()]:
        groups[task.cause, task.refusal].append((task, work))
    reasons = _REASONS if ledger.host.sees_all_calls else _REASONS | _NOT_COMPILED
    causes = [_report_cause(records, flop, reasons) for records in groups.values()]
    return tuple(sorted(causes, key=lambda cause: (-cause.flop, -cause.calls)))


def _report_cause(
    records: _Records, flop: FlopReport | None, reasons: Mapping[Cause, str]
) -> HostCause:
    """Return the entry of one cause, whose records differ in their places and modules."""
    records = sorted(records, key=lambda r: (r[0].whole is not None, -r[1].flop, -r[1].calls))
    task, _ = records[0]
    total = sum(work.flop for _, work in records)
    refusal = task.refusal
    return HostCause(
        cause=task.cause,
        reason=_explain(task, reasons),
        line=None if refusal is None else refusal.place,
        module=task.module or None,
        place=_line_of(task.place),
        num_places=len({record.place for record, _ in records}),
        calls=sum(work.calls for record, work in records if record.whole is None),
        nested_calls=sum(work.calls for record, work in records if record.whole is not None),
        flop=total,
        share=None if flop is None or not flop.total else total / flop.total,
        parts=tuple(
            HostCalls(one.module or None, one.whole, _line_of(one.place), work.calls, work.flop)
            for one, work in records
        ),
        has_parameters=any(record.has_parameters for record, _ in records),
    )


def _explain(task: HostTask, reasons: Mapping[Cause, str]) -> str:
    """Return the reason of a task, after words for a call with a gradient or a backward pass."""
    refusal = task.refusal
    if refusal is None:
        return reasons[task.cause]
    if task.cause is Cause.BACKWARD:
        return f"backward pass of what ran on the host: {refusal.reason}"
    is_trained = task.cause is Cause.GRADIENT
    return f"{reasons[task.cause]}: {refusal.reason}" if is_trained else refusal.reason


def _line_of(place: Place | None) -> SourceLine | None:
    return None if place is None else place.to_source_line()


def give_advice(
    ledger: Ledger, flop: FlopReport | None, causes: Sequence[HostCause], *, is_over: bool
) -> tuple[Advice, ...]:
    """Return what would raise the share of the wafer, the most effective first.

    Calls of a script that `is_over` get no further backward pass.
    """
    if flop is None or not flop.total:
        return ()
    found = [
        *_advise_no_grad(ledger, flop, is_over=is_over),
        *_advise_operations(flop, causes),
        *_advise_modules(flop, causes, what=_WHAT_IS_OFFERED[ledger.host.sees_all_calls]),
    ]
    worth = [advice for advice in found if advice.share >= _LEAST_SHARE]
    return tuple(sorted(worth, key=lambda advice: -advice.share))


def _advise_no_grad(ledger: Ledger, flop: FlopReport, *, is_over: bool) -> Iterator[Advice]:
    """Name places where calls needed a gradient that no backward pass asked for.

    What the wafer would refuse without a gradient, too, is not in the share.
    """
    by_place: defaultdict[object, _Records] = defaultdict(list)
    for task, work in ledger.host.of(Cause.GRADIENT):
        by_place[task.place].append((task, work))
    for records in by_place.values():
        place = records[0][0].place
        is_unused = all(not work.backpropagated_calls for _, work in records)
        is_decided = is_over or any(len(work.pending) < work.calls for _, work in records)
        if place is None or not is_unused or not is_decided:
            continue
        total = sum(work.flop for task, work in records if not task.is_refused_anyway)
        line = place.to_source_line()
        share = total / flop.total
        text = f"`torch.no_grad()` around {line.place} would offer the wafer {share:.0%} more"
        yield Advice(AdviceKind.NO_GRAD, text, (line,), total, share)


def _advise_operations(flop: FlopReport, causes: Sequence[HostCause]) -> Iterator[Advice]:
    """Name the refusals that hold back most."""
    refused = [cause for cause in causes if cause.cause is Cause.REFUSAL and cause.flop]
    total, held = sum(cause.flop for cause in refused), 0
    named: list[HostCause] = []
    for cause in refused[:_MOST_OPERATIONS]:
        if held >= _ENOUGH * total:
            break
        named.append(cause)
        held += cause.flop
    if not named:
        return
    rest = held / (flop.total - flop.on_wafer)
    verb = "holds" if len(named) == 1 else "hold"
    reasons = "; ".join(_name(cause) for cause in named)
    text = f"{count_of(len(named), 'refusal')} {verb} back {rest:.0%} of the rest: {reasons}"
    lines = tuple(line for cause in named if (line := cause.line or cause.place) is not None)
    yield Advice(AdviceKind.OPERATIONS, text, lines, held, held / flop.total)


def _name(cause: HostCause) -> str:
    line = cause.line or cause.place
    return cause.reason if line is None else f"{line.place}, {cause.reason}"


_WHAT_IS_OFFERED = {
    True: "in the `forward` of an `nn.Module`",
    False: 'in what `torch.compile(…, backend="onewafer")` gets',
}
"""True if all module calls are seen → where code is offered to the wafer."""


def _advise_modules(
    flop: FlopReport, causes: Iterable[HostCause], *, what: str
) -> Iterator[Advice]:
    """Name what could be offered if it were in a module, or compiled."""
    for cause in causes:
        if cause.cause is Cause.OUTSIDE and cause.place is not None:
            share = cause.flop / flop.total
            where = cause.place.place
            if cause.num_places > 1:
                where += f" and {count_of(cause.num_places - 1, 'other line')}"
            text = f"{where}, {share:.0%} of the FLOP, would be offered to the wafer {what}"
            yield Advice(AdviceKind.MODULES, text, (cause.place,), cause.flop, share)
