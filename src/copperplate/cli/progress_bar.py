"""A progress bar beside the output of a command, drawn by tqdm; see ADR 0056."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm


class ProgressBar(Protocol):
    """How far a command has come."""

    def advance(self, number: int = 1) -> None:
        """So many more are done."""

    def say(self, line: str) -> None:
        """Print a line to stderr, above the bar where one is drawn."""


@contextlib.contextmanager
def progress(total: int | None, what: str) -> Iterator[ProgressBar]:
    """A bar of `total` steps (None: not known) named `what`, while the block runs.

    Nothing is drawn where stderr is no terminal, or tqdm is not installed: lines are printed all the same.
    """
    if not sys.stderr.isatty():
        yield _NoBar()
        return
    try:
        # Here: it is an extra, and only people who look at a terminal need it.
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield _NoBar()
        return
    # Without its monitor: a thread that looks after bars which are seldom updated.
    tqdm.monitor_interval = 0
    with tqdm(total=total, desc=what, unit="", dynamic_ncols=True, file=sys.stderr) as bar:
        yield _Bar(bar)


class _NoBar:
    def advance(self, number: int = 1) -> None:
        """Nobody looks."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar: tqdm[object]) -> None:
        self._bar = bar

    def advance(self, number: int = 1) -> None:
        self._bar.update(number)

    def say(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr)
