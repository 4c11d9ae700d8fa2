from __future__ import annotations

import io

from load_tests.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_each_step_is_a_line() -> None:
    stream = io.StringIO()
    progress = Progress(12, stream)
    progress.step("intent/full: load")
    progress.step("intent/full-int8: load")
    progress.close("done")
    lines = stream.getvalue().splitlines()
    assert [line[:7] for line in lines] == ["[ 0/12]", "[ 1/12]", "[12/12]"]
    assert lines[0].endswith("intent/full: load")


def test_a_terminal_gets_one_line_that_fills() -> None:
    stream = Terminal()
    progress = Progress(2, stream)
    progress.step("one")
    progress.close("done")
    assert stream.getvalue().count("\n") == 1
    assert "[........................] 0/2" in stream.getvalue()
    assert "[########################] 2/2" in stream.getvalue()
