"""Who pays for a picture that many ask for at once: whoever leads, once; every interleaving is made to happen."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.errors import GenerationFailed, NotEnoughCredits, ProviderFailed, StoreMisconfigured, StoreUnavailable
from copperplate.generation.lookup import LookupOptions
from copperplate.model import Charge, Credits, FailureClass, Outcome, PictureFormat
from tests.support.coordinator_harness import Workbench
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Needs

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
WEBP = picture_request(picture_format=PictureFormat.WEBP)


@pytest.fixture
def bench() -> Workbench:
    return Workbench()


async def has(bench: Workbench, user: UUID) -> tuple[int, int]:
    """Balance and held; the sums of all accounts agree."""
    assert (await bench.ledger.audit_credits())["faults"] == []
    found: Credits = await bench.ledger.credits(user)
    return found.balance, found.held


async def ask(process: Coordinator, user: UUID) -> LookupResult:
    return await process.find(picture_request(), LookupOptions(charge=Charge(user=user)))


async def test_whoever_leads_pays_once_and_a_hit_costs_nothing(bench: Workbench) -> None:
    await bench.ledger.grant_credits(ALICE, 3, "g")
    process = bench.process()
    outcomes = [(await ask(process, ALICE)).outcome for _ in range(3)]
    assert outcomes == [Outcome.GENERATED, Outcome.HIT, Outcome.HIT]
    assert await has(bench, ALICE) == (2, 0)


async def test_one_user_asking_a_hundred_times_at_once_pays_once(bench: Workbench) -> None:
    await bench.ledger.grant_credits(ALICE, 100, "g")
    processes = [bench.process() for _ in range(4)]
    found = await asyncio.gather(*(ask(processes[number % 4], ALICE) for number in range(100)))
    assert len({each.entry.path for each in found}) == 1
    assert (bench.provider.submits, await has(bench, ALICE)) == (1, (99, 0))


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_follower_without_credit_joins_and_pays_nothing(bench: Workbench, *, is_same_process: bool) -> None:
    bench.provider.seconds = 12
    await bench.ledger.grant_credits(ALICE, 1, "g")
    leading_in = bench.process()
    leading = await bench.begin(leading_in, picture_request(), Charge(user=ALICE))
    assert await has(bench, ALICE) == (1, 1)
    following = await bench.begin(
        leading_in if is_same_process else bench.process(), picture_request(), Charge(user=BOB)
    )
    await bench.clock.advance(13)
    assert ((await leading).outcome, (await following).outcome) == (Outcome.GENERATED, Outcome.COALESCED)
    assert (await has(bench, ALICE), await has(bench, BOB)) == ((0, 0), (0, 0))


async def test_follower_with_credit_keeps_it(bench: Workbench) -> None:
    bench.provider.seconds = 12
    for user in (ALICE, BOB):
        await bench.ledger.grant_credits(user, 1, f"of {user.int}")
    tasks = [await bench.begin(bench.process(), asked, Charge(user=BOB)) for asked in (picture_request(), WEBP)]
    tasks.append(await bench.begin(bench.process(), picture_request(), Charge(user=ALICE)))
    await bench.clock.advance(13)
    assert len(await asyncio.gather(*tasks)) == 3
    assert (await has(bench, BOB), await has(bench, ALICE)) == ((0, 0), (1, 0))


async def test_nobody_with_credit_means_nothing_is_made(bench: Workbench) -> None:
    process = bench.process()
    answers = await asyncio.gather(*(ask(process, UUID(int=n)) for n in range(5)), return_exceptions=True)
    assert [type(each) for each in answers] == [NotEnoughCredits] * 5
    assert bench.provider.submits == 0


async def test_joined_a_flight_that_was_denied_and_leads_on_a_charge_of_its_own(bench: Workbench) -> None:
    await bench.ledger.grant_credits(ALICE, 1, "g")
    process = bench.process()
    denied, served = await asyncio.gather(ask(process, BOB), ask(process, ALICE), return_exceptions=True)
    assert isinstance(denied, NotEnoughCredits)
    assert not isinstance(served, BaseException)
    assert (served.outcome, bench.provider.submits) == (Outcome.GENERATED, 1)
    assert await has(bench, ALICE) == (0, 0)


@pytest.mark.parametrize("place", [0, 1, 50, 99])
async def test_of_a_hundred_callers_the_one_with_credit_leads_and_pays_once(bench: Workbench, place: int) -> None:
    users = [UUID(int=1 + number) for number in range(100)]
    await bench.ledger.grant_credits(users[place], 1, "g")
    process = bench.process()
    answers = await asyncio.gather(*(ask(process, user) for user in users), return_exceptions=True)
    kinds = Counter(type(each).__name__ for each in answers)
    assert set(kinds) <= {"LookupResult", "NotEnoughCredits"}
    # Whoever looked before somebody led was told that it cannot pay; everybody after follows for nothing.
    assert not isinstance(answers[place], BaseException)
    assert bench.provider.submits == 1
    assert (await bench.ledger.audit_credits())["settled"] == 1
    assert await has(bench, users[place]) == (0, 0)


async def test_the_same_over_many_processes_is_one_lead_and_one_debit(bench: Workbench) -> None:
    bench.provider.seconds = 5
    await bench.ledger.grant_credits(ALICE, 1, "g")
    tasks = [
        await bench.begin(bench.process(), picture_request(), Charge(user=UUID(int=number))) for number in range(5)
    ]
    tasks += [await bench.begin(bench.process(), picture_request(), Charge(user=user)) for user in (ALICE, *[BOB] * 5)]
    await bench.clock.advance(20)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each).__name__ for each in answers] == ["NotEnoughCredits"] * 5 + ["LookupResult"] * 6
    assert (bench.provider.submits, await has(bench, ALICE)) == (1, (0, 0))


async def test_when_the_leader_fails_the_others_get_the_failure_and_pay_nothing(bench: Workbench) -> None:
    for user in (ALICE, BOB):
        await bench.ledger.grant_credits(user, 1, f"of {user.int}")
    bench.provider.seconds = 5
    bench.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    process = bench.process()
    leading = await bench.begin(process, picture_request(), Charge(user=ALICE))
    followers = [await bench.begin(each, picture_request(), Charge(user=BOB)) for each in (process, bench.process())]
    await bench.clock.advance(8)
    answers = await asyncio.gather(leading, *followers, return_exceptions=True)
    assert [type(each) for each in answers] == [GenerationFailed] * 3
    assert (await has(bench, ALICE), await has(bench, BOB)) == ((1, 0), (1, 0))
    assert bench.provider.submits == 1


async def test_after_a_failure_whoever_tries_again_pays_for_that_attempt_alone(bench: Workbench) -> None:
    for user in (ALICE, BOB):
        await bench.ledger.grant_credits(user, 1, f"of {user.int}")
    bench.provider.failures = [ProviderFailed(FailureClass.TRANSIENT, "no", billed=False)]
    process = bench.process()
    with pytest.raises(GenerationFailed):
        await ask(process, ALICE)
    with pytest.raises(GenerationFailed):  # it rests
        await ask(process, BOB)
    await bench.clock.advance(60)
    assert (await ask(process, BOB)).outcome is Outcome.GENERATED
    assert (await has(bench, ALICE), await has(bench, BOB)) == ((1, 0), (0, 0))


async def test_painter_is_never_charged(bench: Workbench) -> None:
    bench.provider.is_billable = False
    await bench.ledger.grant_credits(ALICE, 1, "g")
    process = bench.process()
    assert (await ask(process, ALICE)).outcome is Outcome.GENERATED
    assert (
        await process.find(picture_request("another"), LookupOptions(charge=Charge(user=BOB)))
    ).outcome is Outcome.GENERATED
    assert await has(bench, ALICE) == (1, 0)
    assert (await bench.ledger.audit_credits())["settled"] == 0


async def test_takeover_inherits_what_its_dead_predecessor_reserved(bench: Workbench) -> None:
    bench.provider.seconds = 12
    await bench.ledger.grant_credits(ALICE, 1, "g")
    doomed = bench.process()
    await bench.begin(doomed, picture_request(), Charge(user=ALICE))
    following = await bench.begin(bench.process(), picture_request(), Charge(user=BOB))
    await bench.kill(doomed)
    await bench.clock.advance(21)
    assert await has(bench, ALICE) == (1, 1)
    await bench.clock.advance(20)
    assert (await following).outcome is Outcome.GENERATED
    # Two submits, for the first answer was lost with its process; one debit, of whoever reserved.
    assert (bench.provider.submits, await has(bench, ALICE), await has(bench, BOB)) == (2, (0, 0), (0, 0))


async def test_leader_that_cannot_store_holds_on_for_whoever_takes_over(bench: Workbench) -> None:
    await bench.ledger.grant_credits(ALICE, 1, "g")
    bench.store.failing = 100
    task = await bench.begin(bench.process(), picture_request(), Charge(user=ALICE))
    await bench.clock.advance(8)
    with pytest.raises(StoreUnavailable):
        await task
    assert await has(bench, ALICE) == (1, 1)
    bench.store.failing = 0
    await bench.clock.advance(21)
    assert (await ask(bench.process(), BOB)).outcome is Outcome.HIT, "it was stored without anybody asking"
    assert (bench.provider.submits, await has(bench, ALICE)) == (1, (0, 0))


async def test_caller_that_goes_away_has_its_picture_made_and_pays_for_it(bench: Workbench) -> None:
    bench.provider.seconds = 12
    await bench.ledger.grant_credits(ALICE, 1, "g")
    process = bench.process()
    leaving = await bench.begin(process, picture_request(), Charge(user=ALICE))
    leaving.cancel()
    await bench.clock.advance(13)
    assert (await ask(process, BOB)).outcome is Outcome.HIT
    assert (bench.provider.submits, await has(bench, ALICE)) == (1, (0, 0))


async def test_of_twenty_pictures_asked_at_once_as_many_are_made_as_there_are_credits(bench: Workbench) -> None:
    await bench.ledger.grant_credits(ALICE, 7, "g")
    processes = [bench.process() for _ in range(4)]
    answers = await asyncio.gather(
        *(
            processes[n % 4].find(picture_request(f"picture {n}"), LookupOptions(charge=Charge(user=ALICE)))
            for n in range(20)
        ),
        return_exceptions=True,
    )
    assert Counter(type(each).__name__ for each in answers) == {"LookupResult": 7, "NotEnoughCredits": 13}
    assert (bench.provider.submits, await has(bench, ALICE)) == (7, (0, 0))


async def test_store_that_would_refuse_holds_nobodys_credit(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def private(_: Needs) -> None:
        raise StoreMisconfigured("bucket memoji-images is private")

    await bench.ledger.grant_credits(ALICE, 1, "g")
    monkeypatch.setattr(bench.store, "check", private)
    with pytest.raises(StoreMisconfigured):
        await ask(bench.process(), ALICE)
    assert (await bench.ledger.credits(ALICE)).available == 1
    monkeypatch.undo()
    await bench.clock.advance(16)
    assert (await ask(bench.process(), ALICE)).outcome is Outcome.GENERATED
    assert (bench.provider.submits, await has(bench, ALICE)) == (1, (0, 0))
