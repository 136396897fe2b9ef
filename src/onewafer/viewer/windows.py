"""Figures over all windows of a sampled run: the common scale of a map, and time series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onewafer.recording import WINDOW_STEP, column_of_window
from onewafer.viewer.heat_maps import mean_of, parts_of, values_of

if TYPE_CHECKING:
    from onewafer.recording import RecordingFile
    from onewafer.viewer.heat_maps import HeatMap


@dataclass(slots=True)
class Windows:
    """The windows of a recording; false if it has none."""

    recording: RecordingFile
    _of_maps: dict[str, tuple[float, list[float]]] = field(
        init=False, default_factory=dict[str, tuple[float, list[float]]]
    )
    """Name of a map → its highest value, and its mean in each window."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.recording.header.windows)

    def highest(self, drawn: HeatMap) -> float:
        """Return the highest value of any PE in any window."""
        return self._about(drawn)[0]

    def means(self, drawn: HeatMap) -> list[float]:
        """Return the mean over all PEs with a program, for each window."""
        return self._about(drawn)[1]

    def _about(self, drawn: HeatMap) -> tuple[float, list[float]]:
        if drawn.name not in self._of_maps:
            has_program = self.recording.column("program") >= 0
            highest, means = 0.0, list[float]()
            for number in range(len(self)):
                values = values_of(self.recording, drawn, number)
                highest = max(highest, float(values.max(initial=0)))
                means.append(mean_of(values, has_program))
            self._of_maps[drawn.name] = highest, means
        return self._of_maps[drawn.name]

    def activation_bytes(self) -> list[float]:
        """Return the mean bytes of activations of the PEs at work, for each window.

        Outside of launches, the value of the last window before.
        """
        of_operation = [one.activation_bytes for one in self.recording.header.operations]
        of_step = np.repeat(np.array(of_operation, np.int64), 2)
        found: list[float] = []
        for number in range(len(self) if of_operation else 0):
            steps = self.recording.column(column_of_window(number, WINDOW_STEP))
            steps = steps[(steps >= 0) & (steps < len(of_step))]
            before = found[-1] if found else 0.0
            found.append(float(of_step[steps].mean()) if steps.size else before)
        return found

    def shares_of_parts(self) -> list[list[float]]:
        """Return the share of PEs at each part of the model, for each window."""
        header = self.recording.header
        num_parts = len(header.parts)
        if not num_parts:
            return []
        columns = (
            parts_of(self.recording, column_of_window(number, WINDOW_STEP)).reshape(-1)
            for number in range(len(self))
        )
        counts = (np.bincount(column, minlength=num_parts) for column in columns)
        return [(count / header.num_pes).tolist() for count in counts]
