"""Several machines over one Supabase project: `copperplate serve` twice, a real PostgREST, stand-ins for the rest."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.serve import machine
from tests.standin.scenario_log import Scenario
from tests.support.clusters import eventually
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.e2e.serve import Machine
    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase

    Start = Callable[..., AbstractContextManager[Machine]]

# Nobody takes over by waiting for the end of a lease.
PATIENT = {"COPPERPLATE_LEASE_SECONDS": "3600"}
FOX = "/256x256.jpg?text=A%20red%20fox"
# What Docker grants before it kills.
DOCKER_SECONDS = 10


@pytest.fixture
def start(project: Supabase, standin: Standin) -> Start:
    return partial(machine, project, standin)


def begin_stuck(standin: Standin) -> None:
    """From now on pictures are begun and not finished."""
    standin.scenario_log.tell("*", "stuck")


def wait_until_begun(standin: Standin) -> None:
    """Return once the job of a picture was asked after: its id is noted by then."""
    eventually(lambda: [drawing for drawing in standin.scenario_log.drawings.values() if drawing.polls], seconds=20)


def finish(standin: Standin) -> None:
    """Let every picture that was begun be finished."""
    for drawing in tuple(standin.scenario_log.drawings.values()):
        drawing.scenario = Scenario()


def test_a_hundred_requests_over_two_machines_cost_one_call(start: Start, standin: Standin) -> None:
    standin.scenario_log.tell("*", "slow=1")
    with start() as one, start() as other, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda server: server.get(FOX), [one, other] * 50))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(standin.scenario_log.drawings) == 1


def test_what_one_machine_made_is_a_hit_on_another(start: Start, standin: Standin) -> None:
    with start(workers=1) as one:
        made = one.get(FOX)
    with start(workers=1) as other:
        served = other.get(FOX)
    assert (made.headers["x-cache"], served.headers["x-cache"]) == ("MISS", "HIT")
    assert made.body == served.body
    assert len(standin.scenario_log.drawings) == 1


def test_a_picture_that_is_nearly_done_is_answered_before_the_stop(start: Start, standin: Standin) -> None:
    begin_stuck(standin)
    with start(workers=1, **PATIENT) as stopped, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(stopped.get, FOX)
        wait_until_begun(standin)
        stopped.tell_to_stop()
        finish(standin)
        assert asked.result().status == 200
        assert stopped.process.wait(wall(DOCKER_SECONDS)) == 0


def test_a_machine_that_is_stopped_hands_its_generation_over(start: Start, standin: Standin) -> None:
    begin_stuck(standin)
    stopping = partial(start, COPPERPLATE_STOP_SECONDS="1", **PATIENT)
    with stopping() as stopped, stopping() as successor, ThreadPoolExecutor(2) as callers:
        asked = callers.submit(stopped.get, FOX)
        wait_until_begun(standin)
        waiting = callers.submit(successor.get, FOX)
        stopped.tell_to_stop()
        assert asked.result().status == 503
        assert asked.result().headers["retry-after"]
        finish(standin)
        assert waiting.result().status == 200
        assert stopped.process.wait(wall(DOCKER_SECONDS)) == 0
    assert len(standin.scenario_log.drawings) == 1


def test_a_stop_is_over_before_docker_kills(start: Start, standin: Standin) -> None:
    begin_stuck(standin)
    with start(**PATIENT) as stopped, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(stopped.get, FOX)
        wait_until_begun(standin)
        told_at = time.monotonic()
        stopped.tell_to_stop()
        assert asked.result().status == 503
        assert stopped.process.wait(wall(DOCKER_SECONDS)) == 0
        assert time.monotonic() - told_at < wall(DOCKER_SECONDS)
        finish(standin)
    with start(workers=1, **PATIENT) as successor:
        assert successor.get(FOX).status == 200
    assert len(standin.scenario_log.drawings) == 1
