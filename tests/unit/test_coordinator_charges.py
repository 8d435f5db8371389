"""Who pays for a picture that many ask for at once: whoever leads, once; every interleaving is made to happen."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.budgets import Charge, Credits
from copperplate.denials import NotEnoughCredits
from copperplate.errors import GenerationFailed, ProviderFailed, StoreMisconfigured, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.model import Outcome, PictureFormat
from copperplate.testing import PERMIT
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Needs

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
WEBP = picture_request(picture_format=PictureFormat.WEBP)


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


async def has(harness: CoordinatorHarness, user: UUID) -> tuple[int, int]:
    """Balance and held; the sums of all accounts agree."""
    assert (await harness.ledger.audit_credits())["faults"] == []
    found: Credits = await harness.ledger.credits(user)
    return found.balance, found.held


async def ask(process: Coordinator, user: UUID) -> LookupResult:
    return await process.find(picture_request(), LookupOptions(permit=PERMIT, charge=Charge(user=user)))


async def test_whoever_leads_pays_once_and_a_hit_costs_nothing(harness: CoordinatorHarness) -> None:
    await harness.ledger.grant_credits(ALICE, 3, "g")
    process = harness.process()
    outcomes = [(await ask(process, ALICE)).outcome for _ in range(3)]
    assert outcomes == [Outcome.GENERATED, Outcome.HIT, Outcome.HIT]
    assert await has(harness, ALICE) == (2, 0)


async def test_one_user_asking_a_hundred_times_at_once_pays_once(harness: CoordinatorHarness) -> None:
    await harness.ledger.grant_credits(ALICE, 100, "g")
    processes = [harness.process() for _ in range(4)]
    found = await asyncio.gather(*(ask(processes[number % 4], ALICE) for number in range(100)))
    assert len({each.entry.path for each in found}) == 1
    assert (harness.provider.submits, await has(harness, ALICE)) == (1, (99, 0))


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_follower_without_credit_joins_and_pays_nothing(
    harness: CoordinatorHarness, *, is_same_process: bool
) -> None:
    harness.provider.seconds = 12
    await harness.ledger.grant_credits(ALICE, 1, "g")
    leading_in = harness.process()
    leading = await harness.begin(leading_in, picture_request(), Charge(user=ALICE))
    assert await has(harness, ALICE) == (1, 1)
    following = await harness.begin(
        leading_in if is_same_process else harness.process(), picture_request(), Charge(user=BOB)
    )
    await harness.clock.advance(13)
    assert ((await leading).outcome, (await following).outcome) == (Outcome.GENERATED, Outcome.COALESCED)
    assert (await has(harness, ALICE), await has(harness, BOB)) == ((0, 0), (0, 0))


async def test_follower_with_credit_keeps_it(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    for user in (ALICE, BOB):
        await harness.ledger.grant_credits(user, 1, f"of {user.int}")
    tasks = [await harness.begin(harness.process(), asked, Charge(user=BOB)) for asked in (picture_request(), WEBP)]
    tasks.append(await harness.begin(harness.process(), picture_request(), Charge(user=ALICE)))
    await harness.clock.advance(13)
    assert len(await asyncio.gather(*tasks)) == 3
    assert (await has(harness, BOB), await has(harness, ALICE)) == ((0, 0), (1, 0))


async def test_nobody_with_credit_means_nothing_is_made(harness: CoordinatorHarness) -> None:
    process = harness.process()
    answers = await asyncio.gather(*(ask(process, UUID(int=n)) for n in range(5)), return_exceptions=True)
    assert [type(each) for each in answers] == [NotEnoughCredits] * 5
    assert harness.provider.submits == 0


async def test_joined_a_flight_that_was_denied_and_leads_on_a_charge_of_its_own(harness: CoordinatorHarness) -> None:
    await harness.ledger.grant_credits(ALICE, 1, "g")
    process = harness.process()
    denied, served = await asyncio.gather(ask(process, BOB), ask(process, ALICE), return_exceptions=True)
    assert isinstance(denied, NotEnoughCredits)
    assert not isinstance(served, BaseException)
    assert (served.outcome, harness.provider.submits) == (Outcome.GENERATED, 1)
    assert await has(harness, ALICE) == (0, 0)


@pytest.mark.parametrize("place", [0, 1, 50, 99])
async def test_of_a_hundred_callers_the_one_with_credit_leads_and_pays_once(
    harness: CoordinatorHarness, place: int
) -> None:
    users = [UUID(int=1 + number) for number in range(100)]
    await harness.ledger.grant_credits(users[place], 1, "g")
    process = harness.process()
    answers = await asyncio.gather(*(ask(process, user) for user in users), return_exceptions=True)
    kinds = Counter(type(each).__name__ for each in answers)
    assert set(kinds) <= {"LookupResult", "NotEnoughCredits"}
    # Whoever looked before somebody led was told that it cannot pay; everybody after follows for nothing.
    assert not isinstance(answers[place], BaseException)
    assert harness.provider.submits == 1
    assert (await harness.ledger.audit_credits())["settled"] == 1
    assert await has(harness, users[place]) == (0, 0)


async def test_the_same_over_many_processes_is_one_lead_and_one_debit(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 5
    await harness.ledger.grant_credits(ALICE, 1, "g")
    tasks = [
        await harness.begin(harness.process(), picture_request(), Charge(user=UUID(int=number))) for number in range(5)
    ]
    tasks += [
        await harness.begin(harness.process(), picture_request(), Charge(user=user)) for user in (ALICE, *[BOB] * 5)
    ]
    await harness.clock.advance(20)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each).__name__ for each in answers] == ["NotEnoughCredits"] * 5 + ["LookupResult"] * 6
    assert (harness.provider.submits, await has(harness, ALICE)) == (1, (0, 0))


async def test_when_the_leader_fails_the_others_get_the_failure_and_pay_nothing(harness: CoordinatorHarness) -> None:
    for user in (ALICE, BOB):
        await harness.ledger.grant_credits(user, 1, f"of {user.int}")
    harness.provider.seconds = 5
    harness.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    process = harness.process()
    leading = await harness.begin(process, picture_request(), Charge(user=ALICE))
    followers = [
        await harness.begin(each, picture_request(), Charge(user=BOB)) for each in (process, harness.process())
    ]
    await harness.clock.advance(8)
    answers = await asyncio.gather(leading, *followers, return_exceptions=True)
    assert [type(each) for each in answers] == [GenerationFailed] * 3
    assert (await has(harness, ALICE), await has(harness, BOB)) == ((1, 0), (1, 0))
    assert harness.provider.submits == 1


async def test_after_a_failure_whoever_tries_again_pays_for_that_attempt_alone(harness: CoordinatorHarness) -> None:
    for user in (ALICE, BOB):
        await harness.ledger.grant_credits(user, 1, f"of {user.int}")
    harness.provider.failures = [ProviderFailed(FailureClass.TRANSIENT, "no", billed=False)]
    process = harness.process()
    with pytest.raises(GenerationFailed):
        await ask(process, ALICE)
    with pytest.raises(GenerationFailed):  # it rests
        await ask(process, BOB)
    await harness.clock.advance(60)
    assert (await ask(process, BOB)).outcome is Outcome.GENERATED
    assert (await has(harness, ALICE), await has(harness, BOB)) == ((1, 0), (0, 0))


async def test_painter_is_never_charged(harness: CoordinatorHarness) -> None:
    harness.provider.is_billable = False
    await harness.ledger.grant_credits(ALICE, 1, "g")
    process = harness.process()
    assert (await ask(process, ALICE)).outcome is Outcome.GENERATED
    other = await process.find(picture_request("another"), LookupOptions(permit=PERMIT, charge=Charge(user=BOB)))
    assert other.outcome is Outcome.GENERATED
    assert await has(harness, ALICE) == (1, 0)
    assert (await harness.ledger.audit_credits())["settled"] == 0


async def test_takeover_inherits_what_its_dead_predecessor_reserved(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    await harness.ledger.grant_credits(ALICE, 1, "g")
    doomed = harness.process()
    await harness.begin(doomed, picture_request(), Charge(user=ALICE))
    following = await harness.begin(harness.process(), picture_request(), Charge(user=BOB))
    await harness.kill(doomed)
    await harness.clock.advance(21)
    assert await has(harness, ALICE) == (1, 1)
    await harness.clock.advance(20)
    assert (await following).outcome is Outcome.GENERATED
    # Two submits, for the first answer was lost with its process; one debit, of whoever reserved.
    assert (harness.provider.submits, await has(harness, ALICE), await has(harness, BOB)) == (2, (0, 0), (0, 0))


async def test_leader_that_cannot_store_holds_on_for_whoever_takes_over(harness: CoordinatorHarness) -> None:
    await harness.ledger.grant_credits(ALICE, 1, "g")
    harness.store.failing = 100
    task = await harness.begin(harness.process(), picture_request(), Charge(user=ALICE))
    await harness.clock.advance(8)
    with pytest.raises(StoreUnavailable):
        await task
    assert await has(harness, ALICE) == (1, 1)
    harness.store.failing = 0
    await harness.clock.advance(21)
    assert (await ask(harness.process(), BOB)).outcome is Outcome.HIT, "it was stored without anybody asking"
    assert (harness.provider.submits, await has(harness, ALICE)) == (1, (0, 0))


async def test_caller_that_goes_away_has_its_picture_made_and_pays_for_it(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    await harness.ledger.grant_credits(ALICE, 1, "g")
    process = harness.process()
    leaving = await harness.begin(process, picture_request(), Charge(user=ALICE))
    leaving.cancel()
    await harness.clock.advance(13)
    assert (await ask(process, BOB)).outcome is Outcome.HIT
    assert (harness.provider.submits, await has(harness, ALICE)) == (1, (0, 0))


async def test_of_twenty_pictures_asked_at_once_as_many_are_made_as_there_are_credits(
    harness: CoordinatorHarness,
) -> None:
    await harness.ledger.grant_credits(ALICE, 7, "g")
    processes = [harness.process() for _ in range(4)]
    answers = await asyncio.gather(
        *(
            processes[n % 4].find(
                picture_request(f"picture {n}"), LookupOptions(permit=PERMIT, charge=Charge(user=ALICE))
            )
            for n in range(20)
        ),
        return_exceptions=True,
    )
    assert Counter(type(each).__name__ for each in answers) == {"LookupResult": 7, "NotEnoughCredits": 13}
    assert (harness.provider.submits, await has(harness, ALICE)) == (7, (0, 0))


async def test_store_that_would_refuse_holds_nobodys_credit(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def private(_: Needs) -> None:
        raise StoreMisconfigured("bucket memoji-images is private")

    await harness.ledger.grant_credits(ALICE, 1, "g")
    monkeypatch.setattr(harness.store, "check", private)
    with pytest.raises(StoreMisconfigured):
        await ask(harness.process(), ALICE)
    assert (await harness.ledger.credits(ALICE)).available == 1
    monkeypatch.undo()
    await harness.clock.advance(16)
    assert (await ask(harness.process(), ALICE)).outcome is Outcome.GENERATED
    assert (harness.provider.submits, await has(harness, ALICE)) == (1, (0, 0))
