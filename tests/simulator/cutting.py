"""An engine that is saved, thrown away and made again, all the time: nothing must show."""

from dataclasses import replace

import numpy as np

from onewafer.simulator import StopReason
from onewafer.simulator.protocol.findings import joined
from onewafer.simulator.state.snapshot import UNKNOWN

SLICE_CYCLES = 7
"""Short and odd, so that cuts fall everywhere."""


class CutEngine:
    """Runs on other engines, in turn, each for one slice."""

    makers = ()
    slice_cycles = SLICE_CYCLES

    def __init__(self, loaded):
        self._loaded = loaded
        self._turn = 0
        self._engine = self.makers[0](loaded)
        self._found = []

    def run(self, *, max_cycles=None):
        left = max_cycles
        while left is None or left > self.slice_cycles:
            before = self._engine.cycle
            reason = self._engine.run(max_cycles=self.slice_cycles)
            if reason is StopReason.QUIESCENT:
                return reason
            left = None if left is None else left - (self._engine.cycle - before)
            self._cut()
        return self._engine.run(max_cycles=left)

    def _cut(self):
        self._found += self._engine.findings()
        snapshot = copied(self._engine.snapshot())
        self._turn += 1
        make = self.makers[self._turn % len(self.makers)]
        self._engine = make(self._loaded)
        self._engine.restore(snapshot)

    def findings(self):
        """Return the findings on all engines: each knows of those since it was made."""
        return joined((*self._found, *self._engine.findings()))

    def __getattr__(self, name):
        return getattr(self._engine, name)


def copied(snapshot):
    """Return a snapshot that shares no table with an engine; the state is the machine's."""
    tables = {name: table.copy() for name, table in snapshot.tables.items()}
    return replace(snapshot, stalls=np.copy(snapshot.stalls), **tables)


def without_wakes(snapshot):
    """Return a snapshot of an engine that cannot tell when units are looked at again."""
    copy = copied(snapshot)
    copy.elements["wake"] = copy.routers["wake"] = UNKNOWN
    copy.sources["is_awaited"] = 0
    for table in (copy.sources, copy.operations):  # a wait that was none leaves a trace there
        table["waiting_since"][table["reason"] < 0] = UNKNOWN
    return replace(copy, awaited_channels=copy.awaited_channels[:0])


def cutting(*makers, slice_cycles=SLICE_CYCLES):
    """Return an engine that changes among others at every cut."""
    return type("CutEngine", (CutEngine,), {"makers": makers, "slice_cycles": slice_cycles})
