"""Times out of 16-bit words: what NumPy does, and what host scripts are told."""

from types import ModuleType

import numpy as np
import pytest

from onewafer.host.sdk import narrow_shifts
from onewafer.host.sdk.narrow_shifts import find_narrow_shift, mend_narrow_shifts

WORDS = "words = np.zeros(3).astype(np.uint16)\n"
SUM = "time = words[0] + (words[1] << 16) + (words[2] << 32)\n"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (WORDS + SUM, "2:"),
        ("\n\n" + SUM + WORDS, "3:"),
        (SUM, None),
        (WORDS + "# " + SUM, None),
        (WORDS + "time = words[0] + (int(words[1]) << 16)\n", None),
        (WORDS + "mask = 1 << 16\n", None),
    ],
)
def test_shifts_of_16_bit_words_are_found(script, line):
    found = find_narrow_shift(script)
    assert found is None if line is None else found.startswith(line)


def test_the_warning_is_true():
    """With the installed NumPy, the sum of an SDK script is wrong since version 2."""
    words = np.array([7, 3, 0], np.uint16)
    is_right = int(words[0] + (words[1] << 16)) == (3 << 16) + 7
    assert is_right == (int(np.__version__.partition(".")[0]) < 2)


FUNCTIONS = """
import numpy as np

def make_u48(words):
    'Return the number that three words of 16 bits are.'
    return words[0] + (words[1] << 16) + (words[2] << 32)

def between(words):
    def make(words):
        return words[0] + (words[1] << 16)
    return make(words[3:]) - make(words[:3])

def double(words):
    return words[1] << 1

def fails(words):
    return (words[1] << 16) + nothing
"""


def run(monkeypatch, tmp_path, text, version="2.4.6"):
    """Run a script up to where it makes an `SdkRuntime`; return its names."""
    script = tmp_path / "run.py"
    script.write_text(text)
    main = ModuleType("__main__")
    main.__file__ = str(script)
    exec(compile(text, str(script), "exec"), vars(main))  # noqa: S102 - the script of a test
    monkeypatch.setattr(narrow_shifts.np, "__version__", version)
    monkeypatch.setitem(narrow_shifts.sys.modules, "__main__", main)
    mend_narrow_shifts()
    return main


@pytest.mark.parametrize(("version", "is_told"), [("2.4.6", True), ("1.26.4", False)])
def test_the_script_that_runs_is_looked_at(monkeypatch, tmp_path, capsys, version, is_told):
    run(monkeypatch, tmp_path, "import numpy as np\n" + WORDS + SUM, version)
    assert (f"{tmp_path / 'run.py'}:3: NumPy 2" in capsys.readouterr().err) == is_told


def test_functions_of_the_script_give_what_numpy_1_gave(monkeypatch, tmp_path, capsys):
    text = FUNCTIONS + "BUFFER = np.zeros(6, np.uint16)\n"
    main = run(monkeypatch, tmp_path, text)
    assert main.make_u48(np.array([7, 3, 2], np.uint16)) == (2 << 32) + (3 << 16) + 7
    assert main.make_u48(np.array([7, 3, 2], np.uint32)) == (2 << 32) + (3 << 16) + 7
    assert main.make_u48([7, 3, 2]) == (2 << 32) + (3 << 16) + 7
    assert main.between(np.array([1, 1, 0, 5, 2, 0], np.uint16)) == (1 << 16) + 4
    told = capsys.readouterr().err
    assert f"{tmp_path / 'run.py'}:6: `words[1] << 16` has 64 bits here" in told
    assert "warning" not in told


def test_no_other_arithmetic_changes(monkeypatch, tmp_path):
    main = run(monkeypatch, tmp_path, FUNCTIONS + "BUFFER = np.zeros(6, np.uint16)\n")
    doubled = main.double(np.array([0, 0x8001], np.uint16))
    assert (doubled, doubled.dtype) == (2, np.uint16)
    assert main.double(np.array([0, 1], np.uint8)).dtype == np.uint8
    assert main.make_u48.__doc__ == "Return the number that three words of 16 bits are."
    with pytest.raises(NameError) as error:
        main.fails(np.zeros(3, np.uint16))
    assert error.traceback[-1].lineno + 1 == 17


def test_a_shift_that_runs_already_is_warned_of_and_others_are_mended(
    monkeypatch, tmp_path, capsys
):
    text = FUNCTIONS + "words = np.zeros(3, np.uint16)\ntime = words[0] + (words[1] << 16)\n"
    run(monkeypatch, tmp_path, text)
    told = capsys.readouterr().err
    assert "run.py:6: `words[1] << 16` has 64 bits here" in told
    assert "warning: " + str(tmp_path / "run.py") + ":19: NumPy 2 computes" in told


def test_a_decorated_function_stays_as_it_is(monkeypatch, tmp_path):
    text = (
        "import functools, numpy as np\n"
        "@functools.lru_cache\n"
        "def make(a, b):\n"
        "    w = np.array([a, b], np.uint16)\n"
        "    return w[0] + (w[1] << 16)\n"
    )
    assert run(monkeypatch, tmp_path, text).make(1, 1) == 1
