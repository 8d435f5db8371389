"""How much a reader meets on the way of a picture: it may shrink, it does not grow unseen."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from scripts.main_path_types import measure

if TYPE_CHECKING:
    from scripts.main_path_types import Way

# Raise one with a reason in the commit; lower it with every type that goes.
MOST = {"hit": 81, "miss": 104}


@cache
def ways() -> dict[str, Way]:
    return measure()


@pytest.mark.parametrize("title", MOST)
def test_way_of_a_picture_meets_no_more_types_than_before(title: str) -> None:
    types = ways()[title].types
    assert len(types) <= MOST[title], sorted(types)


def test_way_is_followed_from_the_answer_to_the_stored_picture() -> None:
    hit, miss = ways()["hit"].steps, ways()["miss"].steps
    for step in ("serving.renditions:Renditions.read", "generation.coordinator:Coordinator._acquire_until_done"):
        assert step in hit
    for step in (
        "generation.leader:Leader._submit_once",
        "generation.job_collector:JobCollector.collect",
        "generation.uploader:Uploader.complete",
    ):
        assert step in miss
        assert step not in hit
    assert set(hit) < set(miss)


def test_no_tuple_stands_for_a_result() -> None:
    assert not any("LookupResult" in line for line in ways()["miss"].tuples)
