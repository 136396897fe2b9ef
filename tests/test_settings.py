"""The environment is read in one place."""

import os
from pathlib import Path

import numpy as np
import pytest

from onewafer import simulator
from onewafer.errors import ConfigurationError
from onewafer.perf.gpu.kept_rows import KeptRows
from onewafer.perf.known_models import known_models
from onewafer.perf.model_files import kept_model
from onewafer.settings import (
    ENGINES,
    Settings,
    _group_memory,
    cache_folder,
    wants_compiled_kernels,
)


def test_import_paths_are_split(monkeypatch):
    monkeypatch.setenv("CSL_IMPORT_PATH", os.pathsep.join(["/a", "", "b"]))
    assert Settings.from_environment().csl_import_path == (Path("/a"), Path("b"))


def test_an_empty_environment_is_fine(monkeypatch):
    monkeypatch.delenv("CSL_IMPORT_PATH", raising=False)
    assert Settings.from_environment().csl_import_path == ()


def test_a_cycle_limit_is_a_whole_number(monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "1_000")
    assert Settings.from_environment().max_cycles == 1000
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "")
    assert Settings.from_environment().max_cycles is None
    for text in ("0", "-1", "1e6", "ten", "²", "_1", "1__0", "9" * 5_000):
        monkeypatch.setenv("ONEWAFER_MAX_CYCLES", text)
        with pytest.raises(ConfigurationError, match="a whole number of at least 1"):
            Settings.from_environment()


@pytest.mark.parametrize("name", ENGINES)
def test_the_engine_is_one_that_there_is(monkeypatch, name):
    assert tuple(simulator.ENGINES) == ENGINES
    assert ENGINES[0] == simulator.DEFAULT_ENGINE
    monkeypatch.setenv("ONEWAFER_ENGINE", name)
    assert Settings.from_environment().engine == name
    monkeypatch.setenv("ONEWAFER_ENGINE", "")
    assert Settings.from_environment().engine == ENGINES[0]
    monkeypatch.setenv("ONEWAFER_ENGINE", "quick")
    message = "ONEWAFER_ENGINE='quick': there is no such engine; choose from fast, reference"
    with pytest.raises(ConfigurationError, match=message):
        Settings.from_environment()


def test_machine_code_is_kept_in_a_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ONEWAFER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "onewafer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "onewafer"


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    """A user whom the system does not know, in a container."""
    for name in ("HOME", "ONEWAFER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def look_up(_uid):
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", look_up)
    with pytest.raises(FileNotFoundError, match="there is no home folder"):
        cache_folder()
    assert kept_model(next(iter(known_models()))) is None
    KeptRows(b"", ["x"], []).write({"x": np.zeros(1)})
    assert KeptRows(b"", ["x"], []).read() is None


def test_prebuilt_kernels_are_used_or_not(monkeypatch):
    for text, is_used in (("", True), ("on", True), ("off", False), ("OFF", False)):
        monkeypatch.setenv("ONEWAFER_PREBUILT", text)
        Settings.from_environment()
        assert wants_compiled_kernels() is not is_used
    monkeypatch.setenv("ONEWAFER_PREBUILT", "never")
    with pytest.raises(ConfigurationError, match="ONEWAFER_PREBUILT='never': write on or off"):
        Settings.from_environment()


def test_a_bad_variable_is_no_error_of_an_import(monkeypatch):
    """But of the first call that wants the setting: there it can be shown well."""
    monkeypatch.setenv("ONEWAFER_ENGINE", "quick")
    assert cache_folder()


def test_progress_is_on_or_off(monkeypatch):
    for text, is_on in (("", True), ("on", True), ("1", True), ("OFF", False), ("no", False)):
        monkeypatch.setenv("ONEWAFER_PROGRESS", text)
        assert Settings.from_environment().shows_progress is is_on
    monkeypatch.setenv("ONEWAFER_PROGRESS", "maybe")
    with pytest.raises(ConfigurationError, match="ONEWAFER_PROGRESS='maybe': write on or off"):
        Settings.from_environment()


def test_checkpoints_go_to_a_folder_or_nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("ONEWAFER_CHECKPOINT_DIR", raising=False)
    assert Settings.from_environment().checkpoint_folder == Path()
    monkeypatch.setenv("ONEWAFER_CHECKPOINT_DIR", "off")
    assert Settings.from_environment().checkpoint_folder is None
    monkeypatch.setenv("ONEWAFER_CHECKPOINT_DIR", str(tmp_path))
    assert Settings.from_environment().checkpoint_folder == tmp_path
    monkeypatch.setenv("ONEWAFER_CHECKPOINT_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="there is no such folder; make it, or write off"):
        Settings.from_environment()


def test_a_memory_limit_has_a_unit(monkeypatch):
    for text, expected in (("8G", 8 << 30), ("500m", 500 << 20), ("123", 123), ("", None)):
        monkeypatch.setenv("ONEWAFER_MAX_MEMORY", text)
        assert Settings.from_environment().max_memory == expected
    for text in ("0", "-1G", "G", "1.5G", "much"):
        monkeypatch.setenv("ONEWAFER_MAX_MEMORY", text)
        with pytest.raises(ConfigurationError, match="as in 500M, 8G"):
            Settings.from_environment()


def test_a_container_may_have_less_memory_than_the_system(tmp_path):
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.current", "900\n"),
        ("memory.stat", "anon 700\ninactive_file 150\n"),
    ):
        (tmp_path / name).write_text(text)
    assert _group_memory(tmp_path) == 250
    (tmp_path / "memory.max").write_text("max\n")
    assert _group_memory(tmp_path) is None
    assert _group_memory(tmp_path / "nowhere") is None


def test_traces_are_files_whose_ending_says_the_format(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONEWAFER_TRACE", raising=False)
    assert Settings.from_environment().trace_files == ()
    monkeypatch.setenv("ONEWAFER_TRACE", "a.perfetto-trace,sim.log")
    expected = tmp_path / "a.perfetto-trace", tmp_path / "sim.log"
    assert Settings.from_environment().trace_files == expected
    (tmp_path / "folder.log").mkdir()
    for text, message in (
        ("a.json", r"a\.json: the ending of the name says the format: \.perfetto-trace"),
        ("missing/a.log", "there is no folder .*missing"),
        ("folder.log", "that is a folder; name a file"),
    ):
        monkeypatch.setenv("ONEWAFER_TRACE", text)
        with pytest.raises(ConfigurationError, match=message):
            Settings.from_environment()


def test_runs_are_strict_where_somebody_wants_it(monkeypatch):
    for text, is_strict in (("", False), ("off", False), ("ON", True), ("1", True)):
        monkeypatch.setenv("ONEWAFER_STRICT", text)
        assert Settings.from_environment().is_strict is is_strict
    monkeypatch.setenv("ONEWAFER_STRICT", "very")
    with pytest.raises(ConfigurationError, match="ONEWAFER_STRICT='very': write on or off"):
        Settings.from_environment()


def test_checks_are_named_in_any_order(monkeypatch):
    for text, checks in (
        ("", ()),
        ("bounds", ("bounds",)),
        ("Uninitialized, bounds", ("bounds", "uninitialised")),
        ("all", ("bounds", "uninitialised")),
    ):
        monkeypatch.setenv("ONEWAFER_CHECK", text)
        assert Settings.from_environment().checks == checks
    monkeypatch.setenv("ONEWAFER_CHECK", "bound")
    with pytest.raises(ConfigurationError, match="no check 'bound'; choose from bounds, unin"):
        Settings.from_environment()


@pytest.mark.parametrize(
    "name", ["ONEWAFER_MAX_CYCLES", "ONEWAFER_THREADS", "ONEWAFER_MAX_MEMORY", "ONEWAFER_ENGINE"]
)
@pytest.mark.parametrize("ending", ["", "G"])
def test_numbers_of_thousands_of_digits_are_refused(monkeypatch, name, ending):
    monkeypatch.setenv(name, "9" * 5000 + ending)
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        Settings.from_environment()


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("", ()),
        ("landing", ("landing",)),
        ("stalls, inst_trace,other", ("inst_trace", "stalls")),
        ("other", ()),
    ],
)
def test_log_of_the_vendors_simulator_may_be_asked_for(monkeypatch, asked, parts):
    monkeypatch.setenv("SIMFABRIC_DEBUG", asked)
    assert Settings.from_environment().log_parts == parts
