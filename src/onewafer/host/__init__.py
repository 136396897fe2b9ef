"""The host's side of a simulated wafer: load, copy, launch."""

from __future__ import annotations

# It comes first, so that a Ctrl-C during the later imports is reported in one line.
from onewafer.host.runs import short_traceback as _  # noqa: F401

# isort: split
from onewafer.host.device.device import Device
from onewafer.host.program.exports import suggest
from onewafer.host.program.host_buffer import MemcpyDataType, MemcpyOrder
from onewafer.host.program.stream_ports import StreamPort, load_stream_ports, save_stream_ports
from onewafer.host.runs.interruption import (
    Interruption,
    Terminated,
    ended_by_exceptions,
    scripts_handler,
)
from onewafer.host.runs.limits import NO_LIMITS, RunLimits
from onewafer.host.runs.print_log import PrintLog, prints
from onewafer.host.runs.progress import RunObserver, RunProgress
from onewafer.host.runs.progress_display import (
    CellLine,
    WarningsOnly,
    choose_observer,
    describe_progress,
)
from onewafer.host.runs.readers import RunReader
from onewafer.host.runs.recorder import (
    AT_THE_END,
    Recorded,
    RecordingOptions,
    RunRecorder,
    folder_recorder,
)
from onewafer.host.runs.review import checking_of
from onewafer.host.runs.samples import Whereabouts, addresses_of
from onewafer.host.runs.tracing import convert_trace
from onewafer.host.sdk.arguments import find_folder
from onewafer.host.sdk.arrays import input_array_to_u32, memcpy_view
from onewafer.host.sdk.debug_trace import DebugUtil
from onewafer.host.sdk.geometry import IntRectangle, IntVector
from onewafer.host.sdk.keyword_names import also_named
from onewafer.host.sdk.platform import (
    SdkExecutionPlatform,
    SdkTarget,
    SimfabConfig,
    get_platform,
    get_simulator,
    get_system,
)
from onewafer.host.sdk.runtime import SdkRuntime, Task
from onewafer.host.sdk.timing import calculate_cycles, float_to_hex, make_u48, sub_ts
from onewafer.recording import LaunchReport

__all__ = [
    "AT_THE_END",
    "NO_LIMITS",
    "CellLine",
    "DebugUtil",
    "Device",
    "IntRectangle",
    "IntVector",
    "Interruption",
    "LaunchReport",
    "MemcpyDataType",
    "MemcpyOrder",
    "PrintLog",
    "Recorded",
    "RecordingOptions",
    "RunLimits",
    "RunObserver",
    "RunProgress",
    "RunReader",
    "RunRecorder",
    "SdkExecutionPlatform",
    "SdkRuntime",
    "SdkTarget",
    "SimfabConfig",
    "StreamPort",
    "Task",
    "Terminated",
    "WarningsOnly",
    "Whereabouts",
    "addresses_of",
    "also_named",
    "calculate_cycles",
    "checking_of",
    "choose_observer",
    "convert_trace",
    "describe_progress",
    "ended_by_exceptions",
    "find_folder",
    "float_to_hex",
    "folder_recorder",
    "get_platform",
    "get_simulator",
    "get_system",
    "input_array_to_u32",
    "load_stream_ports",
    "make_u48",
    "memcpy_view",
    "prints",
    "save_stream_ports",
    "scripts_handler",
    "sub_ts",
    "suggest",
]
