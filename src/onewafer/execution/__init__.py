"""Run mesh programs on a simulated wafer, for a script, a server or a training loop.

In: graphs and arrays, never tensors of torch. Out: values, and the costs of launches.

    loader = Loader(WaferOptions(rectangle=(2, 2)))
    placed = place(graph, loader.architecture, loader.options)
    program = loader.load(Wanted(placed, "perceptron"))
    program.keep(weights, versions)     # written only where new or changed; they stay
    launched = program.launch({"x": x})
    launched.outputs["y"], launched.activity.cycles
    loader.ledger                       # the records of calls that `report` makes tables of

`placement` chooses the rectangle. `loading` makes the executor that the fidelity asks for:
`executable` (compiled and simulated, or in closed form) or `auto` (few launches are simulated, the
others derived from them by `launch_times`). `resident_program` keeps tensors, makes launches and
counts them; `kept_sequences` has several sequences of tokens in one; `csl_folder` writes programs
as files for people; `finiteness` tells where an infinity comes from, `sampling` where cycles go.
"""

from onewafer.execution.arrays import Arrays, convert, is_same
from onewafer.execution.csl_folder import check_csl_folder
from onewafer.execution.executable import Simulation
from onewafer.execution.executor import Launched
from onewafer.execution.finiteness import NonFiniteWarning
from onewafer.execution.kept_sequences import Extended, KeptSequences, WantedSequence
from onewafer.execution.loading import Loader, Wanted
from onewafer.execution.placement import (
    MOST_USUAL_PES,
    Placed,
    Trained,
    check_room,
    choose_samples,
    place,
    place_sequence,
    place_training,
    refuse_outside_of_groups,
)
from onewafer.execution.progress import NotebookProgress, ProgressLine
from onewafer.execution.recordings import Recordings
from onewafer.execution.records import Phase, PhaseRecord, ProgramLedger, ProgramRecord
from onewafer.execution.resident_program import ResidentProgram
from onewafer.execution.tallies import Tally
from onewafer.execution.watching import Observer
from onewafer.options import SHORTEST_CONTEXT, Draws, Fidelity, WaferOptions

__all__ = [
    "MOST_USUAL_PES",
    "SHORTEST_CONTEXT",
    "Arrays",
    "Draws",
    "Extended",
    "Fidelity",
    "KeptSequences",
    "Launched",
    "Loader",
    "NonFiniteWarning",
    "NotebookProgress",
    "Observer",
    "Phase",
    "PhaseRecord",
    "Placed",
    "ProgramLedger",
    "ProgramRecord",
    "ProgressLine",
    "Recordings",
    "ResidentProgram",
    "Simulation",
    "Tally",
    "Trained",
    "WaferOptions",
    "Wanted",
    "WantedSequence",
    "check_csl_folder",
    "check_room",
    "choose_samples",
    "convert",
    "is_same",
    "place",
    "place_sequence",
    "place_training",
    "refuse_outside_of_groups",
]
