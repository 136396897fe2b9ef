"""Traces on disk, and exports to the formats of other tools.

They lie apart from `onewafer.trace`, on whose files the machine code of the fast engine depends.
"""

from onewafer.trace.formats.binary import Trace, TraceWriter, read_trace
from onewafer.trace.formats.by_line import LineCost, costs_by_line, write_costs_by_line
from onewafer.trace.formats.header import ProgramNames, TraceHeader
from onewafer.trace.formats.perfetto import write_perfetto
from onewafer.trace.formats.reasons import Reason, Why, costs_of, reasons, reasons_of
from onewafer.trace.formats.sim_log import ALL_PARTS, LogPart, write_sim_log
from onewafer.trace.formats.summary import summarize
from onewafer.trace.formats.timeline import PeTimeline, Slice, build_timelines

__all__ = [
    "ALL_PARTS",
    "LineCost",
    "LogPart",
    "PeTimeline",
    "ProgramNames",
    "Reason",
    "Slice",
    "Trace",
    "TraceHeader",
    "TraceWriter",
    "Why",
    "build_timelines",
    "costs_by_line",
    "costs_of",
    "read_trace",
    "reasons",
    "reasons_of",
    "summarize",
    "write_costs_by_line",
    "write_perfetto",
    "write_sim_log",
]
