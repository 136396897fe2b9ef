import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.geometry import Rectangle
from onewafer.host import Device, RunLimits
from onewafer.host.runs.progress import RunObserver


class Listener(RunObserver):
    """Keeps what is said."""

    def __init__(self, said):
        self.said = said

    def say(self, line):
        self.said.append(line)


def numbers(height, width, num_elements, dtype=np.float32):
    count = height * width * num_elements
    return np.arange(count).reshape(height, width, num_elements).astype(dtype)


@pytest.mark.parametrize("symbol", ["A", "p"])
def test_a_write_lands_at_each_programs_own_address(device, symbol):
    array = numbers(2, 3, 10)
    device.write(symbol, array)
    memory = device.machine.memory
    assert memory[0, 100:140].tobytes() == array[0, 0].tobytes()
    assert memory[5, 300:340].tobytes() == array[1, 2].tobytes()
    np.testing.assert_array_equal(device.read(symbol, 10), array)


def test_a_pointer_is_followed_to_where_it_points_now(device):
    device.machine.memory[:, 360:362] = np.array([304], "<u2").view(np.uint8)
    inner = Rectangle(1, 0, 2, 2)
    device.write("p", numbers(2, 2, 9), inner)
    np.testing.assert_array_equal(device.read("A", 10, inner)[:, :, 1:], numbers(2, 2, 9))
    with pytest.raises(HostError, match="room for 36 bytes"):
        device.write("p", numbers(2, 2, 10), inner)


def test_a_wild_pointer_is_refused(device):
    device.machine.memory[:, 360:362] = 255
    with pytest.raises(HostError, match=r"pointer 'p' holds 0xffff, where inner\.csl has no"):
        device.read("p", 1)


def test_half_precision_is_packed(device):
    array = numbers(1, 2, 3, np.float16)
    device.write("h", array, Rectangle(1, 1, 2, 1))
    assert device.machine.memory[4, 340:346].tobytes() == array[0, 0].tobytes()
    assert not device.machine.memory[0].view(np.uint8)[140:152].any()
    assert (device.bytes_in, device.bytes_out) == (12, 0)
    assert device.read("h", 6).dtype == np.float16
    assert device.bytes_out == 2 * 3 * 6 * 2


@pytest.mark.parametrize(("height", "width"), [(1, 3), (2, 1), (1, 1)])
def test_a_row_or_column_is_replicated_on_the_wafer(device, height, width):
    array = numbers(height, width, 10)
    device.write("A", array)
    np.testing.assert_array_equal(device.read("A", 10), np.broadcast_to(array, (2, 3, 10)))
    assert device.bytes_in == array.nbytes


def test_big_endian_and_strided_arrays_arrive_whole(device):
    array = np.asfortranarray(numbers(2, 3, 10)).astype(">f4")
    device.write("A", array)
    np.testing.assert_array_equal(device.read("A", 10), array)


def test_start_up_work_is_done_before_the_first_transfer(device):
    device.read("A", 1)
    assert device.machine.cycle == 100


def test_a_launch_reports_its_cycles(device):
    report = device.launch("compute", np.int16(-2), 1.5)
    assert (report.start_cycle, report.end_cycle, report.cycles) == (100, 2600, 2500)
    assert device.machine.launches == [("compute", (-2, 0x3FC00000))]
    assert device.launch("sync").cycles == 2500


def test_raw_reads_may_run_past_a_variable_but_not_past_memory(device):
    word = np.dtype("<u4")
    assert device.read_raw("A", 11, word).shape == (2, 3, 11)
    with pytest.raises(HostError, match="bytes a PE"):
        device.read_raw("A", 250, word)


@pytest.mark.usefixtures("fake_machine")
def test_raw_reads_may_take_two_halves_as_a_word(image):
    said = []
    device = Device(image, load_architecture("wse2"), limits=RunLimits(observer=Listener(said)))
    device.load()
    device.write("h", numbers(2, 3, 6, np.float16))
    words = device.read_raw("h", 3, np.dtype("<u4"))
    assert device.read_raw("h", 1, np.dtype("<u4")).tobytes() == words[:, :, :1].tobytes()
    np.testing.assert_array_equal(words.view(np.float16), numbers(2, 3, 6, np.float16))
    assert len([line for line in said if "'h' holds f16" in line]) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.write("B", numbers(2, 3, 1)), "exports no 'B'; its names are 'A', 'h'"),
        (lambda d: d.read("constan", 1), "did you mean 'constant'"),
        (lambda d: d.write("constant", numbers(2, 3, 1, np.int32)), "read-only.*`true`"),
        (lambda d: d.write("A", numbers(2, 3, 1, np.float64)), r"array\.astype\(np\.float32\)"),
        (lambda d: d.write("A", numbers(3, 2, 1)), r"shape \(2, 3, num_elements\), not"),
        (lambda d: d.write("A", np.zeros(6, np.float32)), r"not \(6,\)"),
        (lambda d: d.write("A", numbers(2, 3, 11)), r"room for 40 bytes on PE \(0, 0\)"),
        (lambda d: d.read("A", 11), "the transfer has 44 bytes a PE"),
        (lambda d: d.read("A", 0), "at least one"),
        (lambda d: d.read("A", 1, Rectangle(1, 0, 3, 1)), "leaves the program, which is 3×2"),
        (lambda d: d.read("A", 1, Rectangle(0, 0, 0, 1)), "is empty"),
        (lambda d: d.read("A", 1, Rectangle(-1, 0, 1, 1)), "leaves the program"),
        (lambda d: d.read("compute", 1), "is a function"),
        (lambda d: d.launch("A"), "is a variable"),
        (lambda d: d.launch("compile"), "did you mean 'compute'"),
        (lambda d: d.launch("compute", 1), r"compute\(i16, f32\) takes 2 arguments, 1 given"),
        (lambda d: d.write_raw("h", numbers(2, 3, 1)), "holds f16 .16 bits .* moves 32 bits"),
        (lambda d: d.load(), "cannot load: the device is loaded"),
    ],
)
def test_wrong_calls_are_refused(device, call, message):
    with pytest.raises(HostError, match=message):
        call(device)


def test_a_refused_write_leaves_memory_untouched(device):
    before = device.machine.memory.copy()
    with pytest.raises(HostError):
        device.write("A", numbers(2, 3, 11))
    np.testing.assert_array_equal(device.machine.memory, before)
    assert device.bytes_in == 0


@pytest.mark.usefixtures("fake_machine")
def test_nothing_works_before_load_or_after_stop(image):
    device = Device(image, load_architecture("wse2"))
    with pytest.raises(HostError, match="cannot read 'A': the device is not loaded yet"):
        device.read("A", 1)
    with pytest.raises(HostError, match=r"call load\(\) first"):
        _ = device.machine
    device.load()
    device.stop()
    with pytest.raises(HostError, match="cannot launch 'sync': the device is stopped"):
        device.launch("sync")
    assert device.machine.cycle == 100


@pytest.mark.usefixtures("fake_machine")
def test_a_pe_without_the_symbol_is_named(image):
    image.programs[1].exports.pop("h")
    device = Device(image, load_architecture("wse2"))
    device.load()
    with pytest.raises(HostError, match=r"PE \(1, 0\) does not export 'h'"):
        device.read("h", 1)
    assert device.read("h", 1, Rectangle(0, 0, 1, 2)).shape == (2, 1, 1)
    image.program_of_pe[1, 0] = -1
    with pytest.raises(HostError, match=r"PE \(0, 1\) has no program"):
        device.read("h", 1, Rectangle(0, 0, 1, 2))
