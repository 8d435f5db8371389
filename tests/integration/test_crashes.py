"""Leaders killed and stopped at every named point: real processes, both ledgers over a real Postgres, a real folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from bench.harness import trials
from bench.harness.budget_trials import BOOKED, DOOMED, WALL_PICTURES, spend
from bench.harness.trials import Referee
from copperplate.generation.crash_points import POINTS
from tests.support.postgrest_server import PostgrestServer, make_jwt
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.harness.trials import Outcome
    from copperplate.local.cluster import Cluster

TIMES = 3
# How many renditions a leader that is killed there may leave in the store.
LEFT_BEHIND = {
    "encoded": 1,
    "rendition_uploaded": 2,
    "original_uploaded": 2,
    "uploaded": 2,
    "completing": 2,
    "rendition_stored": 1,
}


def scaled_lease() -> float:
    """A second, unless the machine is so busy that a heartbeat could come later than that."""
    return max(trials.LEASE_SECONDS, wall(trials.LEASE_SECONDS) / 3)


def chain_lease() -> float:
    """Less, since each death waits for it; a leader that is slow must not lose it, or it submits once more."""
    return max(trials.CHAIN_LEASE_SECONDS, wall(trials.CHAIN_LEASE_SECONDS) / 3)


@pytest.fixture(params=["postgres", "postgrest"])
def referee(request: pytest.FixtureRequest, owner_url: str) -> Referee:
    """The same database, reached directly and through PostgREST."""
    if request.param == "postgres":
        return Referee(owner_url)
    server: PostgrestServer = request.getfixturevalue("postgrest")
    return Referee(owner_url, server.url, make_jwt())


def right_submits(expected: dict[str, tuple[int, int]], point: str) -> dict[bool, int]:
    """How many are right with jobs, and without; where a point is tried with both, both are tried at the same time."""
    return {has_jobs: submits for name, has_jobs, submits in trials.kinds_of(expected) if name == point}


@pytest.mark.parametrize("point", trials.KILLS)
def test_leader_killed_at_a_point_is_succeeded_in_time_and_paid_for_once(
    referee: Referee, tmp_path: Path, point: str
) -> None:
    lease, submits = scaled_lease(), right_submits(trials.KILLS, point)
    tried = trials.run(referee, tmp_path, point, has_jobs=submits, times=TIMES, how="kill", lease=lease)
    assert {has_jobs: len(outcomes) for has_jobs, outcomes in tried.items()} == dict.fromkeys(submits, TIMES)
    for has_jobs, outcome in in_turn(tried):
        assert outcome.submits == submits[has_jobs], has_jobs
        assert outcome.answers == trials.CALLERS
        assert len(outcome.bodies) == 1
        assert "picture" in next(iter(outcome.bodies))
        assert outcome.seconds <= lease + wall(trials.BOUND_SECONDS - trials.LEASE_SECONDS)
        assert (outcome.dangling, outcome.orphans_left) == (0, 0)
        # Renditions that were stored and not recorded; their original is adopted.
        assert outcome.orphans <= LEFT_BEHIND.get(point, 0)
        assert outcome.unlisted == 0


@pytest.mark.parametrize("point", trials.STOPS)
def test_leader_stopped_beyond_its_lease_leaves_its_own_objects_at_most_and_none_after_a_sweep(
    referee: Referee, tmp_path: Path, point: str
) -> None:
    lease, submits = scaled_lease(), right_submits(trials.STOPS, point)
    tried = trials.run(referee, tmp_path, point, has_jobs=submits, times=TIMES, how="stop", lease=lease)
    assert {has_jobs: len(outcomes) for has_jobs, outcomes in tried.items()} == dict.fromkeys(submits, TIMES)
    for has_jobs, outcome in in_turn(tried):
        assert outcome.submits == submits[has_jobs], has_jobs
        assert len(outcome.bodies) == 1  # the one that was stopped answers with its successor's picture
        assert outcome.seconds <= lease + wall(trials.BOUND_SECONDS - trials.LEASE_SECONDS)
        assert outcome.orphans <= 3
        assert (outcome.dangling, outcome.orphans_left, outcome.unlisted) == (0, 0, 0)


def in_turn(tried: dict[bool, list[Outcome]]) -> list[tuple[bool, Outcome]]:
    return [(has_jobs, outcome) for has_jobs, outcomes in tried.items() for outcome in outcomes]


@pytest.mark.parametrize("point", BOOKED)
def test_leaders_killed_at_a_point_hold_no_budget_and_exactly_the_wall_is_spent(
    cluster: Cluster, make_database: Callable[[], str], tmp_path: Path, point: str
) -> None:
    expected = right_submits(BOOKED, point)
    places = [
        (Referee(cluster.url(database=make_database())), tmp_path / str(has_jobs), has_jobs) for has_jobs in expected
    ]
    for has_jobs, spent in zip(expected, spend(places, point, lease=scaled_lease()), strict=True):
        lost = DOOMED * (expected[has_jobs] - 1)
        assert spent.others == ()
        assert spent.booked == WALL_PICTURES
        # One that was announced was not sent: that is all that killed processes cost.
        assert spent.calls == WALL_PICTURES - (DOOMED if point == "announced" else 0)
        assert spent.pictures == WALL_PICTURES - lost
        assert spent.pictures + spent.refused == DOOMED + WALL_PICTURES
        assert {name: counted for name, (counted, _) in spent.counted.items()} == {
            name: in_the_book for name, (_, in_the_book) in spent.counted.items()
        }
        assert (spent.reserved, spent.faults) == (0, 0)


def test_ten_leaders_killed_one_after_the_other_cost_one_submit(referee: Referee, tmp_path: Path) -> None:
    assert trials.chain(referee, tmp_path, leaders=10, lease=chain_lease()) == 1


def test_picture_that_leader_after_leader_died_decoding_is_not_decoded_again(referee: Referee, tmp_path: Path) -> None:
    expected = {True: ("bad_output", 1), False: ("ambiguous", 2)}
    tried = trials.poison(referee, tmp_path, {True: 3, False: 2}, lease=chain_lease())
    for has_jobs, (failure, submits) in expected.items():
        prompt, bodies, made = tried[has_jobs]
        assert [body.split(":")[0] for body in bodies] == ["generation_failed"] * 2
        assert made == submits
        with psycopg.connect(referee.database_url) as connection:
            row = connection.execute(
                "select status, error_class from public.generation_status where prompt = %s", (prompt,)
            )
            assert row.fetchone() == ("failed", failure)


def test_every_point_is_tried() -> None:
    assert set(trials.KILLS) == set(POINTS)


def test_point_that_does_not_exist_is_refused_at_once() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "import copperplate.generation.crash_points"],
        env={**os.environ, "COPPERPLATE_CRASH_AT": "nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "must name one of acquired, announced" in answer.stderr


def test_point_does_nothing_unless_it_is_named_and_counts_its_occurrences() -> None:
    steps = "for name in ('noted', 'made', 'noted'): crash_point(name); print(name)"
    program = "from copperplate.generation.crash_points import crash_point" + chr(10) + steps
    for order, said, code in (("", 3, 0), ("noted", 0, -9), ("noted:2", 2, -9), ("uploaded", 3, 0)):
        answer = subprocess.run(
            [sys.executable, "-u", "-c", program],
            env={**os.environ, "COPPERPLATE_CRASH_AT": order},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (len(answer.stdout.split()), answer.returncode) == (said, code)
