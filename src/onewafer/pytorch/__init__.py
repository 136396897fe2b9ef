"""Run PyTorch modules on a simulated wafer: capture, interception, `torch.compile` backend.

A call travels through the files in this order: `intercept` (which calls go to the wafer) or
`backend` (`torch.compile`) → `session` (which program, the ledger) → `generation` and
`language_model` (a call that goes on with a sequence of tokens) or `guarded` (a capture
holds while Dynamo's guards do) → `capture` and `lowering` (module to `graph`; `effects` undoes what
else its code does) → `execution.place` (bucket and rectangle) and `execution.Loader` → `programs`
(parameters and launches) → `report`. Beside them, `describe` captures a module of `weightless` size
for comparisons in `perf`.
"""

from onewafer.execution import (
    Fidelity,
    NonFiniteWarning,
    WaferOptions,
)
from onewafer.pytorch.attempts import HostFallbackWarning
from onewafer.pytorch.backend import onewafer
from onewafer.pytorch.capture import capture
from onewafer.pytorch.captured import CapturedCall
from onewafer.pytorch.describe import describe_call, describe_model, describe_module
from onewafer.pytorch.describe_script import describe_script
from onewafer.pytorch.intercept import intercept_calls
from onewafer.pytorch.report import (
    Report,
    build_report,
    render,
    to_json,
    write_json,
)
from onewafer.pytorch.run_on import run_on
from onewafer.pytorch.script import ScriptResult, run_script
from onewafer.pytorch.sequences import SequenceRoom, open_sequences
from onewafer.pytorch.session import Session
from onewafer.pytorch.weightless import build_weightless

__all__ = [
    "CapturedCall",
    "Fidelity",
    "HostFallbackWarning",
    "NonFiniteWarning",
    "Report",
    "ScriptResult",
    "SequenceRoom",
    "Session",
    "WaferOptions",
    "build_report",
    "build_weightless",
    "capture",
    "describe_call",
    "describe_model",
    "describe_module",
    "describe_script",
    "intercept_calls",
    "onewafer",
    "open_sequences",
    "render",
    "run_on",
    "run_script",
    "to_json",
    "write_json",
]
