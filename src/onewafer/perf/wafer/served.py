"""Serving a model on wafers: launch times from the closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.mesh import largest_rectangle
from onewafer.perf.checks import check_job
from onewafer.perf.jobs import Serve
from onewafer.perf.launches import AtPositions, LaunchTime, Rows
from onewafer.perf.wafer.answers import describe
from onewafer.perf.wafer.inference import serve_demand
from onewafer.perf.wafer.latent import latent_forms
from onewafer.perf.wafer.layouts import (
    Asked,
    best_reading,
    prompt_load,
    with_rows_of_sequences,
)
from onewafer.perf.wafer.options import Mode
from onewafer.perf.wafer.plan import pace
from onewafer.perf.wafer.programs import Programs
from onewafer.perf.wafer.refusals import refusal
from onewafer.perf.wafer.serving import lay_out_requests
from onewafer.perf.wafer.system import machine as machine_of

if TYPE_CHECKING:
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.layouts import Layout
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.system import Machine, Wafers
    from onewafer.perf.wafer.workload import Load


@dataclass(frozen=True, slots=True)
class ServedWafers:
    """A `ServedSystem` of wafers: launches follow each other through the regions of a plan."""

    found: Layout
    machine: Machine
    """All wafers, of all replicas."""
    context: int
    reading: Load
    """Load of a launch that reads the most rows of a prompt."""
    _part_rows: dict[int, int] = field(default_factory=dict[int, int])
    """Tokens of a prompt → rows per launch."""
    _token_times: dict[int, AtPositions] = field(default_factory=dict[int, AtPositions])
    _prompt_times: dict[int, AtPositions] = field(default_factory=dict[int, AtPositions])

    is_mixed = False
    request_seconds = 0.0

    @property
    def name(self) -> str:
        """The name that the user wrote."""
        return self.machine.wafers.name

    @property
    def title(self) -> str:
        """The systems with their clock."""
        return self.machine.title

    @property
    def layout(self) -> str:
        """The regions of the plan."""
        text = describe(self.found.plan, self.found.regions)
        return f"{self.replicas} replicas, each a {text}" if self.replicas > 1 else text

    @property
    def replicas(self) -> int:
        """Copies of the model."""
        return self.found.replicas

    @property
    def num_slots(self) -> int:
        """Number of sequences whose caches fit."""
        return self.found.sequences

    @property
    def room_tokens(self) -> int:
        """Cache tokens of all slots, each with a whole context."""
        return self.num_slots * self.context

    @property
    def most_tokens(self) -> int:
        """Rows of a launch for which the regions have buffers."""
        return self.found.regions.load.rows

    @property
    def most_prompt_rows(self) -> int:
        """Rows per launch that read a long prompt fastest."""
        return self.reading.rows

    def part_rows(self, tokens: int) -> int:
        """Return the rows per launch that read a prompt of `tokens` fastest.

        This is the choice of `best_reading`, with interpolated times, since a server asks for
        prompts of every length.
        """
        found = self._part_rows.get(tokens)
        if found is None:
            most = min(self.most_prompt_rows, tokens)
            powers = (1 << power for power in range(most.bit_length()))
            found = min({*powers, most}, key=lambda rows: self._reading_seconds(tokens, rows))
            self._part_rows[tokens] = found
        return found

    def _reading_seconds(self, tokens: int, rows: int) -> float:
        middle = Rows(prompts=1, prompt_rows=rows, prompt_position=(tokens - rows) // 2)
        time = self.time(middle)
        return time.latency_seconds + (-(-tokens // rows) - 1) * time.period_seconds

    @property
    def idle_watts(self) -> float:
        """Power of all wafers with their cooling."""
        return self.machine.num_wafers * self.machine.system.idle_watts

    @property
    def clock_hertz(self) -> float:
        """The clock of the wafers."""
        return self.machine.clock_hertz

    @property
    def notes(self) -> tuple[str, ...]:
        """The limits of the kernels, and the clock."""
        rows = (
            "a launch has rows of sequences with caches of their own: kernels have rows of one "
            "sequence today, and the cost is that of as many of its rows"
        )
        return rows, self.machine.clock_note

    def time(self, rows: Rows) -> LaunchTime:
        """Return the time of a launch that has new tokens or a part of one prompt."""
        assert not (rows.tokens and rows.prompts), "a launch of wafers has rows of one kind"
        assert rows.prompts <= 1, "a launch of wafers reads one prompt"
        if rows.tokens:
            count, known, position = rows.tokens, self._token_times, rows.token_position
        else:
            count, known, position = rows.prompt_rows, self._prompt_times, rows.prompt_position
        times = known.get(count)
        if times is None:
            if rows.tokens:
                load = self.found.regions.load
                load = with_rows_of_sequences(load, count, capacity=self.context)
            else:
                load = prompt_load(self.found, replace(self.reading, capacity=self.context), count)
            times = known[count] = AtPositions(
                lambda at: self._launch_time(replace(load, position=at)), self.context - 1
            )
        return times.at(position)

    def _launch_time(self, load: Load) -> LaunchTime:
        layout = self.found
        regions = layout.regions.with_load(load, layout.machine)
        one = pace(layout.plan, regions, layout.machine)
        system, pes = self.machine.system, math.prod(largest_rectangle(self.machine.architecture))
        watts_of_pe = (system.busy_watts - system.idle_watts) / pes
        return LaunchTime(
            one.latency_seconds, one.period_seconds, one.busy_pe_seconds * watts_of_pe
        )


def serve_on_wafers(
    model: Model,
    system: str | Wafers,
    options: WaferOptions,
    *,
    sequences: int,
    context: int,
) -> ServedWafers:
    """Lay a model over wafers for `sequences` of `context` tokens, or for as many as fit.

    The layout is that of `compare --serve` for as many requests, half of whose tokens are prompts.

    Raises:
        ConfigurationError: the model does not fit; the message says what would do. Or it is no
            model that answers prompts.
    """
    job = Serve(
        concurrency=sequences, prompt=max(1, context // 2), answer=max(1, context - context // 2)
    )
    check_job(model, job)
    machine, programs = machine_of(system, options), Programs()
    demand = replace(serve_demand(job), forms=latent_forms(model, job))
    asked = Asked(model, demand, machine, options, programs)
    best: Layout | None = None
    for mode in (Mode.PIPELINE, Mode.WHOLE):
        if options.mode in (None, mode):
            one = lay_out_requests(asked, job, mode=mode, of_other_mode=best)
            best = min(filter(None, (best, one)), key=lambda one: one.seconds, default=None)
    if best is None:
        reason = refusal(model, demand, machine, options, programs, can_stream=False).reason
        raise ConfigurationError(f"{model.name} does not fit on {machine.title}: {reason}")
    reading = best_reading(best, tokens=job.prompt)
    assert reading is not None, "a layout that cannot read prompts does no serving"
    return ServedWafers(best, machine, context=context, reading=reading.load)
