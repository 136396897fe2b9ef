"""`@load_to_dsr_xdsr` and `@load_to_dsr_xdsr_sr`: DSDs that also need other registers.

The simulated machine keeps all of a DSD in its DSR. The registers beside it (`xdsr`, `sr`) are
named by a program because the SDK asks for them: only how many there are is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.registry import Where, comptime_builtin, runtime_builtin
from onewafer.csl.sema.builtins.vectors import load_register, loaded_at_start
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import VOID_VALUE, Dsd, Struct, Value, type_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.builtins.registry import Site
    from onewafer.csl.sema.modules import Module
    from onewafer.csl.sema.runtime.analyzer import Analyzer
    from onewafer.diagnostics import Span

MAX_STRIDE_REGISTERS: Final = 3
"""Of one DSD: as many as one has that only run time knows."""


@runtime_builtin("load_to_dsr_xdsr", 3, 4)
def load_to_dsr_xdsr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Load a circular buffer."""
    dsr, xdsr, dsd, *config = args
    spans = site.argument_spans
    _expect(xdsr, t.XDSR, spans[1], "the second argument is an extended DSR", "@get_xdsr(n)")
    if type_of(dsd) is not t.CIRCBUF_DSD:
        advice: dict[t.Type, str] = {
            t.MEM1D_DSD: "write `@load_to_dsr(dsr, dsd)`",
            t.MEM4D_DSD: "write `@load_to_dsr_xdsr_sr(dsr, xdsr, .{ … }, dsd)`",
        }
        fail(
            "type-mismatch",
            f"`@{site.name}` loads a circbuf_dsd, this is of type `{type_of(dsd)}`",
            spans[2],
            help=advice.get(type_of(dsd), "make one with `@get_dsd(circbuf_dsd, .{ … })`"),
        )
    load_register(site, a, dsr, dsd, config)
    return VOID_VALUE


@comptime_builtin("load_to_dsr_xdsr", 3, 4, context=Where.PROGRAM)
def load_circular_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Let a DSR hold a circular buffer from the start."""
    return loaded_at_start(site, module, args, load_to_dsr_xdsr)


@comptime_builtin("load_to_dsr_xdsr_sr", 4, 5, context=Where.PROGRAM)
def load_loops_at_start(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Let a DSR hold nested loops from the start."""
    return loaded_at_start(site, module, args, load_to_dsr_xdsr_sr)


@runtime_builtin("load_to_dsr_xdsr_sr", 4, 5)
def load_to_dsr_xdsr_sr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Load nested loops."""
    dsr, xdsr, strides, dsd, *config = args
    spans = site.argument_spans
    _expect(xdsr, t.XDSR, spans[1], "the second argument is an extended DSR", "@get_xdsr(n)")
    if not isinstance(strides, Struct) or (strides.names is not None and strides.fields):
        fail(
            "type-mismatch",
            f"the third argument is a tuple of stride registers, this is a `{type_of(strides)}`",
            spans[2],
            help="write `.{ @get_sr(0), @get_sr(1) }`, or `.{}` for none",
        )
    for register in strides.fields:
        _expect(register, t.SR, spans[2], "the tuple holds stride registers", "@get_sr(n)")
    if type_of(dsd) is not t.MEM4D_DSD:
        fail(
            "type-mismatch",
            f"`@{site.name}` loads a mem4d_dsd, this is of type `{type_of(dsd)}`",
            spans[3],
        )
    needed = num_stride_registers(dsd)
    if len(strides.fields) != needed:
        fail(
            "wrong-argument-count",
            f"this mem4d_dsd needs {needed} stride registers, {len(strides.fields)} are given",
            spans[2],
            help="one a loop but the innermost, and none for the loop around it if that has "
            "stride 1; three for a DSD that only run time knows",
        )
    load_register(site, a, dsr, dsd, config)
    return VOID_VALUE


def num_stride_registers(dsd: Value) -> int:
    """Return how many stride registers a mem4d_dsd takes (SDK documentation, "DSRs")."""
    if not isinstance(dsd, Dsd):
        return MAX_STRIDE_REGISTERS
    outer_loops = len(dsd.descriptor.extents) - 1
    is_dense = dsd.descriptor.strides[-1] == 1
    return max(0, outer_loops - is_dense)


def _expect(value: Value, type_: t.Type, span: Span, rule: str, example: str) -> None:
    if type_of(value) is not type_:
        message = f"{rule}, this is of type `{type_of(value)}`"
        fail("type-mismatch", message, span, help=f"write `{example}`")
