"""The supervisor's judgement, over processes that are only said to be there."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.http.server.workers import MOST_FAILED_STARTS, Step, Workers, WorkersFailed

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_SECONDS, PATIENCE_SECONDS = 20.0, 30.0


@dataclass(eq=False)
class Said:
    """A worker whose state the test sets."""

    number: int
    exitcode: int | None = None
    step: Step = Step.STARTING
    silent_seconds: float = 0.0
    age_seconds: float = 0.0
    was_killed: bool = False
    said: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return 4700 + self.number

    @property
    def process(self) -> Said:
        return self

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def kill(self) -> None:
        self.was_killed = True

    def look(self, elapsed_seconds: float) -> None:
        self.age_seconds += elapsed_seconds
        self.silent_seconds += elapsed_seconds

    def say_if_slow(self) -> None:
        self.said.append(self.age_seconds)


class Stage:
    """A supervisor of two, and every worker it made."""

    def __init__(self) -> None:
        self.made: list[Said] = []
        self.announced = 0
        config: Any = type("Config", (), {"workers": 2})
        make: Any = self._make
        self.workers = Workers(
            config,
            None,  # type: ignore[arg-type]
            silent_seconds=PATIENCE_SECONDS,
            stop_seconds=7.0,
            announce_ready=self._announce,
            worker=make,
        )

    def look(self, seconds: float, after: Callable[[], None] = lambda: None) -> None:
        for _ in range(int(seconds)):
            self.workers.look(1.0)
            after()

    def _make(self, *_: object) -> Said:
        self.made.append(Said(len(self.made)))
        return self.made[-1]

    def _announce(self) -> None:
        self.announced += 1


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.workers.look(0.0)
    return made


def test_worker_that_starts_is_given_all_the_time_it_needs_and_what_it_waits_for_is_said(stage: Stage) -> None:
    stage.look(3_600)
    assert len(stage.made) == 2
    assert not any(each.was_killed for each in stage.made)
    assert all(len(each.said) >= 3_600 for each in stage.made)
    assert stage.announced == 0
    stage.made[1].step, stage.made[1].silent_seconds = Step.SERVING, 0.0
    stage.look(2)
    assert stage.announced == 1


def test_worker_that_serves_and_stands_still_is_replaced_later_than_its_leases(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    for each in stage.made:
        each.step = Step.SERVING
    still, alive = stage.made

    def answer() -> None:
        alive.silent_seconds = 0.0

    stage.look(LEASE_SECONDS + 5, answer)
    assert len(stage.made) == 2
    stage.look(10, answer)
    assert (still.was_killed, alive.was_killed, len(stage.made)) == (True, False, 3)
    [told] = [record.message for record in caplog.records if "is gone" in record.message]
    why = "killed by its supervisor: it answered nothing for 31 s"
    assert told == f"worker {still.pid} is gone ({why}); another takes its place"


def test_worker_that_was_killed_while_others_serve_is_replaced_at_once(stage: Stage) -> None:
    for each in stage.made:
        each.step = Step.SERVING
    stage.made[0].exitcode = -9
    stage.workers.look(0.25)
    assert len(stage.made) == 3


@pytest.mark.parametrize(
    ("exit_code", "named"), [(3, "exit status 3"), (-9, "the system's log says what"), (-11, "SIGSEGV")]
)
def test_starts_that_fail_one_after_the_other_end_with_the_true_cause(
    stage: Stage, exit_code: int, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    def fail() -> None:
        for each in stage.made:
            each.exitcode = exit_code

    fail()
    with pytest.raises(WorkersFailed, match=named) as failed:
        stage.look(100, fail)
    assert len(stage.made) == MOST_FAILED_STARTS
    assert ("--workers" in str(failed.value)) == (exit_code == -9)
    assert "while it was starting Python" in caplog.text


def test_start_that_fails_while_another_worker_serves_is_tried_again_ever_more_slowly(stage: Stage) -> None:
    stage.made[0].step = Step.SERVING

    def fail() -> None:
        stage.made[0].silent_seconds = 0.0
        for each in stage.made[1:]:
            each.exitcode = 1

    stage.look(600, fail)
    assert 10 < len(stage.made) < 40


def test_where_the_last_one_that_serves_dies_the_next_start_is_at_once(stage: Stage) -> None:
    stage.made[0].step = Step.SERVING

    def fail() -> None:
        stage.made[0].silent_seconds = 0.0
        for each in stage.made[1:]:
            each.exitcode = 1

    while len(stage.made) < 12:
        stage.look(1, fail)
    stage.look(1, fail)
    before = len(stage.made)
    stage.made[0].exitcode = -9
    stage.workers.look(0.25)
    assert len(stage.made) == before + 2
