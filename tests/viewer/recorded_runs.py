"""Recordings of the sizes that the page is tested with, and a server for them."""

import asyncio
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np

from onewafer.image import Opcode, ScalarType, SourceLocation
from onewafer.recording import (
    WINDOW_STEP,
    LaunchReport,
    Operation,
    RecordingFile,
    Split,
    Tensor,
    Window,
    column_of_step,
    column_of_window,
)
from onewafer.viewer.followed_runs import FollowedRuns
from onewafer.viewer.page_server import RUN_PAGE, address_of, listen, make_server
from tests.image.builder import make_image
from tests.recording.recordings import make_moves, make_spans, record
from tests.simulator.assembly import WSE3, Kernel, eastward

EVIL = "</script><img src=x onerror=\"document.title='owned'\">"
OPERATIONS = (
    Operation(
        name="linear",
        layer=EVIL,
        launch="first",
        part="MLP",
        source="sum.csl:2",
        shape=(2, 8),
        work_cycles=90,
        collective_cycles=10,
        rounds=1,
        activation_bytes=2048,
    ),
)
MEMORY = (("code", 10_240), ("weights", 20_480), ("activations", 4096))
SOURCE = "one\ntwo\nvar total: f32 = 7; // <b>bold</b>\n"


def program(name):
    """Return a program with an instruction of line 3."""
    kernel = Kernel(name)
    kernel.data("total", ScalarType.F32)
    kernel.function("main")
    place = SourceLocation("sum.csl", 3, 1)
    kernel.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=kernel.register(), imm=7, location=place)
    return kernel.finish()


def make_grid(width, height):
    """Return an image of two programs."""
    left, right = program("left.csl"), program(EVIL)
    places = [(x, y) for y in range(height) for x in range(width)]
    placed = {(x, y): left if x < width // 2 else right for x, y in places}
    return make_image(WSE3, placed, width=width, height=height, routes=eastward(3, 0, width - 1))


def record_grid(path, width, height, *, num_windows=0, shift=0, is_over=True, cycles=1000):
    """Record two programs on a rectangle, all numbers different from PE to PE."""
    image = make_grid(width, height)
    windows = tuple(Window(100 * i, 100 * (i + 1)) for i in range(num_windows))
    launches = (LaunchReport("first", 20, 160), LaunchReport(EVIL, 160, 400))
    told = {"windows": windows, "operations": OPERATIONS, "launches": launches, "is_over": is_over}
    told |= {"cycles": cycles, "memory": MEMORY}
    if num_windows:
        told["step_cycles"] = ((0, 70), (1, 14))
    return record_image(path, image, shift, **told)


def record_image(path, image, shift=0, **header):
    """Record counters that differ from PE to PE, and by `shift` from run to run."""
    width, height = image.width, image.height
    num_pes = width * height
    busy = (np.arange(num_pes, dtype=np.int64) * 7919 + shift) % 1000
    waits = np.arange(num_pes, dtype=np.int64) % 500
    columns = {
        "program": image.program_of_pe,
        "program_counter": np.zeros(num_pes, np.int32),
        "busy_cycles": busy,
        "wait_input_empty_cycles": waits,
        "wavelets_east": waits // 3,
        "register_5": np.full(num_pes, 0x3F80_0000, np.uint32),
        "sram_code_bytes": np.full(num_pes, 16, np.int32),
    }
    columns |= sampled(num_pes, len(header.get("windows", ())))
    if header.get("step_cycles"):
        columns[column_of_step(0)] = np.arange(num_pes, dtype=np.uint32) * 2
        columns[column_of_step(1)] = np.arange(num_pes, dtype=np.uint32)
    split = Split("x", tuple(((4 * x, 4 * x + 4),) for x in range(width)))
    whole = Split("", (((0, 2),),))
    weight = Tensor(EVIL, "parameter", "MLP", "f16", (2, 4 * width), "w", 16, 1, 0)
    return record(
        path,
        columns,
        image=image,
        sources={"sum.csl": SOURCE},
        title=EVIL,
        tensors=(weight,),
        splits=(split, whole),
        **{"cycles": 1000, **header},
    )


def record_traced(path, width=3, height=2, **header):
    """Record a run that was traced: PE i has a task, an operation in it, a wait in that, and more.

    The last one does nothing.
    """
    num_pes = width * height
    rows = []
    for pe in range(num_pes - 1):
        at = 100 * pe
        rows += [
            (pe, at, at + 400, 400, 8, False, "task", EVIL, "sum.csl:1"),
            (pe, at + 50, at + 350, 300, 8, False, "operation", "fadds", "sum.csl:3"),
            (pe, at + 100, at + 200, 60, 8, False, "wait", "input empty C3", "sum.csl:3"),
            (pe, at + 200, 1000, 800 - at, 2, True, "operation", "fmovs", "sum.csl:2"),
        ]
    moves = make_moves(num_pes, [(pe, 100 * pe, 3, 1) for pe in range(num_pes - 1)])
    image = make_grid(width, height)
    return record_image(path, image, traced=(make_spans(num_pes, rows), moves), **header)


def sampled(num_pes, num_windows):
    """Return columns of windows that differ from PE to PE, and from window to window."""
    columns = {}
    pes = np.arange(num_pes)
    for number in range(num_windows):
        busy = (pes * 7919 + 37 * number) % 100
        columns[column_of_window(number, "busy_cycles")] = busy.astype(np.uint32)
        columns[column_of_window(number, "wait_cycles")] = (pes % 50).astype(np.uint32)
        columns[column_of_window(number, "wavelets")] = (pes % 7 + number).astype(np.uint32)
        columns[column_of_window(number, WINDOW_STEP)] = ((pes + number) % 3 - 1).astype(np.int16)
    return columns


@contextmanager
def viewing(*paths):
    """Yield the address of a server that shows a recording, or two."""
    with serving(FollowedRuns([RecordingFile(path) for path in paths])) as url:
        yield url


@contextmanager
def serving(runs, page=RUN_PAGE):
    """Yield the address of a server that shows what runs are followed."""
    server, listener = make_server(runs, runs.look, page), listen(0)
    serve = partial(server.serve, sockets=[listener])
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield address_of(listener).rstrip("/")
    finally:
        server.should_exit = True
        thread.join(20)
