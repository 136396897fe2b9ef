# pyright: basic
# Numba's type hints are partial; only this file and `vectors` use it here.
"""One step of a Llama-like network for any number of rows, by several threads.

A row is one token of one sequence. Rows interact only through the KV cache of their own sequence,
and each number is computed by one thread in a fixed order, so that its bits depend neither on the
other rows nor on the number of threads.

The threads run `advance` concurrently, with a barrier (`_meet`) between phases; in a phase, each
computes its share of the columns of a product, or of the rows.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numba
import numpy as np

from onewafer.files.digests import digest_of_sources
from onewafer.server.values.llama.vectors import (
    arrive,
    exponentials,
    gate,
    give_way,
    has_wide_registers,
    largest,
    look,
    sum_of_squares,
    tile_1x1,
    tile_1x4,
    tile_2x2,
    tile_2x4,
    tile_4x4,
    weighted_rows_16,
    weighted_rows_64,
)
from onewafer.settings import cache_folder
from onewafer.simulator import keep_on_disk

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK: Final = 32
"""Tokens of a block of the KV cache."""
QUERY, KEY, VALUE, OUTPUT, GATE, UP, DOWN = range(7)
"""The columns of `Network.matrices`."""
_BYTES: Final = 4
_IS_WIDE: Final = has_wide_registers()
_SPINS: Final = 2000
"""Iterations of a barrier before a thread yields its core."""


class Network(NamedTuple):
    """The weights; matrices are given by the addresses of PyTorch's tensors."""

    matrices: NDArray[np.int64]
    """[layers, 7]"""
    head: int
    """The address of the output matrix, [vocabulary, width]."""
    norms: NDArray[np.float32]
    """[layers + 1, 2, width]: norms before attention and MLP; last, the final norm."""
    head_norms: NDArray[np.float32]
    """[layers, 2, head width]: norms of queries and keys; [0, …]: there are none."""
    biases: NDArray[np.float32]
    """[layers, queries + keys + values]; [0, …]: there are none."""
    windows: NDArray[np.int64]
    """[layers]: the attention window in positions, the token included; 0: unlimited."""
    cosines: NDArray[np.float32]
    """[positions, head width]"""
    sines: NDArray[np.float32]
    num_heads: int
    num_key_heads: int
    inner: int
    vocabulary: int
    epsilon: float


class Step(NamedTuple):
    """The rows of one step, and buffers."""

    slots: NDArray[np.int64]
    """[rows]"""
    positions: NDArray[np.int64]
    """[rows]"""
    wanted: NDArray[np.int64]
    """Rows whose logits are computed."""
    hidden: NDArray[np.float32]
    """[rows, width]; initially the embeddings."""
    normal: NDArray[np.float32]
    """[threads, rows, width]: normalised rows, a copy for each thread."""
    queries: NDArray[np.float32]
    """[rows, heads · head width]"""
    keys: NDArray[np.float32]
    """[rows, key heads · head width]"""
    values: NDArray[np.float32]
    attended: NDArray[np.float32]
    """[rows, heads · head width]"""
    gates: NDArray[np.float32]
    """[rows, inner]"""
    ups: NDArray[np.float32]
    scores: NDArray[np.float32]
    """[threads, heads of a group, positions]"""
    logits: NDArray[np.float32]
    """[wanted, vocabulary]"""


_njit: Any = numba.njit
_SOURCES: Final = "server/values/llama/*.py"
_compile: Any = _njit(error_model="numpy", _nrt=False)


def _compile_entry(function):
    """Compile a function that Python calls, and cache its machine code on disk."""
    dispatcher = _njit(error_model="numpy", _nrt=False, nogil=True)(function)
    with suppress(OSError):  # without a cache, each start takes seconds longer
        digest = f"{digest_of_sources(_SOURCES)[:20]}-{numba.__version__}"
        keep_on_disk(dispatcher, cache_folder() / "kernels" / digest)
    return dispatcher


@_compile
def _meet(signal, target, num_threads):
    """Wait for all threads (a barrier); return the target of the next barrier."""
    if num_threads == 1:
        return target
    address = signal.ctypes.data
    arrive(address)
    spins = 0
    while look(address) < target:
        spins += 1
        if spins > _SPINS:
            give_way()
    return target + num_threads


@_compile
def _multiply_columns(factors, inputs, length, output, stride, num_rows, adds):
    """Compute four columns of a product; the tile sizes do not affect the sums."""
    m = 0
    while not _IS_WIDE and m + 2 <= num_rows:
        place, rows = output + _BYTES * m * stride, inputs + _BYTES * m * length
        tile_2x2(factors, rows, length, length, place, stride, adds)
        others = factors + _BYTES * 2 * length
        tile_2x2(others, rows, length, length, place + _BYTES * 2, stride, adds)
        m += 2
    while m + 4 <= num_rows:
        place = output + _BYTES * m * stride
        tile_4x4(factors, inputs + _BYTES * m * length, length, length, place, stride, adds)
        m += 4
    if m + 2 <= num_rows:
        place = output + _BYTES * m * stride
        tile_2x4(factors, inputs + _BYTES * m * length, length, length, place, stride, adds)
        m += 2
    if m < num_rows:
        place = output + _BYTES * m * stride
        tile_1x4(factors, inputs + _BYTES * m * length, length, length, place, stride, adds)


@_compile
def _multiply(weights, inputs, output, first, last, adds):
    """Compute columns `first` up to `last` of inputs · weightsᵀ."""
    num_rows, length = inputs.shape
    stride = output.shape[1]
    rows, columns = inputs.ctypes.data, output.ctypes.data
    n = first
    while n + 4 <= last:
        factors = weights + _BYTES * n * length
        _multiply_columns(factors, rows, length, columns + _BYTES * n, stride, num_rows, adds)
        n += 4
    while n < last:
        factors = weights + _BYTES * n * length
        for m in range(num_rows):
            place = columns + _BYTES * (m * stride + n)
            tile_1x1(factors, rows + _BYTES * m * length, length, length, place, stride, adds)
        n += 1


@_compile
def _share(total, thread, num_threads):
    """Return the half-open range of a thread's columns."""
    fours = total // 4
    first = 4 * (fours * thread // num_threads)
    last = total if thread == num_threads - 1 else 4 * (fours * (thread + 1) // num_threads)
    return first, last


@_compile
def _normalise(inputs, outputs, weights, epsilon):
    """Compute an RMS norm."""
    length = inputs.size
    mean = sum_of_squares(inputs.ctypes.data, length) / np.float32(length)
    factor = np.float32(1) / np.float32(math.sqrt(mean + np.float32(epsilon)))
    for i in range(length):
        outputs[i] = weights[i] * (inputs[i] * factor)


@_compile
def _project(net, step, layer, normal, thread, num_threads):
    """Compute this thread's columns of queries, keys and values."""
    for row in range(normal.shape[0]):
        _normalise(step.hidden[row], normal[row], net.norms[layer, 0], net.epsilon)
    start = 0
    for matrix in range(QUERY, VALUE + 1):
        if matrix == QUERY:
            output = step.queries
        elif matrix == KEY:
            output = step.keys
        else:
            output = step.values
        first, last = _share(output.shape[1], thread, num_threads)
        _multiply(net.matrices[layer, matrix], normal, output, first, last, 0)
        if net.biases.shape[0]:
            for row in range(output.shape[0]):
                for n in range(first, last):
                    output[row, n] += net.biases[layer, start + n]
        start += output.shape[1]


@_compile
def _rotate(numbers, cosines, sines, scale):
    """Apply the rotary embedding of a position, and a factor."""
    half = numbers.size // 2
    for i in range(half):
        low, high = numbers[i], numbers[i + half]
        numbers[i] = (low * cosines[i] - high * sines[i]) * scale
        numbers[i + half] = (high * cosines[i + half] + low * sines[i + half]) * scale


@_compile
def _place(net, step, layer, row, pool, blocks):
    """Apply norms and rotary embeddings to a row, and store its keys and values in the cache."""
    position = step.positions[row]
    cosines, sines = net.cosines[position], net.sines[position]
    width = cosines.size
    scale = np.float32(1 / math.sqrt(width))
    block, index = blocks[step.slots[row], position // BLOCK], position % BLOCK
    for head in range(net.num_heads):
        query = step.queries[row, head * width : (head + 1) * width]
        if net.head_norms.shape[0]:
            _normalise(query, query, net.head_norms[layer, 0], net.epsilon)
        _rotate(query, cosines, sines, scale)
    for head in range(net.num_key_heads):
        key = step.keys[row, head * width : (head + 1) * width]
        if net.head_norms.shape[0]:
            _normalise(key, key, net.head_norms[layer, 1], net.epsilon)
        _rotate(key, cosines, sines, np.float32(1))
        for i in range(width):
            pool[block, layer, 0, head, index, i] = key[i]
            pool[block, layer, 1, head, index, i] = step.values[row, head * width + i]


@_compile
def _attend(net, step, layer, row, head, pool, blocks, scores):
    """Compute the attention of one row, for the query heads of one key head."""
    position, width = step.positions[row], net.cosines.shape[1]
    group = net.num_heads // net.num_key_heads
    window = net.windows[layer]
    first = max(0, position - window + 1) if window else 0
    first_block, last_block = first // BLOCK, position // BLOCK
    table = blocks[step.slots[row]]
    start = head * group * width
    queries = step.queries[row, start : start + group * width].ctypes.data
    stride = scores.shape[1]
    for index in range(first_block, last_block + 1):
        keys = pool[table[index], layer, 0, head].ctypes.data
        place = scores.ctypes.data + _BYTES * (index - first_block) * BLOCK
        for n in range(0, BLOCK, 4):
            factors = keys + _BYTES * n * width
            _multiply_columns(factors, queries, width, place + _BYTES * n, stride, group, 0)
    length = (last_block + 1 - first_block) * BLOCK
    skipped, end = first - first_block * BLOCK, position + 1 - first_block * BLOCK
    for g in range(group):
        scores[g, :skipped] = -np.inf
        scores[g, end:length] = -np.inf
        address = scores[g].ctypes.data
        total = exponentials(address, length, largest(address, length))
        seen = step.attended[row, start + g * width : start + (g + 1) * width]
        seen[:] = np.float32(0)
        for index in range(first_block, last_block + 1):
            near = max(0, first - index * BLOCK)
            far = min(BLOCK, position + 1 - index * BLOCK)
            weights = address + _BYTES * ((index - first_block) * BLOCK + near)
            values = pool[table[index], layer, 1, head, near:].ctypes.data
            _weigh(values, width, weights, far - near, seen.ctypes.data)
        factor = np.float32(1) / total
        for i in range(width):
            seen[i] *= factor


@_compile
def _weigh(values, width, weights, num_rows, output):
    """Add the weighted sum of rows of values."""
    i = 0
    while i + 64 <= width:
        weighted_rows_64(values + _BYTES * i, width, weights, num_rows, output + _BYTES * i)
        i += 64
    while i < width:
        weighted_rows_16(values + _BYTES * i, width, weights, num_rows, output + _BYTES * i)
        i += 16


@_compile
def _gate(net, step, layer, normal, thread, num_threads):
    """Compute this thread's columns of the MLP, up to its last product."""
    for row in range(normal.shape[0]):
        _normalise(step.hidden[row], normal[row], net.norms[layer, 1], net.epsilon)
    sixteens = net.inner // 16
    first = 16 * (sixteens * thread // num_threads)
    last = 16 * (sixteens * (thread + 1) // num_threads)
    _multiply(net.matrices[layer, GATE], normal, step.gates, first, last, 0)
    _multiply(net.matrices[layer, UP], normal, step.ups, first, last, 0)
    for row in range(normal.shape[0]):
        gates = step.gates[row, first:last].ctypes.data
        gate(gates, step.ups[row, first:last].ctypes.data, last - first)


@_compile
def _finish(net, step, normal, thread, num_threads):
    """Compute this thread's columns of the wanted logits."""
    num_wanted = step.wanted.size
    weights = net.norms[net.norms.shape[0] - 1, 0]
    for index in range(num_wanted):
        _normalise(step.hidden[step.wanted[index]], normal[index], weights, net.epsilon)
    first, last = _share(net.vocabulary, thread, num_threads)
    _multiply(net.head, normal[:num_wanted], step.logits, first, last, 0)


@_compile_entry
def advance(net, step, pool, blocks, thread, num_threads, signal):
    """Compute one step; all threads call it, with the same `signal`, initially 0.

    `pool` is the KV cache, [blocks, layers, 2, key heads, BLOCK, head width]; `blocks` is the block
    table, [slots, blocks of a sequence].
    """
    num_rows, width = step.hidden.shape
    normal = step.normal[thread]
    num_items = num_rows * net.num_key_heads
    columns = _share(width, thread, num_threads)
    target = num_threads
    for layer in range(net.matrices.shape[0]):
        matrices = net.matrices[layer]
        _project(net, step, layer, normal, thread, num_threads)
        target = _meet(signal, target, num_threads)
        for row in range(thread, num_rows, num_threads):
            _place(net, step, layer, row, pool, blocks)
        target = _meet(signal, target, num_threads)
        for item in range(thread, num_items, num_threads):
            row, head = item // net.num_key_heads, item % net.num_key_heads
            _attend(net, step, layer, row, head, pool, blocks, step.scores[thread])
        target = _meet(signal, target, num_threads)
        _multiply(matrices[OUTPUT], step.attended, step.hidden, columns[0], columns[1], 1)
        target = _meet(signal, target, num_threads)
        _gate(net, step, layer, normal, thread, num_threads)
        target = _meet(signal, target, num_threads)
        _multiply(matrices[DOWN], step.gates, step.hidden, columns[0], columns[1], 1)
        target = _meet(signal, target, num_threads)
    _finish(net, step, normal, thread, num_threads)
