"""What a slow start says, and Ctrl-C in its delicate moments."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from copperplate.cli.progress import Progress
from copperplate.local.interrupts import interrupts_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """As in a terminal, also where the suite runs in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_slow_step_is_said_again_and_again_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""
    with Progress("making the database", say_seconds=0.01) as progress:
        while said.count("still making the database, after 0 s\n") < 2:
            said += capsys.readouterr().err
            time.sleep(0.01)
        progress.step = "migrating"
        while "still migrating" not in said:
            said += capsys.readouterr().err
            time.sleep(0.01)
    assert said.startswith("still making the database")


@pytest.mark.usefixtures("_interruptible")
def test_interrupt_in_a_delicate_moment_takes_effect_after_it() -> None:
    steps = []

    def start() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["done"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_nothing_is_deferred_outside_of_the_main_thread() -> None:
    def work() -> None:
        with interrupts_deferred():
            steps.append("done")

    steps: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == ["done"]
