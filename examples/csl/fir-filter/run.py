"""Filter a signal on a row of PEs, one for each tap, and compare with NumPy.

The samples pass through the row once, and every PE keeps them. The sums go from PE to PE, each of
which adds its share. Two colors take turns, because no PE can receive and send on one color.
"""

import argparse

import numpy as np

from cerebras.geometry.geometry import IntVector
from cerebras.sdk.runtime.sdkruntimepybind import (
    Edge,
    Route,
    RoutingPosition,
    SdkLayout,
    SdkRuntime,
    SdkTarget,
    get_edge_routing,
    get_platform,
)

SIZE = 64
WEIGHTS = np.array([0.4, 0.3, 0.15, 0.1, 0.05], np.float32)
NUM_TAPS = len(WEIGHTS)

parser = argparse.ArgumentParser()
parser.add_argument("--arch", choices=["wse2", "wse3"], default="wse3")
options = parser.parse_args()

platform = get_platform(None, target=SdkTarget[options.arch.upper()])
layout = SdkLayout(platform)

taps = layout.create_code_region("./tap.csl", "taps", NUM_TAPS, 1)
taps.place(2, 1)
taps.set_param_all("size", SIZE)
taps.set_param_all("num_taps", NUM_TAPS)
taps.set_symbol_all("weight", WEIGHTS, NUM_TAPS, 1)

x = taps.color("x")
listen_and_pass = RoutingPosition().set_input([Route.WEST]).set_output([Route.RAMP, Route.EAST])
listen = RoutingPosition().set_input([Route.WEST]).set_output([Route.RAMP])
taps.paint_all(x, [listen_and_pass], [get_edge_routing(Edge.RIGHT, [listen])])
taps.set_param_all(x)

send = RoutingPosition().set_input([Route.RAMP]).set_output([Route.EAST])
left, right = taps.color("odd"), taps.color("even")
for tap in range(NUM_TAPS):
    pe = IntVector(tap, 0)
    taps.set_param(pe, "tap", tap)
    taps.set_param(pe, "left", left)
    taps.set_param(pe, "right", right)
    if tap > 0:
        taps.paint(pe, left, [listen])
    taps.paint(pe, right, [send])
    left, right = right, left
last = left  # what the last tap sends

x_entry = RoutingPosition().set_output([Route.RAMP, Route.EAST])
sums_exit = RoutingPosition().set_input([Route.RAMP])
x_port = taps.create_input_port(x, Edge.LEFT, [x_entry], SIZE)
y_port = taps.create_output_port(last, Edge.RIGHT, [sums_exit], SIZE)
x_stream = layout.create_input_stream(x_port)
y_stream = layout.create_output_stream(y_port)

runtime = SdkRuntime(layout.compile("out"), platform, memcpy_required=False)
runtime.load()
runtime.run()

signal = np.random.default_rng(seed=1).uniform(-1, 1, SIZE).astype(np.float32)
filtered = np.zeros(SIZE, np.float32)
runtime.send(x_stream, signal, nonblock=True)
runtime.receive(y_stream, filtered, SIZE, nonblock=True)
runtime.stop()

np.testing.assert_allclose(filtered, np.convolve(signal, WEIGHTS)[:SIZE], rtol=0, atol=1e-6)
print("SUCCESS!")
