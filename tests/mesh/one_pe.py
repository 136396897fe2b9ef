"""Kernels on one PE that takes the place of any other: arrays to poke, functions to launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.mesh.kernel_library import kernel_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.arch import Architecture

DTYPES: dict[str, type[np.generic]] = {"f16": np.float16, "f32": np.float32}
_BEHIND = np.array([7.0, 8.0, 9.0])
"""Elements behind every result that must stay as they are."""
_LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{{ .width = 1, .height = 1 }});
layout {{
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "alone.csl", .{{ .memcpy_params = memcpy.get_params(0) }});
{exports}
}}
"""
_ALONE = """
param memcpy_params: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
{arrays}
{body}
comptime {{
{symbols}
}}
"""


@dataclass(frozen=True, slots=True)
class Array:
    """A named array of the PE; kernels get `NAME` (pointer) and `NAME_dsd` (of extent 1)."""

    type: str
    """CSL name of the element type."""
    length: int


@dataclass(frozen=True, slots=True)
class OnePe:
    """A loaded device of one PE."""

    device: Device

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Write the first elements of an array."""
        self.device.write(name, np.ascontiguousarray(values).reshape(1, 1, -1))

    def read(self, name: str, *shape: int) -> NDArray[Any]:
        """Read the first elements of an array."""
        return self.device.read(name, int(np.prod(shape))).reshape(shape)

    def launch(self, name: str, *arguments: float) -> None:
        """Run a function."""
        self.device.launch(name, *arguments)


@dataclass(frozen=True)
class Numbers:
    """A PE, and where the numbers of a case come from."""

    pe: OnePe
    dtype: type[np.generic]
    seed: int

    def numbers(self, *shape: int, dtype: type[np.generic] | None = None) -> Any:
        """Return normal numbers, a few of them zeros of either sign."""
        generator = np.random.default_rng((self.seed, *shape))
        values = generator.standard_normal(shape)
        zeros = generator.choice([0.0, -0.0], shape)
        return np.where(generator.random(shape) < 0.1, zeros, values).astype(dtype or self.dtype)

    def write_guarded(self, name: str, num_elements: int, dtype: type[np.generic]) -> None:
        """Fill the place of a result with NaN, and the elements behind it with numbers."""
        values = np.concatenate((np.full(num_elements, np.nan), _BEHIND))
        self.pe.write(name, values.astype(dtype))

    def read_guarded(self, name: str, *shape: int) -> Any:
        """Read a result, and see that what lies behind it is untouched."""
        size = int(np.prod(shape))
        values = self.pe.read(name, size + len(_BEHIND))
        np.testing.assert_array_equal(values[size:], _BEHIND)
        return values[:size].reshape(shape)


def declare(arrays: Mapping[str, Array]) -> str:
    """Return the CSL of arrays, with their pointers and DSDs."""
    lines: list[str] = []
    for name, array in arrays.items():
        lines += [
            f"var {name}_array = @zeros([{array.length}]{array.type});",
            f"const {name}: [*]{array.type} = &{name}_array;",
        ]
        if array.type in ("f16", "f32"):
            fields = f".base_address = &{name}_array, .extent = 1"
            lines.append(f"const {name}_dsd = @get_dsd(mem1d_dsd, .{{ {fields} }});")
    return "\n".join(lines)


def load_one_pe(
    architecture: Architecture,
    arrays: Mapping[str, Array],
    functions: Mapping[str, str],
    body: str,
) -> OnePe:
    """Compile `body`, which defines `functions` (name → types of arguments); load the device."""
    exports = [f'  @export_name("{n}", [*]{array.type}, true);' for n, array in arrays.items()]
    exports += [f'  @export_name("{n}", fn({types})void);' for n, types in functions.items()]
    symbols = [f"  @export_symbol({name});" for name in (*arrays, *functions)]
    alone = _ALONE.format(arrays=declare(arrays), body=body, symbols="\n".join(symbols))
    layout = _LAYOUT.format(exports="\n".join(exports))
    files = MemoryFiles({"layout.csl": layout, "alone.csl": alone, **kernel_library()})
    options = CompileOptions(entry="layout.csl", architecture=architecture)
    device = Device(compile_program(options, files), architecture)
    device.load()
    return OnePe(device)
