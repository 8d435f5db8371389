"""Credits and money where many processes are at it, in numbers; `make bench` does the same with ten times as many."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bench.measurements import credit_operations, last_credits, spend
from tests.support.postgres_fixtures import PATIENT_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


def test_five_thousand_random_calls_by_eight_processes_leave_sums_that_agree(owner_url: str) -> None:
    said: list[str] = []
    played = credit_operations.play(owner_url, calls=5_000, points=5, say=said.append)
    assert (played.faults, played.negative, played.deadlocks, played.unexpected) == ([], 0, 0, Counter()), said
    assert played.calls == 5_000
    assert min(played.kinds[kind] for kind in ("grant", "settle", "refund")) > 30, "hardly anything happened"


def test_thousand_misses_of_one_user_with_a_hundred_credits_are_a_hundred_calls(owner_url: str, tmp_path: Path) -> None:
    outcome = last_credits.run_workers(
        owner_url, tmp_path / "workers", misses=1_000, granted=100, processes=4, call_seconds=PATIENT_SECONDS
    )
    assert outcome.answers == {"generated": 100, "not_enough_credits": 900}
    assert (outcome.calls, outcome.balance, outcome.held, outcome.faults) == (100, 0, 0, 0)


@pytest.mark.parametrize("name", ["fal", "openai"])
def test_spend_is_the_bill_to_the_unit_after_mixed_outcomes(name: str, owner_url: str) -> None:
    seen = spend.mixed(owner_url, name, outcomes=150, say=lambda _: None)
    assert (seen.posts, seen.heard) == (seen.rows, 0), seen
    assert len(seen.outcomes) == len(spend.MIX), "not every outcome was drawn"
    assert seen.bill > seen.lost > 0
    if name == "fal":  # what it bills is known before: even for what was lost
        assert seen.spent == seen.bill
    else:  # it alone counts the tokens of a prompt; an estimate is a little above
        assert seen.lost < seen.estimated < seen.lost * 1.02
