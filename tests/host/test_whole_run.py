"""The runtime over a stored image and the real machine."""

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import DeadlockError, HostError, ImageError
from onewafer.host import DebugUtil, Device, MemcpyDataType, MemcpyOrder, SdkRuntime
from onewafer.host.program.core_file import Core
from onewafer.image import Opcode, ScalarType, load, save
from tests.image.builder import ProgramBuilder, make_image

COPY = {"data_type": MemcpyDataType.MEMCPY_32BIT, "order": MemcpyOrder.ROW_MAJOR}


@pytest.fixture
def folder(tmp_path):
    """Return a stored 2×2 program: `scale(a)` sets y = a·x, `forget` keeps the command stream."""
    builder = ProgramBuilder("scale.csl")
    x = builder.data("x", ScalarType.F32, num_elements=1)
    y = builder.data("y", ScalarType.F32, num_elements=1)
    factor, value, address = builder.register(), builder.register(), builder.register()
    builder.function("scale", argument_registers=(factor,), argument_types=(ScalarType.F32,))
    builder.emit(Opcode.LOAD, ScalarType.F32, rd=value, imm=x)
    builder.emit(Opcode.MUL, ScalarType.F32, rd=value, ra=value, rb=factor)
    builder.emit(Opcode.STORE, ScalarType.F32, ra=address, imm=y, rb=value)
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.RETURN)
    builder.function("forget")
    builder.emit(Opcode.RETURN)
    architecture = load_architecture("wse3")
    image = make_image(architecture, builder.build(), width=2, height=2, uses_memcpy=True)
    save(image, tmp_path)
    return tmp_path


def test_data_go_in_are_worked_on_and_come_out(folder):
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    with SdkRuntime(folder) as runtime:
        runtime.memcpy_h2d(runtime.get_id("x"), x, 0, 0, 2, 2, 1, **COPY)
        runtime.launch("scale", np.float32(2.5))
        runtime.memcpy_d2h(y, runtime.get_id("y"), 0, 0, 2, 2, 1, **COPY)
    np.testing.assert_array_equal(y, 2.5 * x)
    assert runtime.read_symbol(*fabric(runtime, 1, 1), "y", "float32") == [7.5]
    assert (runtime.device.bytes_in, runtime.device.bytes_out) == (16, 16)


def fabric(runtime, x, y):
    image = runtime.device.image
    return image.offset_x + x, image.offset_y + y


def test_coordinates_and_core_dumps(folder, tmp_path):
    with SdkRuntime(folder) as runtime:
        assert runtime.coord_logical_to_physical((1, 1)) == fabric(runtime, 1, 1)
        with pytest.raises(HostError, match=r"PE \(2, 0\) is outside the program"):
            runtime.coord_logical_to_physical((2, 0))
        x = np.arange(4, dtype=np.float32)
        runtime.memcpy_h2d(runtime.get_id("x"), x, 0, 0, 2, 2, 1, **COPY)
        with pytest.raises(HostError, match="None is not a file"):
            runtime.dump_core(None)
        runtime.dump_core(corefile=tmp_path / "core")
        runtime.memcpy_h2d(runtime.get_id("x"), 0 * x, 0, 0, 2, 2, 1, **COPY)
    device = Device.from_checkpoint(tmp_path / "core")
    assert device.read("x", 1).reshape(-1).tolist() == x.tolist()


def test_coordinates_of_variables_have_two_names(folder):
    with SdkRuntime(folder) as runtime:
        x = np.arange(4, dtype=np.float32)
        runtime.memcpy_h2d(runtime.get_id("x"), x, 0, 0, 2, 2, 1, **COPY)
    column, row = runtime.coord_logical_to_physical(logical_coords=(1, 1))
    view = DebugUtil(folder)
    assert view.get_symbol(col=column, row=row, symbol="x", dtype=np.float32) == [3]
    assert view.get_symbol(px=column, py=row, symbol="x", dtype=np.float32) == [3]
    with pytest.raises(HostError, match="has no <debug> module with the key 'trace'"):
        view.read_trace(px=column, py=row, name="trace")


def test_a_function_that_keeps_the_command_stream_is_a_deadlock(folder):
    runtime = SdkRuntime(folder)
    runtime.load()
    runtime.run()
    with pytest.raises(DeadlockError, match="command stream"):
        runtime.launch("forget")


def test_a_folder_without_an_image_is_refused(tmp_path):
    with pytest.raises(ImageError):
        SdkRuntime(tmp_path)


def test_a_core_of_an_image_whose_tables_are_broken_is_refused(folder, tmp_path):
    image = load(folder)
    image.program_of_pe[0, 1] = len(image.programs)
    with pytest.raises(HostError, match="is broken: a PE has program 1 of 1; compile it again"):
        Core(image, tmp_path)
