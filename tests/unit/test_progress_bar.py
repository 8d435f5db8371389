"""The bar of commands that run for minutes: drawn for people who look at a terminal, and for nobody else."""

from __future__ import annotations

import io
import sys

import pytest

from copperplate.cli.progress_bar import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(terminal: object) -> str:
    assert isinstance(terminal, Terminal)
    return terminal.getvalue()


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, "import") as bar:
        bar.advance()
        bar.say("line 2: it is faulty")
        bar.advance(2)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "line 2: it is faulty\n")


@pytest.mark.parametrize("total", [4, None])
def test_a_terminal_shows_how_far_it_is_and_lines_whole(monkeypatch: pytest.MonkeyPatch, total: int | None) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(total, "import") as bar:
        bar.advance(3)
        bar.say("line 2: it is faulty")
        bar.advance()
    shown = shown_on(sys.stderr)
    assert "import" in shown
    assert "line 2: it is faulty\n" in shown
    assert ("4/4" in shown) == (total is not None)


def test_without_tqdm_a_command_does_the_same_and_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress(3, "import") as bar:
        bar.advance()
        bar.say("line 2: it is faulty")
    assert shown_on(sys.stderr) == "line 2: it is faulty\n"
