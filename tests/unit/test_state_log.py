"""The states of a generation in the log: one line each, by who leads it, without a prompt."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from copperplate.budgets import Budget, Spending
from copperplate.denials import SpendingRefused
from copperplate.errors import GenerationFailed, ProviderFailed, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions, Permit
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness, kill
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = picture_request().generation_key[:12]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "copperplate.generations"):
        yield caplog


def lines(said: pytest.LogCaptureFixture) -> list[str]:
    """Lines of states without the key they all have, once."""
    states = [record.getMessage() for record in said.records if record.name == "copperplate.generations"]
    said.clear()
    assert all(line.startswith(f"generation key={KEY} ") for line in states)
    assert not any("sunset" in line for line in states)
    return [line.removeprefix(f"generation key={KEY} ") for line in states]


async def test_a_generation_is_told_from_its_lease_to_its_picture(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness(seconds=2)
    asking = await harness.begin(harness.process(), picture_request())
    assert lines(said) == ["status=pending kind=image", "status=generating kind=image"]
    await harness.clock.advance(3)
    await asking
    assert lines(said) == ["status=completed kind=image seconds=2.0"]
    # A hit is no generation.
    await harness.process().find(picture_request(), GENERATE)
    assert lines(said) == []


async def test_a_failure_is_told_with_its_class(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness()
    harness.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no sunset")]
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    assert lines(said)[-1] == "status=failed kind=image class=moderated seconds=0.0"


async def test_a_successor_of_a_dead_leader_goes_on_with_its_job(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness(has_jobs=True, collect_seconds=5)
    first = harness.process()
    asking = await harness.begin(first, picture_request())
    await kill(first, harness.ledger)
    asking.cancel()
    await harness.clock.advance(30)
    lines(said)
    resumed = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(10)
    await resumed
    assert lines(said) == ["status=generating kind=image", "status=completed kind=image seconds=5.0"]
    assert harness.provider.submits == 1


async def test_two_submits_of_one_lease_are_told_each(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness()
    harness.provider.failures = [ProviderFailed(FailureClass.AMBIGUOUS, "no answer")]
    await harness.process().find(picture_request(), GENERATE)
    statuses = [re.findall("status=([a-z]+)", line)[0] for line in lines(said)]
    assert statuses == ["pending", "generating", "generating", "completed"]


async def test_a_submit_that_is_refused_is_not_told_as_one(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness()
    await harness.ledger.set_budget("all", 0, None)
    spending = Spending(payer="owner", amount_micro_usd=1, budgets=(Budget(name="all"),))
    with pytest.raises(SpendingRefused):
        await harness.process().find(picture_request(), LookupOptions(permit=Permit(spending=spending)))
    assert lines(said) == []


async def test_a_picture_that_waits_for_its_store_is_told_when_it_is_stored(said: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness()
    harness.store.failing = 20
    process = harness.process()
    asking = await harness.begin(process, picture_request())
    await harness.clock.advance(15)
    with pytest.raises(StoreUnavailable):
        await asking
    assert lines(said) == ["status=pending kind=image", "status=generating kind=image"]
    harness.store.failing = 0
    await harness.clock.advance(60)
    [line] = lines(said)
    assert line.startswith("status=completed kind=image seconds=")
