"""Run mesh programs on a simulated wafer, whoever asks for it; no torch.

In: graphs and arrays. Out: values, and what their launches cost. `placement` chooses the rectangle,
`executable` compiles, loads and launches, `auto` simulates few launches and derives the others
(`launch_times`, `launch_files`), `finiteness` tells where an infinity comes from, `sampling` where
cycles go.
"""

from onewafer.execution.activity import Activity
from onewafer.execution.arrays import Arrays, convert, is_same
from onewafer.execution.auto import AutoExecutor, Budget
from onewafer.execution.executable import Executor, Simulation, build_executor
from onewafer.execution.finiteness import FinitenessCheck, NonFiniteWarning
from onewafer.execution.launch_times import Origin
from onewafer.execution.options import Fidelity, WaferOptions, options_from_mapping
from onewafer.execution.placement import (
    Placed,
    check_room,
    choose_samples,
    place,
    place_sequence,
)
from onewafer.execution.progress import NotebookProgress, ProgressLine
from onewafer.execution.records import Phase, ProgramLedger, ProgramRecord

__all__ = [
    "Activity",
    "Arrays",
    "AutoExecutor",
    "Budget",
    "Executor",
    "Fidelity",
    "FinitenessCheck",
    "NonFiniteWarning",
    "NotebookProgress",
    "Origin",
    "Phase",
    "Placed",
    "ProgramLedger",
    "ProgramRecord",
    "ProgressLine",
    "Simulation",
    "WaferOptions",
    "build_executor",
    "check_room",
    "choose_samples",
    "convert",
    "is_same",
    "options_from_mapping",
    "place",
    "place_sequence",
]
