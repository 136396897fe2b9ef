"""Machines as values: what every other package may know about a generation.

The numbers live in `catalog/<name>.toml`, each with its unit and source. `load_architecture`
reads them; nothing else in onewafer holds a hardware number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.arch.timing import Timing


class DataTaskKey(StrEnum):
    """The kind of thing that a data task id names."""

    COLOR = "color"
    INPUT_QUEUE = "input_queue"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One machine with one timing profile."""

    name: str
    """`wse2`, `wse3`, `toy`, or a variant of one, `wse3:hop_cycles=1`."""
    title: str
    generation: str
    """The base machine, which `@is_arch` accepts beside the machine's own name."""
    fabric_width: int
    fabric_height: int
    margin_west: int
    """Columns (rows) of PEs that memcpy takes at each side of a program."""
    margin_east: int
    margin_north: int
    margin_south: int
    memory_bytes: int
    """Bytes of SRAM a PE, code included."""
    runtime_bytes: int
    """Bytes that an empty memcpy program takes."""
    num_colors: int
    reserved_colors: tuple[int, ...]
    """Colors of memcpy."""
    switchable_colors: tuple[int, ...]
    """Colors whose routers have switch positions."""
    num_microthreads: int
    num_dsrs: int
    """DSRs of each kind."""
    input_queue_words: tuple[int, ...]
    """Depth of each input queue in wavelets; the length is the number of queues."""
    output_queue_words: tuple[int, ...]
    reserved_input_queues: tuple[int, ...]
    """Queues of memcpy."""
    reserved_output_queues: tuple[int, ...]
    first_local_task_id: int
    last_local_task_id: int
    reserved_local_task_ids: tuple[int, ...]
    num_control_task_ids: int
    reserved_control_task_ids: tuple[int, ...]
    num_rotations: int
    """Data tasks that a control task can replace now and then."""
    num_prngs: int
    """Random generators of a PE (`@set_active_prng`)."""
    has_control_table: bool
    """True if control tasks can have a task table of their own."""
    data_task_key: DataTaskKey
    queues_need_initialization: bool
    """True if a queue serves a color only after `@initialize_queue`."""
    names_microthreads: bool
    """True if a program chooses the microthread of an operation (`.ut_id`); else its queues do."""
    has_all_fifo_actions: bool
    """True if a FIFO says what happens when it is full, and may let an operation wait or fail."""
    num_fabric_inputs: int
    """Fabric DSDs that one operation can read."""
    has_color_swap: bool
    """True if a router can give a wavelet the other color of its pair, `color ^ 1`."""
    io_bytes_per_second: float
    """Bandwidth across the edge of the wafer, for models of whole systems."""
    clock_hertz: float
    """Default clock; every time is cycles divided by the clock the user chose."""
    profile: str
    """`silicon` or `sdk`."""
    timing: Timing
