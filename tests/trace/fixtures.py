"""Traces of generated programs, in a file and back."""

import io

from onewafer.errors import DeadlockError, SimulationError
from onewafer.host.runs.tracing import make_header
from onewafer.simulator import Machine
from onewafer.trace.formats import TraceWriter, read_trace

MAX_CYCLES = 20_000


def run_traced(image, architecture, path, detail):
    """Run start-up and one launch of `main`; return the trace that was written, and the machine.

    None instead of the trace: the program failed, and PEs have gone on differently far (M2).
    """
    buffer = io.BytesIO()
    writer = TraceWriter(buffer, make_header(image, architecture, detail=detail))
    machine = Machine(image, architecture, engine="reference", sink=writer, detail=detail)
    ended_well = True
    try:
        machine.run(max_cycles=MAX_CYCLES)
        machine.launch("main")
        machine.run(max_cycles=MAX_CYCLES)
    except DeadlockError:
        ended_well = False
    except SimulationError:
        return None, machine
    writer.end(machine.cycle, is_well=ended_well)
    path.write_bytes(buffer.getvalue())
    return read_trace(path), machine
