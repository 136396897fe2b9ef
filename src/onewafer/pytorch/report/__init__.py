"""The report of a run: values, JSON and a table.

In: the ledger of a session. Out: a `Report`.
"""

from onewafer.pytorch.report.building import Report, build_report
from onewafer.pytorch.report.share import describe_share, format_share
from onewafer.pytorch.report.table import render
from onewafer.pytorch.report.values import (
    FORMAT,
    Advice,
    AdviceKind,
    ElementWork,
    FlopReport,
    HostCalls,
    HostCause,
    InnerCalls,
    NotCounted,
    to_json,
    write_json,
)

__all__ = [
    "FORMAT",
    "Advice",
    "AdviceKind",
    "ElementWork",
    "FlopReport",
    "HostCalls",
    "HostCause",
    "InnerCalls",
    "NotCounted",
    "Report",
    "build_report",
    "describe_share",
    "format_share",
    "render",
    "to_json",
    "write_json",
]
