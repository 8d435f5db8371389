"""A database that is killed and held down while four real processes ask for pictures; a minute of it is in `bench/`."""

from __future__ import annotations

import pytest

from bench.harness import outages
from tests.support.clusters import open_folder
from tests.support.walls import wall

# The default. What is made while the database is away for longer is paid for twice where the provider has no jobs: on a
# busy machine both blows together last ten seconds.
LEASE_SECONDS = 20.0
PROMISED_SECONDS = 3.0


@pytest.fixture(scope="module")
def aftermath() -> outages.Aftermath:
    with open_folder() as folder:
        return outages.run(folder, ("kill", "hold down"), up_seconds=0.5, lease_seconds=LEASE_SECONDS)


def test_no_picture_is_paid_for_twice(aftermath: outages.Aftermath) -> None:
    # As many were submitted before the first blow, however slow the machine is.
    assert aftermath.submits.total() >= 2 * outages.PROCESSES
    assert {prompt: number for prompt, number in aftermath.submits.items() if number != 1} == {}


def test_who_asks_while_it_is_down_is_refused_in_time_and_nothing_is_spent(aftermath: outages.Aftermath) -> None:
    assert aftermath.refused_while_down
    assert max(each.seconds for each in aftermath.refused_while_down) <= wall(PROMISED_SECONDS)
    assert [outage.submits for outage in aftermath.outages] == [0]


def test_nobody_is_told_anything_but_a_picture_or_that_it_is_down(aftermath: outages.Aftermath) -> None:
    assert aftermath.unexpected == {}


def test_nothing_is_left_stuck_and_every_picture_can_be_had(aftermath: outages.Aftermath) -> None:
    # Promised: a minute for leases of twenty seconds. A lease may be renewed after the last question.
    assert aftermath.stuck_seconds <= wall(3 * LEASE_SECONDS)
    assert {each.answer for each in aftermath.asks_again} == {"picture"}
