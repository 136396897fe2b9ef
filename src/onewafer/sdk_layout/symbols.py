"""Initial values of variables, PE by PE, as patches of the compiled image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.host import suggest
from onewafer.image import Patch, PatchTarget, ScalarType, SymbolKind
from onewafer.sdk_layout.region_table import rows_and_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.image import Symbol, TileProgram, WaferImage
    from onewafer.sdk_layout.code_region import CodeRegion, SymbolBlocks

_CARRIER = {2: (ScalarType.U16, "u2"), 4: (ScalarType.I32, "i4")}
"""Bytes of an element → the scalar type that carries its bits in a patch."""


def set_symbols(image: WaferImage, regions: Sequence[CodeRegion]) -> WaferImage:
    """Return the image with patches for the values of `set_symbol_all`.

    Raises:
        HostError: a PE has no such variable, or one of another type or size.
    """
    for region in regions:
        if region.symbols:
            image = _set_region(image, region)
    return image


def _set_region(image: WaferImage, region: CodeRegion) -> WaferImage:
    programs, program_of_pe = list(image.programs), image.program_of_pe.copy()
    here = np.zeros(program_of_pe.shape, np.bool_)
    here[rows_and_columns(region.rectangle)] = True
    for number in map(int, np.unique(program_of_pe[here])):
        target = _program_of_its_own(programs, program_of_pe, number, here)
        rows_of_pes = np.argwhere(program_of_pe == target) - (
            region.rectangle.y,
            region.rectangle.x,
        )
        program = programs[target]
        patches = [
            patch
            for data in region.symbols.values()
            for patch in _patches(program, region, data, rows_of_pes)
        ]
        programs[target] = replace(program, patches=(*program.patches, *patches))
    return replace(image, programs=tuple(programs), program_of_pe=program_of_pe)


def _program_of_its_own(
    programs: list[TileProgram],
    program_of_pe: NDArray[np.int16],
    number: int,
    here: NDArray[np.bool_],
) -> int:
    """Return the index of a tile program that only the PEs `here` run, copied if others run it."""
    runs_it = program_of_pe == number
    is_here = here[runs_it]
    if is_here.all():
        return number
    program = programs[number]
    programs[number] = _for_pes(program, ~is_here)
    programs.append(_for_pes(program, is_here))
    program_of_pe[runs_it & here] = len(programs) - 1
    return len(programs) - 1


def _for_pes(program: TileProgram, mask: NDArray[np.bool_]) -> TileProgram:
    """Return a program with its patches cut down to some of its PEs."""
    patches = tuple(replace(patch, values=patch.values[mask]) for patch in program.patches)
    return replace(program, patches=patches)


def _patches(
    program: TileProgram, region: CodeRegion, data: SymbolBlocks, pes: NDArray[np.intp]
) -> list[Patch]:
    """Return the patches of one variable; `pes` are (y, x) in the region, one row per PE."""
    variable = _variable(program, region, data)
    size = data.blocks.dtype.itemsize
    carrier, dtype = _CARRIER[size]
    blocks = data.blocks[pes[:, 0], pes[:, 1]]
    words = np.ascontiguousarray(blocks).view(dtype).astype(np.int32)
    return [
        Patch(PatchTarget.DATA, variable.address + i * size, carrier, words[:, i].copy())
        for i in range(words.shape[1])
    ]


def _variable(program: TileProgram, region: CodeRegion, data: SymbolBlocks) -> Symbol:
    """Return the symbol of the variable that blocks are for, or fail."""
    where = f"set_symbol_all({data.name!r}, …) of {region}"
    variables = {s.name: s for s in program.symbols if s.kind is SymbolKind.VARIABLE}
    variable = variables.get(data.name)
    if variable is None:
        raise HostError(
            f"{where}: {region.source} has no variable of this name that the program uses; "
            f"{suggest(data.name, tuple(variables))}"
        )
    _check_type(variable, data.blocks, where)
    if variable.num_bytes != data.blocks[0, 0].nbytes:
        raise HostError(
            f"{where}: a PE gets {data.blocks.shape[2]} elements, {data.blocks[0, 0].nbytes} "
            f"bytes, and its variable has {variable.num_bytes} bytes"
        )
    return variable


def _check_type(variable: Symbol, blocks: NDArray[Any], where: str) -> None:
    element = variable.element
    is_float = blocks.dtype == np.float32
    if (
        element is not None
        and element.num_bytes == blocks.dtype.itemsize
        and (element is ScalarType.F32) is is_float
    ):
        return
    kind = "no element type" if element is None else f"elements of type {element.name.lower()}"
    raise HostError(
        f"{where}: the data is of {blocks.dtype.name}, the variable has {kind}"
        + ("" if element is None else "; pass data.astype(…) of that type")
    )
