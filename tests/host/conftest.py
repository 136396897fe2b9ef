"""A hand-made image and a machine that remembers what it was told."""

from __future__ import annotations

import os

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.host import Device
from onewafer.image import Export, ScalarType, Symbol, SymbolKind, TileProgram, WaferImage
from onewafer.simulator import Activity, StopReason
from onewafer.trace import Detail

WIDTH, HEIGHT = 3, 2
OFFSET_X, OFFSET_Y = 4, 1


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    """Keep the settings of whoever runs the tests out of them; only the cache stays."""
    for name in os.environ:
        if name.startswith("ONEWAFER_") and name != "ONEWAFER_CACHE_DIR":
            monkeypatch.delenv(name)


class FakeMachine:
    """Memory, a clock that ticks 2,500 cycles a launch, and the list of launches."""

    engine = "fake"
    engine_note = None
    is_at_rest = True

    def __init__(
        self, image, _architecture, *, engine, sink, detail, memory_limit, threads, checking
    ):
        assert (engine, memory_limit, threads) == ("fast", None, None)
        assert (sink, detail, checking.is_strict) == (None, Detail.EVENTS, False)
        self.image = image
        self.memory = np.zeros((image.width * image.height, 1024), np.uint8)
        for y, x in np.ndindex(image.height, image.width):
            program = image.programs[image.program_of_pe[y, x]]
            pointer = next(s for s in program.symbols if s.name == "p_pointer")
            target = next(s for s in program.symbols if s.name == "array")
            start, pe = pointer.address, y * image.width + x
            self.memory[pe, start : start + 2] = np.array([target.address], "<u2").view(np.uint8)
        self.cycle = 0
        self.launches = []
        self._work = 100

    def activity(self):
        return Activity(np.zeros((self.image.height, self.image.width), np.int64), 0)

    def launch(self, name, words=()):
        self.launches.append((name, tuple(words)))
        self._work += 2500

    def run(self, *, max_cycles=None):
        step = self._work if max_cycles is None else min(self._work, max_cycles)
        self.cycle += step
        self._work -= step
        return StopReason.CYCLE_LIMIT if self._work else StopReason.QUIESCENT

    def find_deadlock(self):
        return None

    def note_written(self, pes, columns):
        pass

    def find_leftovers(self):
        return []

    def findings(self):
        return []

    def peek(self, x, y, address, num_bytes):
        row = self.memory[y * self.image.width + x]
        return row[address : address + num_bytes].tobytes()


def _variable(name, address, num_bytes, element):
    return Symbol(name, SymbolKind.VARIABLE, address, num_bytes, element)


def _program(name, start):
    """Return a program whose variables begin at `start`."""
    symbols = (
        _variable("array", start, 40, ScalarType.F32),
        _variable("halves", start + 40, 12, ScalarType.F16),
        _variable("constant", start + 52, 8, ScalarType.I32),
        _variable("p_pointer", start + 60, 2, None),
    )
    exports = {"A": "array", "h": "halves", "constant": "constant", "p": "p_pointer"}
    return TileProgram(
        name=name,
        code=np.zeros((1, 8), np.int32),
        locations=(None,),
        num_registers=1,
        data=np.zeros(64, np.uint8),
        data_address=start,
        sections=(),
        symbols=symbols,
        exports=exports,
    )


@pytest.fixture
def image():
    """Return a 3×2 program: column 0 runs `edge.csl`, whose variables lie elsewhere."""
    variable, function = SymbolKind.VARIABLE, SymbolKind.FUNCTION
    program_of_pe = np.ones((HEIGHT, WIDTH), np.int16)
    program_of_pe[:, 0] = 0
    return WaferImage(
        arch="wse2",
        width=WIDTH,
        height=HEIGHT,
        fabric_width=10,
        fabric_height=4,
        offset_x=OFFSET_X,
        offset_y=OFFSET_Y,
        programs=(_program("edge.csl", 100), _program("inner.csl", 300)),
        program_of_pe=program_of_pe,
        color_configs=(),
        config_of_color=np.full((HEIGHT, WIDTH, 24), -1, np.int16),
        exports=(
            Export("A", variable, ScalarType.F32, is_mutable=True),
            Export("h", variable, ScalarType.F16, is_mutable=True),
            Export("constant", variable, ScalarType.I32, is_mutable=False),
            Export("p", variable, ScalarType.F32, is_mutable=True),
            Export(
                "compute",
                function,
                None,
                is_mutable=False,
                argument_types=(ScalarType.I16, ScalarType.F32),
            ),
            Export("sync", function, None, is_mutable=False),
        ),
    )


@pytest.fixture
def fake_machine(monkeypatch):
    """Let devices simulate with `FakeMachine`."""
    monkeypatch.setattr("onewafer.host.device.device.Machine", FakeMachine)


@pytest.fixture
def device(image, fake_machine):  # noqa: ARG001 - for its effect
    """Return a loaded device on the fake machine."""
    device = Device(image, load_architecture("wse2"))
    device.load()
    return device
