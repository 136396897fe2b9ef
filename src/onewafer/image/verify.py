"""The verifier of contract 1: every rule that an image must keep.

In: an image and the machine it is meant for. Out: nothing, or one `ImageError` that lists all
breaches. Rules about one program are in `program_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import ImageError
from onewafer.geometry import Direction
from onewafer.image.program import SymbolKind, TileProgram
from onewafer.image.program_rules import find_breaches
from onewafer.image.route import (
    NO_ROUTE,
    NUM_COLORS,
    ColorConfig,
    CounterFilter,
    RangeFilter,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from onewafer.arch import Architecture
    from onewafer.image.wafer_image import Export, WaferImage

_NUM_PORTS = 5
_MAX_SWITCH_POSITIONS = 4
_MAX_HALF_WORD = 0xFFFF
_MAX_LISTED = 50


def verify(image: WaferImage, architecture: Architecture) -> None:
    """Raise an `ImageError` that lists every rule of the contract that `image` breaks."""
    breaches = list(_find_image_breaches(image, architecture))
    if not breaches:
        return
    listed = [f"  {breach}  [{rule}]" for rule, breach in breaches[:_MAX_LISTED]]
    if len(breaches) > _MAX_LISTED:
        listed.append(f"  … and {len(breaches) - _MAX_LISTED} more")
    count = "1 rule" if len(breaches) == 1 else f"{len(breaches)} rules"
    raise ImageError("\n".join([f"the wafer image is broken ({count}):", *listed]))


def _find_image_breaches(
    image: WaferImage, architecture: Architecture
) -> Iterator[tuple[str, str]]:
    misshapen = [("tables have one entry a PE", breach) for breach in _shapes(image)]
    misshapen = misshapen or [
        ("configuration indices are in range", breach) for breach in _config_indices(image)
    ]
    if misshapen:  # the other rules index the tables
        yield from misshapen
        return
    for name, check in IMAGE_RULES:
        for breach in check(image, architecture):
            yield name, breach
    num_pes = np.bincount(image.program_of_pe.ravel() + 1, minlength=len(image.programs) + 1)[1:]
    for index, program in enumerate(image.programs):
        breaches = find_breaches(
            program, architecture, uses_memcpy=image.uses_memcpy, num_pes=int(num_pes[index])
        )
        for rule, breach in breaches:
            yield rule, f"program {index} '{program.name}': {breach}"


def _shapes(image: WaferImage) -> Iterator[str]:
    pes = (image.height, image.width)
    if image.program_of_pe.shape != pes:
        yield f"program_of_pe has shape {image.program_of_pe.shape}, not {pes}"
    elif image.program_of_pe.min(initial=-1) < -1:
        yield f"program_of_pe holds {image.program_of_pe.min()}"
    if image.config_of_color.shape != (*pes, NUM_COLORS):
        yield f"config_of_color has shape {image.config_of_color.shape}, not {(*pes, NUM_COLORS)}"


def _architecture_name(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    if image.arch != architecture.name:
        yield f"the image is for {image.arch}, the machine is {architecture.name}"


def _fabric(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    width, height = architecture.fabric_width, architecture.fabric_height
    if image.fabric_width > width or image.fabric_height > height:
        yield (
            f"a fabric of {image.fabric_width}×{image.fabric_height} PEs; "
            f"{architecture.name} has {width}×{height}"
        )
    fits_x = image.offset_x >= 0 and image.offset_x + image.width <= image.fabric_width
    fits_y = image.offset_y >= 0 and image.offset_y + image.height <= image.fabric_height
    if image.width < 1 or image.height < 1 or not (fits_x and fits_y):
        yield (
            f"{image.width}×{image.height} PEs at ({image.offset_x}, {image.offset_y}) do not "
            f"fit a fabric of {image.fabric_width}×{image.fabric_height}"
        )


def _program_indices(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    del architecture
    for y, x in np.argwhere(image.program_of_pe >= len(image.programs)).tolist():
        yield f"PE ({x}, {y}): program {image.program_of_pe[y, x]} of {len(image.programs)}"


def _config_indices(image: WaferImage) -> Iterator[str]:
    table, num_configs = image.config_of_color, len(image.color_configs)
    for y, x, color in np.argwhere((table >= num_configs) | (table < NO_ROUTE)).tolist():
        index = table[y, x, color]
        yield f"PE ({x}, {y}), color {color}: configuration {index} of {num_configs}"


def _colors_exist(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    unknown = image.config_of_color[:, :, architecture.num_colors :] != NO_ROUTE
    for y, x, color in np.argwhere(unknown).tolist():
        color_id = color + architecture.num_colors
        yield f"PE ({x}, {y}): {architecture.name} has no color {color_id}"


def _color_configs(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    del architecture
    for index, config in enumerate(image.color_configs):
        for problem in _config_problems(config):
            yield f"color_configs[{index}]: {problem}"


def _config_problems(config: ColorConfig) -> Iterator[str]:
    positions = config.positions
    if not 1 <= len(positions) <= _MAX_SWITCH_POSITIONS:
        yield f"{len(positions)} switch positions; there are 1–{_MAX_SWITCH_POSITIONS}"
        return
    if not 0 <= config.current_position < len(positions):
        yield f"starts in switch position {config.current_position} of {len(positions)}"
    elif positions[config.current_position] is None:
        yield f"starts in switch position {config.current_position}, which is invalid"
    for number, position in enumerate(positions):
        if position is None:
            continue
        for name, mask in (("rx", position.rx), ("tx", position.tx)):
            if not 0 <= mask < 1 << _NUM_PORTS:
                yield f"switch position {number}: {name} mask {mask:#x} names no port"
    if not 0 <= config.swap_mask < 2 << Direction.RAMP:
        yield f"swap mask {config.swap_mask:#x} names no port"
    if positions[0] is None:
        yield "switch position 0 is invalid; it is the route"
    yield from _host_problems(config)
    yield from _filter_problems(config.filter)


def _swaps(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    """Yield swapped colors on a machine that cannot swap, and pairs with one color swapped."""
    if architecture.has_color_swap:
        yield from _half_swapped(image)
        return
    for number, config in enumerate(image.color_configs):
        places = np.argwhere(image.config_of_color == number) if config.swap_mask else ()
        for y, x, color in [list(map(int, place)) for place in places[:1]]:
            yield f"PE ({x}, {y}): color {color} is swapped; {architecture.name} cannot do that"


def _half_swapped(image: WaferImage) -> Iterator[str]:
    """Yield pairs whose colors are not swapped alike, which is not simulated."""
    masks = np.array([*(config.swap_mask for config in image.color_configs), 0])
    found = masks[image.config_of_color]
    is_known = image.config_of_color >= 0
    differs = is_known[:, :, ::2] & is_known[:, :, 1::2] & (found[:, :, ::2] != found[:, :, 1::2])
    for y, x, pair in [list(map(int, place)) for place in np.argwhere(differs)[:1]]:
        yield (
            f"PE ({x}, {y}): colors {2 * pair} and {2 * pair + 1} are not swapped alike; what "
            "comes in as one of them would go to both"
        )


def _host_problems(config: ColorConfig) -> Iterator[str]:
    positions = [position for position in config.positions if position is not None]
    if config.from_host and not any(p.rx >> Direction.RAMP & 1 for p in positions):
        yield "the host sends here, but no position receives from the ramp"
    if config.to_host and not any(p.tx >> Direction.RAMP & 1 for p in positions):
        yield "the host receives here, but no position sends to the ramp"


def _filter_problems(filter_: RangeFilter | CounterFilter | None) -> Iterator[str]:
    match filter_:
        case None:
            pass
        case RangeFilter(low, high):
            if not 0 <= low <= high <= _MAX_HALF_WORD:
                yield f"filter [{low}, {high}] is not a range of 16-bit indices"
        case CounterFilter():
            second = 0 if filter_.second_limit is None else filter_.second_limit
            counts = (
                ("maximum", filter_.maximum),
                ("limit", filter_.limit),
                ("initial", filter_.initial),
                ("second limit", second),
            )
            for name, count in counts:
                if not 0 <= count <= _MAX_HALF_WORD:
                    yield f"{name} {count} of a counter filter is not a 16-bit number"
            if filter_.second_limit is not None and not filter_.is_sparse:
                yield "a counter filter has a second limit, but is not sparse"
            if filter_.is_sparse and filter_.filters_control:
                yield "a sparse filter holds back control wavelets"


def _switchable_colors(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    switched = np.array([len(config.positions) > 1 for config in image.color_configs] + [False])
    for color in range(NUM_COLORS):
        if color not in architecture.switchable_colors:
            for y, x in np.argwhere(switched[image.config_of_color[:, :, color]])[:1].tolist():
                yield (
                    f"PE ({x}, {y}): color {color} has switch positions; on {architecture.name} "
                    f"only colors {', '.join(map(str, architecture.switchable_colors))} can"
                )


def _exports(image: WaferImage, architecture: Architecture) -> Iterator[str]:
    del architecture
    seen: set[str] = set()
    placed: list[TileProgram] = [
        image.programs[index]
        for index in np.unique(image.program_of_pe).tolist()
        if 0 <= index < len(image.programs)
    ]
    for export in image.exports:
        if export.name in seen:
            yield f"export '{export.name}' is declared twice"
        seen.add(export.name)
        yield from _export_problems(export, placed)


def _export_problems(export: Export, placed: list[TileProgram]) -> Iterator[str]:
    """Yield programs that lack an export: all must have a function, some a variable."""
    owners = [program for program in placed if export.name in program.exports]
    if export.kind is SymbolKind.FUNCTION or not owners:
        for program in placed:
            if export.name not in program.exports:
                yield (
                    f"export '{export.name}' is not in program '{program.name}'; "
                    "bind it there with @export_symbol"
                )
    for program in owners:
        symbols = {symbol.name: symbol for symbol in program.symbols}
        symbol = symbols.get(program.exports[export.name])
        if symbol is not None and symbol.kind is not export.kind:
            yield f"export '{export.name}' is a {symbol.kind.name} in program '{program.name}'"
        elif symbol is not None and symbol.argument_types != export.argument_types:
            yield f"export '{export.name}' takes other arguments in program '{program.name}'"


IMAGE_RULES: tuple[tuple[str, Callable[[WaferImage, Architecture], Iterable[str]]], ...] = (
    ("the image is for this machine", _architecture_name),
    ("the program fits the fabric", _fabric),
    ("program indices are in range", _program_indices),
    ("colors exist", _colors_exist),
    ("color configurations are legal", _color_configs),
    ("only switchable colors have switch positions", _switchable_colors),
    ("colors change only where they can", _swaps),
    ("exports are bound in the programs", _exports),
)
