"""The table of programs for people at a terminal. An unmeasured figure prints as a dash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from onewafer.execution.report.simulation_words import (
    explain_origins,
    show_dependences,
    show_fabric_values,
    show_formula_errors,
)
from onewafer.units import count_of, format_bytes, format_hertz, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onewafer.execution.report.values import ProgramReport, SimulationReport


def _show(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _show_bytes(count: int) -> str | None:
    return format_bytes(count) if count else None


def _rectangle(p: ProgramReport) -> str:
    groups = p.placement.sample_groups
    used = f"{p.width}×{p.height}, {count_of(p.num_pes, 'PE')} used"
    return used if groups == 1 else f"{used}, {groups:,} groups of samples"


def _show_calls(p: ProgramReport) -> str:
    rows = count_of(p.samples, "token" if p.is_in_tokens else "sample")
    return f"{p.calls:,} in {count_of(p.launches, 'launch')}, {rows}"


def _show_memory(program: ProgramReport) -> str:
    memory = program.memory
    share = memory.total_bytes / program.memory_bytes
    where = "in closed form" if memory.x is None else f"at PE ({memory.x}, {memory.y})"
    return f"{format_bytes(memory.total_bytes)} ({share:.0%}) {where}"


def _show_context(program: ProgramReport) -> str | None:
    cache = program.cache
    if cache is None:
        return None
    text = f"{count_of(cache.context, 'token')}"
    if cache.sequences > 1:
        text = f"{cache.sequences} sequences of {text}"
    return f"{text}; {cache.longest_context:,} would fit" if cache.longest_context else text


def _show_cache(program: ProgramReport) -> str | None:
    cache = program.cache
    if cache is None:
        return None
    return f"{format_bytes(cache.bytes_per_token)}, {cache.bytes_per_token_per_pe:.3g} B on each PE"


def _unless_sequence(
    show: Callable[[ProgramReport], str | None],
) -> Callable[[ProgramReport], str | None]:
    """Omit a row where launches of prefill and decode would be mixed."""
    return lambda program: show(program) if program.cache is None else None


def _of_simulation(
    show: Callable[[SimulationReport], str | None],
) -> Callable[[ProgramReport], str | None]:
    """Show a row for programs of fidelity `auto` only."""
    return lambda program: None if program.simulation is None else show(program.simulation)


_Row = tuple[str, "Callable[[ProgramReport], str | None]"]


def _costs_of(row: str, *, is_in_tokens: bool) -> Iterable[_Row]:
    """Return the rows for programs that count in samples, or in tokens."""

    def among(
        show: Callable[[ProgramReport], str | None],
    ) -> Callable[[ProgramReport], str | None]:
        return _unless_sequence(lambda p: show(p) if p.is_in_tokens is is_in_tokens else None)

    yield f"cycles a {row}", among(lambda p: _show(p.cycles_per_sample, "{:,.0f}"))
    yield f"time a {row}", among(lambda p: show_time(p.seconds_per_sample, p.clock_hertz))


_SECTIONS: tuple[tuple[_Row, ...], ...] = (
    (
        ("program", lambda p: f"{p.module}, {count_of(p.bucket_rows, 'row')}, {p.dtype}"),
        ("compiled because", lambda p: p.compiled_because),
        ("machine", lambda p: f"{p.arch_title}, {p.profile} timing, {p.fidelity} fidelity"),
        ("engine", lambda p: p.engine),
        ("rectangle", _rectangle),
        ("tile programs", lambda p: _show(p.tile_programs, "{:,}")),
    ),
    (
        ("SRAM, fullest PE", _show_memory),
        ("  code, runtime", lambda p: format_bytes(p.memory.code_bytes)),
        ("  weights", lambda p: format_bytes(p.memory.weight_bytes)),
        ("  activations", lambda p: format_bytes(p.memory.activation_bytes)),
        ("  KV cache", lambda p: format_bytes(p.memory.cache_bytes) if p.cache else None),
        ("  inputs of layers", lambda p: _show_bytes(p.memory.kept_bytes)),
        ("  gradients, moments", lambda p: _show_bytes(p.memory.training_bytes)),
        ("  buffers", lambda p: format_bytes(p.memory.buffer_bytes)),
    ),
    (
        ("KV cache a token", _show_cache),
        ("context", _show_context),
    ),
    (
        ("cycles from", _of_simulation(lambda s: explain_origins(s.origins))),
        ("closed form off by", _of_simulation(show_formula_errors)),
        ("cycles depend on", _of_simulation(show_dependences)),
        ("values from", _of_simulation(lambda _: "the host (PyTorch)")),
        ("simulated values", _of_simulation(show_fabric_values)),
        ("not simulated", _of_simulation(lambda s: s.not_simulated)),
    ),
    (
        ("cycles a launch", _unless_sequence(lambda p: _show(p.cycles_per_launch, "{:,.0f}"))),
        (
            "time a launch",
            _unless_sequence(lambda p: show_time(p.seconds_per_launch, p.clock_hertz)),
        ),
        *_costs_of("sample", is_in_tokens=False),
        *_costs_of("token", is_in_tokens=True),
        (
            "wavelet-hops a launch",
            _unless_sequence(lambda p: _show(p.wavelet_hops_per_launch, "{:,.0f}")),
        ),
        ("PEs busy", _unless_sequence(lambda p: _show(p.busy_pe_fraction, "{:.1%}"))),
        ("links busy", _unless_sequence(lambda p: _show(p.busy_link_fraction, "{:.1%}"))),
    ),
    (
        ("all calls", _show_calls),
        ("all bytes in", lambda p: f"{format_bytes(p.bytes_in)}, each weight once"),
        ("all bytes out", lambda p: format_bytes(p.bytes_out)),
        ("on the host", lambda p: "; ".join(p.on_host) or None),
        ("not finite", lambda p: p.not_finite),
        ("parameters sent", lambda p: f"{p.parameters_sent} once, {p.parameters_resent} again"),
    ),
)


def render_programs(programs: Iterable[ProgramReport]) -> Table:
    """Return the figures of programs, a column each."""
    shown = [*programs]
    table = Table(show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for _ in shown:
        table.add_column(overflow="fold")
    for section in _SECTIONS:
        table.add_section()
        for name, show in section:
            cells = [show(program) for program in shown]
            if any(cells):
                table.add_row(name, *(cell or "–" for cell in cells))
    return table


def show_time(seconds: float | None, clock_hertz: float) -> str | None:
    """Return a time and the clock that it holds for."""
    return None if seconds is None else f"{format_seconds(seconds)} at {format_hertz(clock_hertz)}"
