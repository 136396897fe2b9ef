import io

from onewafer.execution import ProgressLine
from onewafer.host import RunProgress
from onewafer.terminal.console import PlainConsole

PROGRESS = RunProgress("the launch of 'run'", 13_000, 12_345, 16, 1.5e6, 3.0, "16 PEs work")


def test_line_shows_how_far_a_launch_is_and_disappears():
    stream = io.StringIO()
    progress = ProgressLine(PlainConsole(file=stream, force_terminal=True, width=120))
    with progress.compiling("Net, 4 rows on 2×2 PEs"):
        pass
    with progress.simulating("Net", 20000) as observer:
        observer.show(PROGRESS)
        observer.done()
    text = stream.getvalue()
    assert "compiling Net, 4 rows on 2×2 PEs" in text
    assert "simulating Net" in text
    assert "cycle 13,000 · 16 active PEs · 1.5 M wavelets/s · 3 s" in text
    assert text.endswith("\x1b[1A\x1b[2K")


def test_sentences_stand_above_the_line():
    stream = io.StringIO()
    progress = ProgressLine(PlainConsole(file=stream, force_terminal=True, width=120))
    with progress.compiling("Net"):
        progress.sentences.say("compiling the kernels, [once]")
    assert "onewafer: compiling the kernels, [once]\n" in stream.getvalue()


def test_nothing_is_written_where_there_is_no_terminal():
    stream = io.StringIO()
    with ProgressLine(PlainConsole(file=stream)).simulating("Net", 2) as observer:
        observer.show(PROGRESS)
    assert stream.getvalue().strip() == ""
