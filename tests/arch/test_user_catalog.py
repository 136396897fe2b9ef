"""Machines, systems and GPUs of a user: files in the folder that `ONEWAFER_CATALOG` names."""

from importlib.resources import files

import pytest

import onewafer
from onewafer.arch import gpu_names, load_architecture, load_gpu, names_in, user_catalog
from onewafer.errors import ConfigurationError
from onewafer.sweep.studies import points

PACKAGE = files("onewafer.arch")
ROW = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 4, .height = 1 });
layout {
  @set_rectangle(4, 1);
  for (@range(i16, 4)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(x) });
  }
  @export_name("run", fn() void);
}
"""
PE = """
param memcpy_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
var total: f32 = 1;
fn run() void {
  total = total * 2;
  @comptime_assert(@is_arch("wse3"));
  @comptime_assert(@is_arch("NAME"));
  @comptime_assert(!@is_arch("wse2"));
  system.unblock_cmd_stream();
}
comptime { @export_symbol(run); }
"""


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEWAFER_CATALOG", str(tmp_path))
    return tmp_path


def add(catalog, folder, name, like, **changes):
    text = (PACKAGE / folder / f"{like}.toml").read_text(encoding="utf-8")
    for name_of_number, number in changes.items():
        entry = f"\n{name_of_number} = {{ value = "
        head, found, rest = text.partition(entry)
        text = f"{head}{found}{number},{rest.partition(',')[2]}"
        assert found
    (catalog / folder).mkdir(exist_ok=True)
    (catalog / folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_machine_of_the_user_runs_programs_of_its_generation(catalog):
    add(catalog, "catalog", "quick1", "wse3", fabric_width=64, float=40)
    machine = load_architecture("quick1")
    assert (machine.name, machine.generation, machine.fabric_width) == ("quick1", "wse3", 64)
    sources = {"layout.csl": ROW, "pe.csl": PE.replace("NAME", "quick1")}
    program = onewafer.compile_csl("layout.csl", arch="quick1", sources=sources)
    with onewafer.load(program) as runner:
        slow = runner.launch("run").cycles
    sources["pe.csl"] = PE.replace("NAME", "wse3")
    with onewafer.load(onewafer.compile_csl("layout.csl", sources=sources)) as runner:
        assert slow > runner.launch("run").cycles


def test_a_gpu_of_the_user_is_beside_those_of_the_package(catalog):
    add(catalog, "gpus", "mine7", "h200", busy_watts=650)
    assert load_gpu("mine7").busy_watts == 650
    assert {"mine7", "h200"} <= set(gpu_names())


def test_an_empty_catalog_adds_nothing(catalog):
    assert "wse3" in names_in("onewafer.arch.catalog")
    assert not user_catalog()
    assert not list(catalog.iterdir())


def test_a_name_is_taken_once(catalog):
    add(catalog, "catalog", "wse3", "wse2")
    with pytest.raises(ConfigurationError, match=r"wse3\.toml: onewafer has a 'wse3'; choose an"):
        names_in("onewafer.arch.catalog")


def test_what_is_no_toml_is_named_with_its_line(catalog):
    (catalog / "catalog").mkdir()
    (catalog / "catalog" / "torn.toml").write_text("title = ", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"torn\.toml: Invalid value \(at "):
        load_architecture("torn")


def test_a_folder_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("ONEWAFER_CATALOG", "nowhere")
    with pytest.raises(ConfigurationError, match="ONEWAFER_CATALOG='nowhere': there is no such"):
        load_architecture("wse9")


def test_kept_points_of_a_study_know_the_numbers_of_the_machine(catalog):
    versions = []
    for cycles in (1, 2):
        add(catalog, "catalog", "quick2", "wse3", dispatch_cycles=cycles)
        points.version.cache_clear()
        versions.append(points.version())
    points.version.cache_clear()
    assert versions[0] != versions[1]
    assert user_catalog()
