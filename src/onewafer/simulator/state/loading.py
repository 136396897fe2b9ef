"""From a wafer image to the initial state, and the tables that every engine derives from it.

In: an image. Out: memory with data and patches, start-up flags, and per tile program the
input queue of each color. Images with features that no engine simulates are refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import DataTaskKey
from onewafer.errors import ImageError
from onewafer.image import (
    MASKABLE,
    NUM_COLORS,
    ChannelKind,
    ColorConfig,
    DsdDescriptor,
    DsdKind,
    Field,
    Opcode,
    OperandMode,
    PatchTarget,
    SwitchPosition,
    TaskKind,
    TileProgram,
    decode_operand,
    verify,
)
from onewafer.simulator.arithmetic.queue_words import NO_COLOR, NUM_QUEUES
from onewafer.simulator.state.schema import FIRST_THREAD, MachineState, make_state
from onewafer.simulator.state.sram import allocate, nonzero_stretches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import WaferImage


@dataclass(frozen=True, slots=True)
class ColorAttachment:
    """The destination of wavelets of a color at a PE (M43)."""

    color: int
    queue: int
    """−1: the private channel of a data task."""
    words: int


def check_program(image: WaferImage, architecture: Architecture) -> None:
    """Raise `ImageError` if an image breaks its contract or has unsimulated features."""
    verify(image, architecture)
    refuse_unsupported(image, architecture)


def load_state(image: WaferImage, architecture: Architecture) -> MachineState:
    """Return the state of every PE at cycle 0; the image has passed `check_program`."""
    state = make_state(
        image.width * image.height,
        memory_bytes=architecture.memory_bytes,
        num_registers=max((program.num_registers for program in image.programs), default=1),
        num_dsrs=architecture.num_dsrs,
        num_rotations=num_rotations(image),
        num_fifos=num_fifos(image),
    )
    program_of_pe = image.program_of_pe.reshape(-1)
    for index, program in enumerate(image.programs):
        pes = np.flatnonzero(program_of_pe == index)
        for first, end in nonzero_stretches(program.data, program.data_address):
            place = slice(program.data_address + first, program.data_address + end)
            state.memory[pes, place] = program.data[first:end]
        _apply_data_patches(program, pes, state)
        _set_flags(program, pes, state, architecture)
        _load_dsrs(program, pes, state)
        for number, rotation in enumerate(program.rotations):
            state.rotation_counts[pes, number] = rotation.initial
        state.control_masks[pes] = program.control_mask
        state.unmasked_exceptions[pes] = ~program.exception_mask & MASKABLE
        if program.reaches_queues:
            state.queue_colors[pes] = queue_colors_at_load(program, architecture)
    return state


def num_rotations(image: WaferImage) -> int:
    """Return the largest number of rotations of a program (M142)."""
    return max((len(program.rotations) for program in image.programs), default=0)


def num_fifos(image: WaferImage) -> int:
    """Return the largest number of FIFOs of a program (M110)."""
    return max((len(program.fifos) for program in image.programs), default=0)


def written_at_load(image: WaferImage, architecture: Architecture) -> NDArray[np.uint8]:
    """Return `[num_pes, memory_bytes]`, 1 where a byte of memory has an initial value."""
    written = allocate(image.width * image.height, architecture.memory_bytes)
    program_of_pe = image.program_of_pe.reshape(-1)
    for index, program in enumerate(image.programs):
        row = np.zeros(architecture.memory_bytes, np.uint8)
        row[program.data_address : program.data_address + len(program.data)] = 1
        for symbol in program.symbols:
            if symbol.is_undefined:
                row[symbol.address : symbol.address + symbol.num_bytes] = 0
        written[program_of_pe == index] = row
    return written


def input_attachments(
    program: TileProgram, architecture: Architecture
) -> dict[int, ColorAttachment]:
    """Return the input channels of a program by color."""
    depths = architecture.input_queue_words
    attachments: dict[int, ColorAttachment] = {}
    for binding in program.queues:
        if binding.is_input:
            attachment = ColorAttachment(binding.color, binding.queue, depths[binding.queue])
            attachments.setdefault(binding.color, attachment)
    for descriptor in program.dsds:
        if descriptor.kind is DsdKind.FABIN:
            color = fabric_color(descriptor, program, architecture)
            if color == UNBOUND:
                continue
            words = depths[descriptor.queue] if descriptor.queue >= 0 else min(depths)
            attachments.setdefault(color, ColorAttachment(color, descriptor.queue, words))
    for task in program.tasks:
        if task.kind is TaskKind.DATA:
            color = data_task_color(task.task_id, program, architecture)
            attachments.setdefault(color, ColorAttachment(color, -1, min(depths)))
    for color in (*_unblocked_colors(program), *_colors_of_local_tasks(program, architecture)):
        attachments.setdefault(color, ColorAttachment(color, -1, min(depths)))
    return attachments


UNROUTED = ColorConfig((SwitchPosition(0, 0),))
"""The configuration of a color that the image does not route, but programs may (M131)."""


def changeable_colors(image: WaferImage, architecture: Architecture) -> frozenset[int]:
    """Return the colors whose registers programs of the image can access (M131).

    Empty if no program accesses registers; else all colors that the image routes or names.
    """
    if not any(program.reaches_registers for program in image.programs):
        return frozenset()
    is_routed: NDArray[np.bool_] = np.any(image.config_of_color >= 0, axis=(0, 1))
    colors = {color for color in range(NUM_COLORS) if is_routed[color]}
    for program in image.programs:
        colors |= {binding.color for binding in program.queues}
        colors |= input_attachments(program, architecture).keys()
        colors |= {dsd.color for dsd in program.dsds if dsd.color != UNBOUND}
    if any(config.swap_mask for config in image.color_configs):
        colors |= {color ^ 1 for color in colors}
    return frozenset(colors)


HOST_STREAM_WORDS = 256
"""Wavelets of a color that wait at a PE for the host before their sender has to wait (M73)."""


def host_streams(image: WaferImage) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the host sends, and where it receives, each `[height, width, colors]`."""
    sends = np.array([*(c.from_host for c in image.color_configs), False])
    receives = np.array([*(c.to_host for c in image.color_configs), False])
    return sends[image.config_of_color], receives[image.config_of_color]


def _unblocked_colors(program: TileProgram) -> list[int]:
    """Return the colors that a program unblocks by number, at start-up or later (M43)."""
    encoded = list(program.unblocked_channels)
    is_unblock = program.code[:, Field.OPCODE] == Opcode.UNBLOCK
    encoded += program.code[is_unblock, Field.IMM].tolist()
    return [e & 0xFF for e in encoded if e >> 8 == ChannelKind.COLOR]


def _colors_of_local_tasks(program: TileProgram, architecture: Architecture) -> list[int]:
    """Return the colors whose control wavelets start tasks as on an unblocked color (M96).

    On machines where colors and local tasks share numbers: the numbers of local tasks.
    """
    if architecture.data_task_key is not DataTaskKey.COLOR:
        return []
    if all(task.kind is not TaskKind.CONTROL for task in program.tasks):
        return []
    local = (task.task_id for task in program.tasks if task.kind is TaskKind.LOCAL)
    return [number for number in local if number < NUM_COLORS]


def queue_colors_at_load(program: TileProgram, architecture: Architecture) -> NDArray[np.uint8]:
    """Return the colors of the queues that a program can bind to others (M135)."""
    colors = np.full(2 * NUM_QUEUES, NO_COLOR, np.uint8)
    ties_all = architecture.queues_need_initialization
    named = set[int]() if ties_all else _queues_of_named_colors(program)
    for binding in program.queues:
        if ties_all or (binding.is_input and binding.queue not in named):
            colors[binding.queue + (0 if binding.is_input else NUM_QUEUES)] = binding.color
    return colors


def _queues_of_named_colors(program: TileProgram) -> set[int]:
    """Return the input queues of DSDs that name their own color."""
    return {
        dsd.queue
        for dsd in program.dsds
        if dsd.kind is DsdKind.FABIN and dsd.color != UNBOUND and dsd.queue >= 0
    }


UNBOUND = -1
"""Color of a fabric DSD whose queue serves no color, or another than the DSD's."""


def fabric_color(
    descriptor: DsdDescriptor, program: TileProgram, architecture: Architecture
) -> int:
    """Return the color that a fabric DSD reads or writes, or `UNBOUND` (M43)."""
    if not architecture.queues_need_initialization and descriptor.color != UNBOUND:
        return descriptor.color
    is_input = descriptor.kind is DsdKind.FABIN
    bound = _bound_color(program, descriptor.queue, is_input=is_input)
    return bound if bound is not None and descriptor.color in (-1, bound) else UNBOUND


def color_now(descriptor: DsdDescriptor, colors: Sequence[int], at_load: int) -> int:
    """Return the color of a fabric DSD while queues serve `colors` (M135), or `UNBOUND`.

    `at_load` is the color at load.
    """
    is_input = descriptor.kind is DsdKind.FABIN
    bound = int(colors[descriptor.queue + (0 if is_input else NUM_QUEUES)])
    if bound == NO_COLOR:
        return at_load
    return bound if descriptor.color in (-1, bound) else UNBOUND


def unbound_queue_message(
    descriptor: DsdDescriptor,
    program: TileProgram,
    architecture: Architecture,
    colors: Sequence[int],
) -> str:
    """Return the mistake of a fabric DSD whose color is `UNBOUND`, and its correction.

    `colors` are those that the queues of the PE serve, if the program reaches its queues.
    """
    is_input = descriptor.kind is DsdKind.FABIN
    side = "input" if is_input else "output"
    bound = _bound_color(program, descriptor.queue, is_input=is_input)
    if program.reaches_queues and bound is not None:
        return (
            f"the DSD has color {descriptor.color}, but its {side} queue {descriptor.queue} "
            f"serves color {color_now(replace(descriptor, color=-1), colors, bound)} now; leave "
            "the color out of the DSD, then it has that of its queue"
        )
    if bound is None:
        names = "" if architecture.queues_need_initialization else ", or .fabric_color in the DSD"
        return (
            f"the DSD's {side} queue {descriptor.queue} serves no color; on {architecture.name} "
            f"write @initialize_queue(queue, .{{ .color = … }}) in a comptime block{names}"
        )
    return (
        f"the DSD has color {descriptor.color}, but its {side} queue {descriptor.queue} is "
        f"initialised for color {bound}; give the DSD a queue of its own color"
    )


def data_task_color(task_id: int, program: TileProgram, architecture: Architecture) -> int:
    """Return the color whose wavelets start a data task."""
    if architecture.data_task_key is DataTaskKey.COLOR:
        return task_id
    bound = _bound_color(program, task_id, is_input=True)
    if bound is None:
        raise ImageError(
            f"{program.name}: a data task is bound to input queue {task_id}, which no color is "
            "bound to; write @initialize_queue(queue, .{ .color = … }) in a comptime block"
        )
    return bound


def channel_color(encoded: int, program: TileProgram) -> int | None:
    """Return the color of a `channel()`, or None for a local task or a queue without one.

    Numbers after the colors are microthreads.
    """
    match ChannelKind(encoded >> 8):
        case ChannelKind.LOCAL_TASK:
            return None
        case ChannelKind.COLOR:
            return encoded & 0xFF
        case ChannelKind.INPUT_QUEUE:
            return _bound_color(program, encoded & 0xFF, is_input=True)
        case ChannelKind.MICROTHREAD:
            return FIRST_THREAD + (encoded & 0xFF)


def refuse_unsupported(image: WaferImage, architecture: Architecture) -> None:
    """Raise `ImageError` if the image needs a feature that is not simulated."""
    problems: list[str] = []
    for program in image.programs:
        problems += [f"{program.name}: {problem}" for problem in _program_problems(program)]
    problems += _stream_problems(image, architecture)
    if problems:
        raise ImageError("the simulator cannot run this image:\n  " + "\n  ".join(problems))


def _stream_problems(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    """Yield an error for each program that reads a color routed to the host (M73)."""
    receives = host_streams(image)[1]
    for number, program in enumerate(image.programs):
        to_host: NDArray[np.bool_] = np.any(receives[image.program_of_pe == number], axis=0)
        for color in sorted(input_attachments(program, architecture)):
            if to_host[color]:
                yield (
                    f"{program.name}: it reads color {color}, which its router hands to the host; "
                    "receive by another color"
                )


def _program_problems(program: TileProgram) -> Iterator[str]:
    inputs = [binding for binding in program.queues if binding.is_input]
    for first, second in combinations(inputs, 2):
        if first.color == second.color:
            yield (
                f"color {first.color} is bound to input queues {first.queue} and {second.queue}; "
                "a color has one input queue"
            )


def _bound_color(program: TileProgram, queue: int, *, is_input: bool) -> int | None:
    colors = (b.color for b in program.queues if b.queue == queue and b.is_input == is_input)
    return next(colors, None)


def _apply_data_patches(program: TileProgram, pes: np.ndarray, state: MachineState) -> None:
    for patch in program.patches:
        if patch.target is PatchTarget.DATA:
            num_bytes = patch.element.num_bytes
            payload = patch.values.astype("<i4").view(np.uint8).reshape(-1, 4)
            state.memory[pes, patch.location : patch.location + num_bytes] = payload[:, :num_bytes]


def _load_dsrs(program: TileProgram, pes: np.ndarray, state: MachineState) -> None:
    for encoded, *words in program.loaded_dsrs.tolist():
        mode, index = decode_operand(encoded)
        state.dsrs[pes, mode - OperandMode.DSR_DEST, index] = np.array(words, np.int32).view(
            np.uint32
        )


def _set_flags(
    program: TileProgram, pes: np.ndarray, state: MachineState, architecture: Architecture
) -> None:
    local = [task for task in program.tasks if task.kind is TaskKind.LOCAL]
    state.pending_tasks[pes] = sum(1 << task.task_id for task in local if task.is_active)
    blocked_tasks = {task.task_id for task in local if task.is_blocked}
    blocked_of_color = {
        data_task_color(task.task_id, program, architecture): task.is_blocked
        for task in program.tasks
        if task.kind is TaskKind.DATA
    }
    blocked_colors = {color for color, is_blocked in blocked_of_color.items() if is_blocked}
    unblocked = {channel_color(encoded, program) for encoded in program.unblocked_channels}
    colors = input_attachments(program, architecture).keys()
    unblocked |= {*_colors_of_local_tasks(program, architecture)}
    blocked_colors |= colors - blocked_of_color.keys() - unblocked
    for encoded in program.blocked_channels:
        color = channel_color(encoded, program)
        if color is None:
            blocked_tasks.add(encoded & 0xFF)
        else:
            blocked_colors.add(color)
    state.blocked_tasks[pes] = sum(1 << task for task in blocked_tasks)
    state.blocked_colors[pes] = sum(1 << color for color in blocked_colors)
