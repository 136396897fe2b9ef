"""Parameters have the names and the order that the SDK's documentation gives them.

From the pages "SdkRuntime API Reference" and "SdkLayout API Reference" of SDK 2.10, with the names
of older versions where public programs use them.
"""

import inspect

import pytest

from onewafer.host import (
    DebugUtil,
    IntVector,
    SdkRuntime,
    SimfabConfig,
    calculate_cycles,
    get_platform,
    get_simulator,
    get_system,
    input_array_to_u32,
    memcpy_view,
)
from onewafer.sdk_layout import (
    CodeRegion,
    Color,
    RoutingPosition,
    SdkCompileArtifacts,
    SdkLayout,
    get_edge_routing,
)

COPY = "px py w h elem_per_pe"
HOW = "streaming data_type order nonblock"
PORT = "color edge routes data_size prefix"
STACK = "children origin"
STREAM = "port io_loc io_buffer_size"


@pytest.mark.parametrize(
    ("function", "positional", "by_name"),
    [
        (SdkRuntime, "bindir platform", "cmaddr suppress_simfab_trace simfab_numthreads msg_level"),
        (SdkRuntime, "bindir", "memcpy_required simulator disable_version_check"),
        (SdkRuntime.coord_logical_to_physical, "logical_coords", ""),
        (SdkRuntime.dump_core, "corefile", ""),
        (SdkRuntime.dump_elf_core, "corefile", ""),
        (SdkRuntime.get_id, "symbol", ""),
        (SdkRuntime.get_port_id, "port_name", ""),
        (SdkRuntime.is_task_done, "task_handle", ""),
        (SdkRuntime.launch, "symbol args", "nonblock"),
        (SdkRuntime.memcpy_d2h, f"dest src {COPY}", HOW),
        (SdkRuntime.memcpy_h2d, f"dest src {COPY}", HOW),
        (SdkRuntime.memcpy_h2d_colbcast, f"dest src {COPY}", HOW),
        (SdkRuntime.memcpy_h2d_rowbcast, f"dest src {COPY}", HOW),
        (SdkRuntime.memcpy_h2d_stride, f"dest src {COPY} row_stride col_stride", HOW),
        (SdkRuntime.read_symbol, "x y symbol_name dtype", ""),
        (SdkRuntime.receive, "port dest n_wavelets", "nonblock"),
        (SdkRuntime.receive_tofile, "port outfile", "nonblock"),
        (SdkRuntime.send, "port src n_wavelets", "nonblock"),
        (SdkRuntime.task_wait, "task_handle", ""),
        (SimfabConfig, "num_threads suppress_trace dump_core core_path", ""),
        (SdkCompileArtifacts, "artifacts_path", ""),
        (get_platform, "cmaddr config target", ""),
        (get_simulator, "config target", ""),
        (get_system, "cmaddr config target", ""),
        (calculate_cycles, "timestamp_buf", ""),
        (input_array_to_u32, "arr sentinel fast_dim_sz", ""),
        (memcpy_view, "arr datatype", ""),
        (DebugUtil, "bindir", ""),
        (DebugUtil.get_symbol, "col row symbol dtype", ""),
        (DebugUtil.get_symbol_rect, "rectangle symbol dtype", ""),
        (DebugUtil.read_trace, "px py name", ""),
        (SdkLayout, "platform", "msg_level"),
        (SdkLayout.compile, "out_prefix libs cslc_prefix save_port_map f16_type", ""),
        (SdkLayout.connect, "tx rx", ""),
        (SdkLayout.create_code_region, "source name width height", ""),
        (SdkLayout.create_input_stream, STREAM, ""),
        (SdkLayout.create_input_stream_from_loc, "loc color prefix", ""),
        (SdkLayout.create_output_stream, STREAM, ""),
        (SdkLayout.create_output_stream_from_loc, "loc color prefix", ""),
        (SdkLayout.hstack, STACK, ""),
        (SdkLayout.vstack, STACK, ""),
        (CodeRegion.color, "name value", ""),
        (CodeRegion.create_input_port, PORT, ""),
        (CodeRegion.create_output_port, PORT, ""),
        (CodeRegion.paint, "coord color routes", ""),
        (CodeRegion.paint_all, "color routes edge_routes", ""),
        (CodeRegion.paint_range, "rect color routes", ""),
        (CodeRegion.place, "x y", ""),
        (CodeRegion.set_param, "coord name value", "color"),
        (CodeRegion.set_param_all, "name value", "color"),
        (CodeRegion.set_param_range, "rect name value", "color"),
        (CodeRegion.set_symbol_all, "symbol data width height", ""),
        (Color, "name value", ""),
        (RoutingPosition.set_input, "routes", ""),
        (RoutingPosition.set_output, "routes", ""),
        (RoutingPosition.add_input, "route", ""),
        (RoutingPosition.add_output, "route", ""),
        (get_edge_routing, "edge routes", ""),
        (IntVector, "x y", ""),
    ],
)
def test_names_are_the_documented_ones(function, positional, by_name):
    parameters = inspect.signature(function).parameters
    names = [name for name in parameters if name != "self"]
    expected = positional.split()
    assert names[: len(expected)] == expected
    assert all(parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY for name in expected)
    assert set(by_name.split()) <= set(names)
