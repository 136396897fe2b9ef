"""Recordings for tests: of a program that was never run, with counters that a test chooses."""

import numpy as np

from onewafer.recording import SPAN_KINDS, Moves, RunHeader, Spans, Words, write_recording
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel, eastward

SOURCES = {"east.csl": "line one\nline two"}


def program():
    """Return a program of a few instructions."""
    kernel = Kernel("east.csl")
    kernel.function("main")
    return kernel.finish()


def make_program(width, height):
    """Return an image whose PEs all run the program, with a route of color 3 in the first row."""
    placed = {(x, y): program() for y in range(height) for x in range(width)}
    return make_image(WSE3, placed, width=width, height=height, routes=eastward(3, 0, width - 1))


def make_spans(num_pes, rows):
    """Return spans of rows: PE, start, end, cycles, thread, is open, kind, name, source."""
    pes, start, end, cycles, thread, is_open, *texts = zip(*sorted(rows), strict=True)
    known = (SPAN_KINDS, (), ("",))
    words = [Words(*_numbered(*both)) for both in zip(texts, known, strict=True)]
    return Spans(
        np.searchsorted(pes, np.arange(num_pes + 1)),
        *(np.array(column, np.int64) for column in (start, end, cycles)),
        np.array(thread, np.int8),
        np.array(is_open, np.bool_),
        *words,
    )


def make_moves(num_pes, rows):
    """Return moves of rows: PE, cycle, color, side."""
    pes, *columns = np.array(sorted(rows)).reshape(-1, 4).T
    return Moves(np.searchsorted(pes, np.arange(num_pes + 1)), *columns)


def _numbered(column, known):
    texts = tuple(dict.fromkeys((*known, *column)))
    return np.array([texts.index(text) for text in column], np.int32), texts


def record(path, columns=None, *, width=3, height=2, image=None, sources=None, traced=(), **header):
    """Write a recording; its busy cycles are 0, 10, 20, … unless columns are given."""
    chosen = image if image is not None else make_program(width, height)
    about = {
        "title": "run",
        "arch": "wse3",
        "profile": "sdk",
        "engine": "fast",
        "clock_hertz": 850e6,
        "cycles": 100,
        "reasons": ("input empty",),
    }
    busy = 10 * np.arange(chosen.width * chosen.height, dtype=np.int64)
    write_recording(
        path,
        RunHeader(**{**about, "width": chosen.width, "height": chosen.height, **header}),
        columns or {"program": chosen.program_of_pe, "busy_cycles": busy},
        image=chosen,
        sources=SOURCES if sources is None else sources,
        traced=traced,
    )
    return path
