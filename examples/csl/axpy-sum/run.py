"""Run the compiled program: copy x and y in, launch twice, copy y and the sum out, compare."""

import argparse
import json
from pathlib import Path

import numpy as np

from cerebras.sdk.runtime.sdkruntimepybind import MemcpyDataType, MemcpyOrder, SdkRuntime

COPY = {
    "streaming": False,
    "data_type": MemcpyDataType.MEMCPY_32BIT,
    "order": MemcpyOrder.ROW_MAJOR,
    "nonblock": False,
}

parser = argparse.ArgumentParser()
parser.add_argument("--name", required=True, help="the folder given to cslc with -o")
options = parser.parse_args()

params = json.loads(Path(options.name, "out.json").read_text())["params"]
block_size = int(params["block_size"])
size = 2 * block_size

random = np.random.default_rng(seed=1)
x = random.uniform(-1, 1, size).astype(np.float32)
y = random.uniform(-1, 1, size).astype(np.float32)

runner = SdkRuntime(options.name)
runner.load()
runner.run()

runner.memcpy_h2d(runner.get_id("x"), x, 0, 0, 2, 1, block_size, **COPY)
runner.memcpy_h2d(runner.get_id("y"), y, 0, 0, 2, 1, block_size, **COPY)

runner.launch("axpy_sum", np.float32(3), nonblock=False)
runner.launch("axpy_sum", np.float32(-0.5), nonblock=False)

y_result = np.zeros(size, np.float32)
total = np.zeros(1, np.float32)
runner.memcpy_d2h(y_result, runner.get_id("y"), 0, 0, 2, 1, block_size, **COPY)
runner.memcpy_d2h(total, runner.get_id("total"), 1, 0, 1, 1, 1, **COPY)
runner.stop()

y_expected = y + 2.5 * x
np.testing.assert_allclose(y_result, y_expected, rtol=0, atol=1e-6)
np.testing.assert_allclose(total[0], y_expected.sum(dtype=np.float64), rtol=0, atol=1e-5)
print("SUCCESS!")
