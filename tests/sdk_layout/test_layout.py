"""`SdkLayout` from regions to results, and what it says to mistakes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import CompileError, HostError
from onewafer.host import IntRectangle, IntVector, SdkRuntime, SdkTarget, get_platform
from onewafer.sdk_layout import (
    FP16TYPE,
    Color,
    Edge,
    Route,
    RoutingPosition,
    SdkCompileArtifacts,
    SdkLayout,
    get_edge_routing,
)

FROM_RAMP = RoutingPosition().set_input([Route.RAMP])
TO_RAMP = RoutingPosition().set_output([Route.RAMP])
EAST, WEST = [Route.EAST], [Route.WEST]


@pytest.fixture(params=SdkTarget, ids=lambda target: target.arch)
def platform(request):
    return get_platform(None, None, request.param)


@pytest.fixture
def layout():
    return SdkLayout(SdkTarget.WSE3)


def add_sender(layout, name="sender", height=1, data=None):
    """Return a region of senders and its port to the east."""
    region = layout.create_code_region("./sender.csl", name, 1, height)
    tx = region.color("tx")
    region.set_param_all("size", 4)
    region.set_param_all(tx)
    if data is not None:
        region.set_symbol_all("data", data, 4, height)
    return region, region.create_output_port(tx, Edge.RIGHT, [FROM_RAMP], 4 * height)


def add_receiver(layout, name="receiver", height=1, edge=Edge.LEFT):
    region = layout.create_code_region("./receiver.csl", name, 1, height)
    rx = region.color("rx")
    region.set_param_all("size", np.int16(4))
    region.set_param_all("rx", rx)
    return region, region.create_input_port(rx, edge, [TO_RAMP], 4 * height)


def run(artifacts, platform):
    runtime = SdkRuntime(artifacts, platform, memcpy_required=False)
    runtime.load()
    runtime.run()
    runtime.stop()
    return runtime


def test_color_is_the_number_of_an_integer_param(csl, platform):
    """SDK 1.4 declares such a param as `color`, SDK 2.10 as `u16`."""
    source = (csl / "sender.csl").read_text()
    declared, used = "param tx: color;", "@get_color(tx)"
    assert source.count(declared) == 1
    changed = source.replace("= tx", f"= {used}").replace(declared, "param tx: u16;")
    (csl / "sender.csl").write_text(changed)
    layout = SdkLayout(platform)
    data = np.arange(4, dtype=np.uint32)
    sender, tx = add_sender(layout, data=data)
    receiver, rx = add_receiver(layout)
    sender.place(0, 0)
    receiver.place(1, 0)
    layout.connect(tx, rx)
    runtime = run(layout.compile("out"), platform)
    np.testing.assert_array_equal(runtime.read_symbol(1, 0, "data", "uint32"), data)
    written = Path("out/layout.csl").read_text()
    assert re.search(r"\.tx = \d", written)
    assert re.search(r"\.rx = @get_color\(", written)


@pytest.mark.usefixtures("csl")
def test_rows_arrive_at_their_rows(platform):
    """Three senders of one file and one color, each with rows of its own."""
    layout = SdkLayout(platform)
    data = np.arange(12, dtype=np.uint32)
    sender, tx = add_sender(layout, height=3, data=data)
    receiver, rx = add_receiver(layout, height=3)
    sender.place(1, 1)
    receiver.place(5, 2)
    layout.connect(tx, rx)
    runtime = run(layout.compile("out"), platform)
    received = [runtime.read_symbol(5, 2 + y, "data", "uint32") for y in range(3)]
    np.testing.assert_array_equal(np.concatenate(received), data)


@pytest.mark.usefixtures("csl")
def test_one_file_in_two_regions_has_two_contents():
    """Both run one tile program until their symbols differ."""
    layout = SdkLayout(SdkTarget.WSE3)
    receivers = []
    for number, data in enumerate((np.arange(4, dtype=np.uint32), None)):
        sender, tx = add_sender(layout, f"sender{number}", data=data)
        receiver, rx = add_receiver(layout, f"receiver{number}")
        sender.place(0, 2 * number)
        receiver.place(2, 2 * number)
        layout.connect(tx, rx)
        receivers.append(receiver)
    runtime = run(layout.compile("out"), None)
    results = [runtime.read_symbol(2, 2 * n, "data", "uint32").tolist() for n in range(2)]
    assert results == [[0, 1, 2, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("f16_type", FP16TYPE)
def test_the_16_bit_float_is_that_of_compile(csl, layout, f16_type):
    (csl / "halves.csl").write_text(
        "export var sum = @zeros([2]@fp16());\nexport var bits: u16 = 0;\n"
        "task main() void { sum[0] += 6.0; bits = @bitcast(u16, sum[0]); }\n"
        "comptime { @bind_local_task(main, @get_local_task_id(9));"
        " @activate(@get_local_task_id(9)); }\n"
    )
    layout.create_code_region("./halves.csl", "halves", 1, 1).place(4, 1)
    runtime = run(layout.compile("out", f16_type=f16_type), None)
    bits = {FP16TYPE.F16: 0x4600, FP16TYPE.BF16: 0x40C0, FP16TYPE.CB16: 0x5900}[f16_type]
    assert runtime.read_symbol(4, 1, "bits", "uint16").tolist() == [bits]


@settings(max_examples=15)
@given(
    places=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8, unique=True
    ),
    edges=st.lists(st.sampled_from(Edge), min_size=4, max_size=4),
)
@pytest.mark.usefixtures("csl")
def test_data_arrives_wherever_regions_lie(places, edges):
    """Each sender has its own numbers; free rows and columns lie between all regions."""
    layout = SdkLayout(SdkTarget.WSE2)
    pairs = list(zip(places[::2], places[1::2], strict=False))
    for number, (start, end) in enumerate(pairs):
        data = 10 * number + np.arange(4, dtype=np.uint32)
        sender, tx = add_sender(layout, f"sender{number}", data=data)
        receiver, rx = add_receiver(layout, f"receiver{number}", edge=edges[number])
        sender.place(2 * start[0], 2 * start[1])
        receiver.place(2 * end[0], 2 * end[1])
        layout.connect(tx, rx)
    runtime = run(layout.compile("out"), None)
    for number, (_, (x, y)) in enumerate(pairs):
        received = runtime.read_symbol(2 * x, 2 * y, "data", "uint32")
        assert received.tolist() == [10 * number + i for i in range(4)]


def test_the_folder_has_all_there_is_to_know(csl):
    layout = SdkLayout(SdkTarget.WSE2)
    sender, tx = add_sender(layout)
    receiver, rx = add_receiver(layout)
    layout.hstack([sender, receiver])
    layout.connect(tx, rx)
    artifacts = layout.compile("out/first")
    folder = csl / artifacts.artifacts_path
    assert json.loads((folder / "colors.json").read_text()) == {"receiver_rx": 0, "sender_tx": 0}
    assert json.loads((folder / "out.json").read_text())["arch"] == "wse2"
    text = (folder / "layout.csl").read_text()
    assert '@set_tile_code(0, 0, "../../sender.csl", .{ .size = 4, .tx = @get_color(0) });' in text
    assert "@set_rectangle(2, 1);" in text


@pytest.mark.usefixtures("csl")
def test_params_by_range_and_by_pe(layout):
    region, _ = add_sender(layout, height=4)
    region.set_param_range(IntRectangle(IntVector(0, 1), IntVector(1, 3)), "size", 2)
    region.set_param(IntVector(0, 3), "size", np.uint16(1))
    assert [region.params["size"].at(0, y) for y in range(4)] == [4, 2, 2, 1]
    region.set_param_range(IntRectangle(origin=IntVector(0, 2), dims=IntVector(1, 2)), "size", 7)
    assert [region.params["size"].at(0, y) for y in range(4)] == [4, 2, 7, 7]


def test_a_color_is_a_param_under_three_forms(layout):
    region = layout.create_code_region("pe.csl", "r", 2, 1)
    place, color = IntVector(1, 0), Color("c")
    region.set_param_all(color=color)
    region.set_param_range(IntRectangle(IntVector(0, 0), IntVector(2, 1)), color=color)
    region.set_param(place, color=color)
    region.set_param_all("a", color)
    region.set_param_all("b", color=color)
    region.set_param_all(name="d", value=color)
    assert list(region.params) == ["c", "a", "b", "d"]
    assert {table.at(1, 0) for table in region.params.values()} == {color}


@pytest.mark.parametrize(
    "arguments",
    [
        {"platform": get_platform(target=SdkTarget.WSE2)},
        {"platform": SdkTarget.WSE2},
        {"target": SdkTarget.WSE2},
    ],
)
@pytest.mark.usefixtures("csl")
def test_a_layout_is_for_a_platform_or_a_target(arguments):
    layout = SdkLayout(**arguments, msg_level="ERROR")
    region, _ = add_sender(layout)
    region.ports.clear()
    artifacts = layout.compile("out")
    platform = get_platform(target=SdkTarget.WSE2)
    for folder in (artifacts, SdkCompileArtifacts("out"), SdkCompileArtifacts(Path("out"))):
        SdkRuntime(artifacts=folder, platform=platform, memcpy_required=False)
    assert SdkCompileArtifacts(artifacts_path="out") == artifacts


def test_edges_are_painted_over_the_rest(layout):
    region = layout.create_code_region("pe.csl", "r", 3, 2)
    color = Color("c")
    inner = RoutingPosition().set_input(WEST).set_output([Route.RAMP, Route.EAST])
    last = RoutingPosition().set_input(WEST).set_output([Route.RAMP])
    region.paint_all(color, [inner], [get_edge_routing(Edge.RIGHT, [last])])
    table = region.paints[color]
    assert [table.at(x, 1)[0].tx.bit_count() for x in range(3)] == [2, 2, 1]


def test_stacks(layout):
    regions = [layout.create_code_region("pe.csl", f"r{n}", n + 1, 2) for n in range(3)]
    assert layout.hstack(regions, IntVector(2, 1)) == 6
    assert [region.place_of for region in regions] == [(2, 1), (3, 1), (5, 1)]
    assert layout.vstack(regions) == 6
    assert [region.place_of for region in regions] == [(2, 1), (2, 3), (2, 5)]


# --- mistakes ------------------------------------------------------------------------------------


def test_findings_of_the_compiler_show_the_layout(csl, layout):
    region, _ = add_sender(layout)
    region.ports.clear()
    region.set_param_all("size", True)  # noqa: FBT003 - the mistake
    with pytest.raises(CompileError, match=r"out/layout.csl:7"):
        layout.compile("out")
    assert ".size = true" in (csl / "out" / "layout.csl").read_text()


@pytest.mark.usefixtures("csl")
@pytest.mark.parametrize(
    ("steps", "code", "help_text"),
    [
        ("region.paint(IntVector(1, 0), color, [to('EAST')])", "route-leaves-rectangle", "with get_edge_routing"),
        ("region.paint(IntVector(0, 0), color, [to('EAST')]); region.paint(IntVector(1, 0), color, [to('RAMP')])",
         "route-not-accepted", "let the neighbour receive it"),
        ("region.paint_all(color, [to('RAMP').add_input(Route.EAST)])", "two-drivers", "a list of positions"),
    ],
)  # fmt: skip
def test_findings_help_the_script(capsys, steps, code, help_text):
    layout = SdkLayout(SdkTarget.WSE2, msg_level="WARNING")
    region = layout.create_code_region("./sender.csl", "sender", 2, 1)
    region.set_param_all("size", 4)
    region.set_param_all(region.color("tx"))

    def to(side):
        return RoutingPosition().set_input([Route.NORTH]).set_output([Route[side]])

    exec(steps, {**globals(), "region": region, "color": Color("c"), "to": to})  # noqa: S102
    layout.compile("out")
    shown = capsys.readouterr().err
    (finding,) = re.findall(rf"^warning\[{code}\].*?(?:\n\n|\Z)", shown, re.MULTILINE | re.DOTALL)
    assert help_text in finding


@pytest.mark.usefixtures("csl")
def test_a_param_without_value_helps_the_script(layout):
    region = layout.create_code_region("./sender.csl", "sender", 2, 1)
    region.set_param_all(region.color("tx"))
    with pytest.raises(CompileError) as caught:
        layout.compile("out")
    (finding,) = caught.value.diagnostics
    assert finding.code == "unbound-param"
    assert "region.set_param_all" in finding.help


@pytest.mark.usefixtures("csl")
def test_a_color_of_the_layout_that_should_be_the_regions_is_said(layout):
    """Regions in a chain that all use Color("rx") and Color("tx")."""
    ports = []
    for number in range(2):
        region = layout.create_code_region("./sender.csl", f"r{number}", 1, 1)
        region.place(2 * number, 0)
        rx = region.create_input_port(Color("rx"), Edge.LEFT, [TO_RAMP], 4)
        ports += [rx, region.create_output_port(Color("tx"), Edge.RIGHT, [FROM_RAMP], 4)]
    layout.create_input_stream(ports[0])
    layout.connect(ports[1], ports[2])
    layout.create_output_stream(ports[3])
    with pytest.raises(HostError, match=r"write region\.color\('tx'\) instead of Color\('tx'\)"):
        layout.compile("out")


@pytest.mark.usefixtures("csl")
def test_warnings_are_shown_unless_they_are_not_wanted(capsys):
    for level, is_shown in (("WARNING", True), ("ERROR", False)):
        layout = SdkLayout(SdkTarget.WSE2, msg_level=level)
        region, _ = add_sender(layout)
        region.ports.clear()
        region.set_param_all("sise", 4)
        layout.compile("out")
        assert ("has no param `sise`" in capsys.readouterr().err) is is_shown


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("one.place(2, 1); two.place(2, 0)", r"both cover PE \(2, 1\); place one of them elsewhere"),
        ("one.place(0, 0)", r"'two' was never placed, so it lies at \(0, 0\): call its place\(x, y\)"),
        ("one.place(762, 3); two.place(1, 1)", "leaves the fabric of wse3, which has 762×1172 PEs"),
        ("one.place(-1, 3)", r"place\(-1, 3\) of region 'one': the fabric begins at \(0, 0\)"),
        ("two.place(8, 8); layout.connect(rx, tx)", "swap the arguments"),
        ("two.place(8, 8); layout.connect(tx, wide)", "1 PEs wide, the input port 'wide'.* is 3"),
        ("two.place(8, 8); layout.connect(tx, large)", "4 wavelets leave .* takes 5: give both ports the same"),
        ("two.place(8, 8); layout.connect(tx, rx); layout.connect(tx, other)",
         "belongs to connection one.tx → two.rx already"),
        ("layout.create_input_stream(tx)", "use create_output_stream"),
        ("layout.create_input_stream(wide)", "3 PEs wide, and a stream meets one PE; put a region between"),
        ("two.place(8, 8)", r"output port 'tx' \(RIGHT side of region 'one'\) leads nowhere: connect it"),
        ("one.create_output_port(Color('tx', region='one'), Edge.LEFT, [FROM_RAMP], 4)",
         "has a port 'tx' already; pass another `prefix`"),
        ("two.create_input_port(wide.color, Edge.TOP, [TO_RAMP], 4, 'b_')",
         r"PE \(0, 0\) belongs to input port 'wide' .* of the same color"),
        ("one.create_input_port(Color('c'), Edge.LEFT, [FROM_RAMP], 4)",
         "position 0 sets the input, which the compiler chooses: leave set_input out"),
        ("one.create_input_port(Color('c'), Edge.LEFT, [], 4)", "0 positions; a switch has 1 to 4"),
        ("one.create_input_port(Color('c'), Edge.LEFT, TO_RAMP, 4)", r"write \[RoutingPosition\(\)…\]"),
        ("one.create_input_port(Color('c'), Edge.LEFT, [TO_RAMP], 0)", "the size of a port begins at 1"),
        ("one.paint(IntVector(0, 3), Color('c'), [FROM_RAMP])", r"PE \(0, 3\) is not in region 'one'"),
        ("one.paint_all(Color('c'), [FROM_RAMP])", r"position 0 has no output: add .set_output"),
        ("one.paint_all(Color('c'), [both('RAMP', 'EAST'), both('WEST', 'NORTH')])",
         "position 1 changes both the input and the output of position 0"),
        ("one.paint_range(IntRectangle(IntVector(0, 0), IntVector(2, 1)), Color('c'), [FROM_RAMP])",
         r"up to, not including, \(2, 1\) is not in region 'one', which has 1×1 PEs"),
        ("one.set_param_all('size')", "None is not a value of a param"),
        ("one.set_param_all('size', 'four')", "'four' is not a value of a param"),
        ("one.set_param_all('si ze', 4)", "'si ze' is not a name of a CSL param"),
        ("one.set_param_all(Color('c'), 4)", r'write set_param_all\("c", color\)'),
        ("one.set_param_all(3, 4)", "3 is not a name of a CSL param: give one such as 'size', or a color"),
        ("one.set_param_all(value=4)", "None is not a name of a CSL param"),
        ("one.set_param_all('size', 4, color=Color('c'))", "a color is a value, too: leave one out"),
        ("one.set_param(IntVector(0, 0), color='c')", r"set_param of region 'one': 'c' is not a color"),
        ("one.set_param_range(IntRectangle(IntVector(1, 0), IntVector(1, 3)), 'size', 4)",
         r"has no PEs; if \(1, 3\) is a width and a height, write IntRectangle\(origin=…, dims=…\)"),
        ("one.set_symbol_all('data', np.zeros(4), 4, 1)", "data of type float64; pass an array of int32"),
        ("one.set_symbol_all('data', np.zeros(4, np.int32), 2, 1)", "4 elements are not 2×1"),
        ("two.set_symbol_all('data', np.zeros(4, np.int32), 4, 1)", "cannot be cut into 1×3 equal blocks"),
        ("Color('c', 24)", "values go from 0 to 23"),
        ("Color('c', 'red')", "has the value 'red'; values go from 0 to 23"),
        ("one.place(0.5, 3)", r"place\(0.5, 3\) of region 'one': coordinates are whole numbers"),
        ("layout.create_code_region('a.csl', 'x', 3 / 2, 1)", "width and height are whole numbers"),
        ("layout.compile(None)", r"compile\(None\): give the name of a folder to write"),
        ("get_platform(None, None, 'WSE3')", "'WSE3' is not a machine: write SdkTarget.WSE2 or"),
        ("Color('a b')", "an identifier"),
        ("RoutingPosition().set_input(Route.RAMP)", r"write set_input\(\[Route.RAMP, Route.EAST\]\)"),
        ("RoutingPosition().set_input([Route.RAMP]).add_input(Route.RAMP)", "names a side twice"),
        ("layout.create_code_region('pe.csl', 'one', 1, 1)", "there is a region of this name"),
        ("layout.create_code_region('pe.csl', 'r', 0, 1)", "a region has at least one PE"),
        ("connect_all(); layout.create_input_stream_from_loc(IntVector(1, 1), Color('c'))",
         r"stream 'c' at PE \(1, 1\) is in no region"),
        ("connect_all(); layout.create_input_stream_from_loc(IntVector(0, 0), Color('c'))",
         "color 'c' is not painted there: paint it, with the side of the host as its input"),
        ("connect_all(); one.paint_all(Color('c'), [both('RAMP', 'WEST')]); layout.create_input_stream_from_loc(IntVector(0, 0), Color('c'))",
         "is painted RAMP → WEST there; its input has to be one side, that of the host"),
        ("[layout.create_input_stream_from_loc(IntVector(0, y), Color('c')) for y in range(2)]",
         "there is a stream 'c' already: pass another `prefix`"),
        ("one.create_input_port(Color('c'), 'LEFT', [TO_RAMP], 4)", "'LEFT' is not a side: write one of Edge.TOP"),
        ("one.create_input_port('c', Edge.LEFT, [TO_RAMP], 4)", r"'c' is not a color: write Color\('name'\)"),
        ("one.paint((0, 0), Color('c'), [FROM_RAMP])", r"\(0, 0\) is not a place: write IntVector\(x, y\)"),
        ("one.set_param_range(3, 'size', 4)", r"3 is not a place: write IntRectangle\(IntVector\(left, top\)"),
        ("one.paint_all('c', [FROM_RAMP])", "'c' is not a color"),
        ("one.paint_all(Color('c'), [both('RAMP', 'EAST')], [both('RAMP', 'EAST')])", "sides are a list"),
        ("layout.create_code_region('./seder.csl', 'r', 1, 1).place(9, 9)", "region 'r': there is no file './seder.csl'"),
        ("SdkLayout('fabric.json')", r"SdkLayout\('fabric.json'\): onewafer reads no files that describe a fabric: pass"),
        ("SdkLayout(fabric_file=Path('fabric.json'))", "'fabric.json'.* or SdkTarget.WSE3, for a whole wafer"),
        ("SdkLayout(platform=SdkTarget.WSE3, target=SdkTarget.WSE2)", "SdkLayout: target is another name of platform"),
        ("SdkLayout(3)", "pass what get_platform returned, or SdkTarget.WSE3"),
        ("SdkCompileArtifacts(None)", r"SdkCompileArtifacts\(None\): give the name of the folder that SdkLayout.compile"),
        ("layout.hstack([])", "the list of regions is empty"),
        ("SdkLayout(SdkTarget.WSE2).connect(tx, rx)", "belongs to another layout"),
        ("SdkLayout(SdkTarget.WSE2, msg_level='LOUD')", "choose from DEBUG, INFO, WARNING, ERROR"),
        ("SdkLayout(SdkTarget.WSE2).compile('out')", "no code region: call create_code_region first"),
        ("layout.compile('out', f16_type=7)", "f16_type=7: pass FP16TYPE.F16"),
        ("layout.compile('sender.csl')", "give the name of a folder to write"),
        ("get_platform('10.0.0.1:9000')", "names a real system; onewafer only simulates"),
    ],
)  # fmt: skip
def test_mistakes_say_what_to_write(csl, layout, steps, message):
    def both(came, goes):
        return RoutingPosition().set_input([Route[came]]).set_output([Route[goes]])

    def connect_all():
        two.place(8, 8)
        two.ports.clear()
        layout.create_output_stream(tx)

    one, tx = add_sender(layout, "one")
    two, rx = add_receiver(layout, "two", height=3)
    two.ports.clear()
    rx = two.create_input_port(rx.color, Edge.BOTTOM, [TO_RAMP], 4)
    wide = two.create_input_port(Color("wide"), Edge.LEFT, [TO_RAMP], 4)
    large = two.create_input_port(Color("large"), Edge.TOP, [TO_RAMP], 5)
    other = two.create_input_port(Color("other"), Edge.TOP, [TO_RAMP], 4)
    names = {**globals(), **locals()}
    with pytest.raises(HostError, match=message):
        exec(f"{steps}\nlayout.compile('out')", names)  # noqa: S102 - the mistakes of the table
