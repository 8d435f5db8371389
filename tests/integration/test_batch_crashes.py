"""A batch whose worker is killed: real processes, a real Postgres, a provider that hands out jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.harness import batch_trials
from bench.harness.batch_trials import most_at_once
from tests.support.walls import wall

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS, KILLS, AT_ONCE = 24, 2, 4


def test_batch_whose_worker_is_killed_again_and_again_is_made_whole_and_paid_once(
    owner_url: str, tmp_path: Path
) -> None:
    # Longer on a busy machine: a heartbeat that is late loses the lease.
    lease = max(batch_trials.LEASE_SECONDS, wall(batch_trials.LEASE_SECONDS) / 3)
    after = batch_trials.run(
        owner_url, tmp_path, members=MEMBERS, kills=KILLS, at_once=AT_ONCE, lease=lease, seconds=0.15
    )
    assert (after.pictures, after.failed, after.kills) == (MEMBERS, 0, KILLS)
    assert (after.submits, after.most_submits) == (MEMBERS, 1)
    assert 1 < after.most_at_once <= AT_ONCE
    # Somebody asked for the last member in a hurry: it came before others, and its wish made no second call.
    assert after.urgent_submits == 1
    assert after.passed >= MEMBERS // 6


def test_spans_that_touch_do_not_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(1, 2), (2, 3), (3, 4)]) == 1
    assert most_at_once([(1, 4), (2, 3), (2.5, 5), (4, 6)]) == 3
