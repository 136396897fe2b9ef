"""`<kernels/fft>`: what NumPy's transforms of three axes give, on any number of PEs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import CompileError
from onewafer.geometry import Rectangle
from onewafer.host import Device

LAYOUT = """
param num_pes: u16;
param N: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = WIDTH, .height = HEIGHT });
const fft = @import_module("<kernels/fft/fft3d_layout>", .{ .width = num_pes, .memcpy = memcpy });
layout {
  @set_rectangle(WIDTH, HEIGHT);
  fft.FFT_kernel(PLACE num_pes, N, TYPE);
}
"""
NORMS = ("backward", "ortho", "forward")
TYPES = {"f16": np.float16, "f32": np.float32}


ROOT = Path(__file__).resolve().parents[3]


@cache
def device_of(arch, size, num_pes, dtype, place=None):
    machine = load_architecture(arch)
    layout = LAYOUT.replace("TYPE", dtype)
    layout = layout.replace("PLACE", f"{place[0]}, {place[1]}," if place else "")
    for name, offset in (("WIDTH", 0), ("HEIGHT", 1)):
        layout = layout.replace(name, str(num_pes + (place[offset] if place else 0)))
    params = {"num_pes": str(num_pes), "N": str(size)}
    options = CompileOptions(entry="layout.csl", architecture=machine, params=params)
    device = Device(compile_program(options, MemoryFiles({"layout.csl": layout})), machine)
    device.load()
    return device


def to_pes(values, num_pes):
    """Return numbers [y, x, z] as the PEs have them: [PE y, PE x, z × y × x × part]."""
    size = len(values)
    width = size // num_pes
    blocks = values.reshape(num_pes, width, num_pes, width, size).transpose(0, 2, 4, 1, 3)
    return np.stack([blocks.real, blocks.imag], axis=-1).reshape(num_pes, num_pes, -1)


def from_pes(words, size):
    num_pes = len(words)
    width = size // num_pes
    parts = words.astype(np.float64).reshape(num_pes, num_pes, size, width, width, 2)
    blocks = parts[..., 0] + 1j * parts[..., 1]
    return blocks.transpose(0, 3, 1, 4, 2).reshape(size, size, size)


def transform(device, values, dtype, name, *arguments, place=(0, 0)):
    """Return what the PEs make of `values` [N, N, N]."""
    size, real = len(values), TYPES[dtype]
    angles = np.pi * np.arange(size // 2) / (size // 2)
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(1, 1, -1)
    num_pes = device.image.width - place[0]
    pes = Rectangle(*place, num_pes, num_pes)
    device.write("twiddle_array", turns.astype(real), pes)
    device.write("X", to_pes(values, num_pes).astype(real), pes)
    device.launch(name, *arguments)
    return from_pes(device.read("X", 2 * size**3 // num_pes**2, pes), size)


def numbers(size, seed):
    rng = np.random.default_rng(seed)
    return rng.random((size, size, size)) - 0.5 + 1j * (rng.random((size, size, size)) - 0.5)


@pytest.mark.parametrize(
    ("arch", "size", "num_pes", "dtype"),
    [
        ("wse2", 2, 1, "f32"),
        ("wse3", 8, 1, "f16"),
        ("wse3", 4, 4, "f32"),
        ("wse2", 8, 2, "f16"),
        ("wse3", 8, 8, "f32"),
    ],
)
@pytest.mark.parametrize("norm", range(3))
@pytest.mark.alternate(5)
def test_complex_transforms_are_those_of_numpy(arch, size, num_pes, dtype, norm):
    device = device_of(arch, size, num_pes, dtype)
    for inverse, reference in ((0, np.fft.fftn), (1, np.fft.ifftn)):
        values = numbers(size, norm + 10 * inverse)
        result = transform(device, values, dtype, "csfftExecC2C", norm, inverse)
        expected = reference(values, norm=NORMS[norm])
        error = np.abs(result - expected).max() / np.abs(expected).max()
        assert error < 4 * np.log2(size**3) * np.finfo(TYPES[dtype]).eps / 2


def test_real_transforms():
    device = device_of("wse3", 8, 8, "f32")
    values = numbers(8, 5)
    result = transform(device, values, "f32", "csfftExecR2C", 1)
    np.testing.assert_allclose(result, np.fft.fftn(values.real, norm="ortho"), atol=2e-6)
    back = transform(device, result, "f32", "csfftExecC2R", 1)
    np.testing.assert_allclose(back, values.real, atol=2e-6)


def test_cycles_are_those_of_the_transform():
    device = device_of("wse3", 4, 4, "f32")
    transform(device, numbers(4, 1), "f32", "csfftExecC2C", 0, 0)
    first = device.read("fft_time", 2)
    transform(device, numbers(4, 2), "f32", "csfftExecC2C", 0, 0)
    again = device.read("fft_time", 2)
    assert ((first[..., 0] > 100) & (first[..., 0] < 20_000) & (first[..., 1] == 0)).all()
    assert np.abs(again[..., 0].astype(int) - first[..., 0]).max() < 100


@pytest.mark.slow
def test_the_manual_says_what_a_transform_takes():
    device = device_of("wse3", 16, 4, "f32")
    transform(device, numbers(16, 1), "f32", "csfftExecC2C", 1, 0)
    cycles = device.read("fft_time", 2)[..., 0].max()
    page = (ROOT / "docs/reference/libraries.md").read_text(encoding="utf-8")
    assert f"16 × 16 × 16 numbers of f32 on 4 × 4 PEs of the WSE-3 take {cycles:,} cycles" in page


def test_a_transform_in_a_corner_of_the_rectangle():
    device = device_of("wse3", 4, 2, "f32", (1, 2))
    values = numbers(4, 3)
    result = transform(device, values, "f32", "csfftExecC2C", 0, 0, place=(1, 2))
    np.testing.assert_allclose(result, np.fft.fftn(values), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "num_pes", "dtype", "message"),
    [
        (6, 2, "f32", "power of two"),
        (8, 3, "f32", "multiple"),
        (8, 2, "i16", "f16 or f32"),
        (64, 2, "f32", "memory of a PE"),
        (32768, 1, "f16", "memory of a PE"),
    ],
)
def test_what_cannot_be_transformed_is_said(size, num_pes, dtype, message):
    with pytest.raises(CompileError, match=message):
        device_of("wse3", size, num_pes, dtype)
