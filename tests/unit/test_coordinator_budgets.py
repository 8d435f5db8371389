"""Who may cause a miss, and who may only follow: permits, refusals, and whom a refusal concerns."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.budgets import Budget, Charge, Credits, Spending
from copperplate.denials import (
    AccessDenied,
    BudgetExhausted,
    BudgetInFlight,
    NotEnoughCredits,
    SpendingRefused,
    TooManyInFlight,
)
from copperplate.errors import GenerationFailed, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.ledger_answers import Miss
from copperplate.model import Outcome, PictureFormat
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.permits import permit
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import PictureRequest

PRICE = 3_000
DENIED = LookupOptions(permit=permit(denial=AccessDenied("Not here.")))
ALICE = UUID(int=0xA11CE)


def options(
    payer: str, *, cap: int | None = None, wall: int | None = None, most: int | None = None, user: UUID | None = None
) -> LookupOptions:
    """May have a picture made, within so many pictures of one's own and of everybody's."""
    budgets = (Budget(name=payer, cap_pictures=cap, is_own=True), Budget(name="all", cap_pictures=wall))
    spending = Spending(payer=payer, amount_micro_usd=PRICE, budgets=budgets, max_in_flight=most)
    return LookupOptions(permit=permit(spending), charge=None if user is None else Charge(user=user))


ANN, BEN, POOR = options("key:ann"), options("key:ben"), options("key:poor", cap=0)


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


async def begin(
    harness: CoordinatorHarness, process: Coordinator, asked: LookupOptions, request: PictureRequest | None = None
) -> asyncio.Task[LookupResult]:
    task = asyncio.create_task(process.find(request or picture_request(), asked))
    await harness.clock.settle()
    return task


async def used(harness: CoordinatorHarness, name: str) -> int:
    """Pictures that a budget counts; the counters are what the book says."""
    assert (await harness.ledger.audit_budgets())["faults"] == []
    return sum(amount.pictures for (budget, _), amount in harness.ledger._usage.items() if budget == name)


async def peeked_miss(harness: CoordinatorHarness) -> bool:
    found = await harness.ledger.peek(picture_request().generation_key, picture_request().rendition_key)
    return found == Miss()


# --- permits that may only follow ------------------------------------------------------------------


async def test_who_may_not_lead_gets_a_hit_and_the_denial_at_a_miss(harness: CoordinatorHarness) -> None:
    process = harness.process()
    with pytest.raises(AccessDenied, match="Not here"):
        await process.find(picture_request(), DENIED)
    assert harness.provider.submits == 0
    assert await peeked_miss(harness)
    await process.find(picture_request(), ANN)
    assert (await process.find(picture_request(), DENIED)).outcome is Outcome.HIT


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_who_may_not_lead_follows_whoever_does(harness: CoordinatorHarness, *, is_same_process: bool) -> None:
    harness.provider.seconds = 12
    leading_in = harness.process()
    leading = await begin(harness, leading_in, ANN)
    other = leading_in if is_same_process else harness.process()
    following = [await begin(harness, other, DENIED) for _ in range(2)]
    await harness.clock.advance(16)
    assert (await leading).outcome is Outcome.GENERATED
    assert [(await each).outcome for each in following] == [Outcome.COALESCED] * 2
    assert (harness.provider.submits, await used(harness, "key:ann")) == (1, 1)


async def test_who_may_not_lead_gets_the_form_asked_for_of_another_callers_picture(harness: CoordinatorHarness) -> None:
    avif = picture_request(picture_format=PictureFormat.AVIF)
    await harness.process().find(picture_request(), ANN)
    found = await harness.process().find(avif, DENIED)
    assert (found.outcome, found.entry.is_original) == (Outcome.HIT, True)


async def test_who_may_not_lead_takes_nothing_over_from_a_dead_leader(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    doomed = harness.process()
    await begin(harness, doomed, ANN)
    following = await begin(harness, harness.process(), DENIED)
    await harness.kill(doomed)
    await harness.clock.advance(30)
    with pytest.raises(AccessDenied):
        await following
    assert harness.provider.submits == 1


async def test_who_may_not_lead_gets_the_failure_of_whom_they_followed(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 5
    harness.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    process = harness.process()
    leading = await begin(harness, process, ANN)
    following = await begin(harness, process, DENIED)
    await harness.clock.advance(10)
    for each in (leading, following):
        with pytest.raises(GenerationFailed):
            await each


async def test_who_may_lead_never_joins_the_flight_of_one_who_may_not(harness: CoordinatorHarness) -> None:
    process = harness.process()
    denied, made = await asyncio.gather(
        process.find(picture_request(), DENIED), process.find(picture_request(), ANN), return_exceptions=True
    )
    assert isinstance(denied, AccessDenied)
    assert not isinstance(made, BaseException)
    assert made.outcome is Outcome.GENERATED


# --- refusals -------------------------------------------------------------------------------------


async def test_a_refused_caller_causes_nothing(harness: CoordinatorHarness) -> None:
    with pytest.raises(BudgetExhausted) as refused:
        await harness.process().find(picture_request(), POOR)
    assert (refused.value.payer, refused.value.refusal.budget) == ("key:poor", "key:poor")
    assert harness.provider.submits == 0
    assert await peeked_miss(harness)


async def test_a_joiner_of_a_flight_whose_payer_is_refused_gets_one_of_its_own(harness: CoordinatorHarness) -> None:
    process = harness.process()
    refused, made, joined = await asyncio.gather(
        *(process.find(picture_request(), each) for each in (POOR, ANN, BEN)), return_exceptions=True
    )
    assert isinstance(refused, BudgetExhausted)
    assert not isinstance(made, BaseException)
    assert not isinstance(joined, BaseException)
    assert {made.outcome, joined.outcome} <= {Outcome.GENERATED, Outcome.COALESCED}
    assert harness.provider.submits == 1
    assert await used(harness, "key:ann") + await used(harness, "key:ben") == 1


def count_acquires(harness: CoordinatorHarness) -> list[object]:
    """Grows by one with every acquire from now on."""
    asked: list[object] = []
    acquire = harness.ledger.acquire

    async def counted(*arguments: Any, **named: Any) -> Any:
        asked.append(named["spending"])
        return await acquire(*arguments, **named)

    harness.ledger.acquire = counted  # type: ignore[method-assign]
    return asked


async def test_a_refused_payer_is_not_tried_again_for_whoever_shares_the_budget(harness: CoordinatorHarness) -> None:
    asked = count_acquires(harness)
    process = harness.process()
    answers = await asyncio.gather(*(process.find(picture_request(), POOR) for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in answers} == {BudgetExhausted}
    assert len(asked) == 1


async def test_a_refusal_by_the_house_is_for_everybody_and_is_not_tried_again(harness: CoordinatorHarness) -> None:
    asked = count_acquires(harness)
    process = harness.process()
    callers = [options(f"key:{number}", wall=0) for number in range(20)]
    answers = await asyncio.gather(*(process.find(picture_request(), each) for each in callers), return_exceptions=True)
    assert {type(each) for each in answers} == {BudgetExhausted}
    assert {each.payer for each in answers if isinstance(each, SpendingRefused)} == {None}
    assert len(asked) == 1


async def lead_up_to_the_wall(
    harness: CoordinatorHarness, process: Coordinator, asked: LookupOptions
) -> asyncio.Task[LookupResult]:
    """Elected while there is room; by the time of the submit another has taken it."""
    begin_submit = harness.ledger.begin_submit

    async def late(*arguments: Any, **named: Any) -> Any:
        await harness.clock.sleep(2)
        return await begin_submit(*arguments, **named)

    harness.ledger.begin_submit = late  # type: ignore[method-assign]
    task = await begin(harness, process, asked)
    harness.ledger.begin_submit = begin_submit  # type: ignore[method-assign]
    await harness.process().find(picture_request("faster"), options("key:faster"))
    return task


async def test_followers_of_a_leader_that_the_wall_refuses_get_the_same_refusal(harness: CoordinatorHarness) -> None:
    process = harness.process()
    leading = await lead_up_to_the_wall(harness, process, options("key:ann", wall=1))
    assert await used(harness, "key:ann") == 1
    following = [
        await begin(harness, each, options("key:ben", wall=1)) for each in (process, process, harness.process())
    ]
    await harness.clock.advance(5)
    for each in (leading, *following):
        with pytest.raises(BudgetExhausted) as refused:
            await each
        assert (refused.value.payer, refused.value.refusal.budget) == (None, "all")
    assert await used(harness, "key:ann") == await used(harness, "key:ben") == 0
    assert harness.provider.submits == 1
    assert await peeked_miss(harness), "nothing is remembered"
    assert (await process.find(picture_request(), ANN)).outcome is Outcome.GENERATED


async def test_a_leader_that_is_refused_gives_its_credit_back_and_logs_the_budget(
    harness: CoordinatorHarness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.ledger.grant_credits(ALICE, 1, "g")
    process = harness.process()
    leading = await lead_up_to_the_wall(harness, process, options("key:ann", wall=1, user=ALICE))
    assert await harness.ledger.credits(ALICE) == Credits(balance=1, held=1)
    await harness.clock.advance(3)
    with pytest.raises(BudgetExhausted):
        await leading
    assert await harness.ledger.credits(ALICE) == Credits(balance=1, held=0)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["budget all: 100 % of its cap is used"]


async def test_a_follower_in_another_process_leads_where_its_own_budget_has_room(harness: CoordinatorHarness) -> None:
    anonymous = Budget(name="anonymous", cap_pictures=1, is_own=True)
    stranger = LookupOptions(
        permit=permit(Spending(payer="address:a", amount_micro_usd=PRICE, budgets=(anonymous, Budget(name="all"))))
    )
    leading = await lead_up_to_the_wall(harness, harness.process(), options("key:ann", wall=1))
    strangers = await begin(harness, harness.process(), stranger)
    await harness.clock.advance(5)
    with pytest.raises(BudgetExhausted):
        await leading
    assert (await strangers).outcome in (Outcome.GENERATED, Outcome.COALESCED)


async def test_a_second_submit_passes_the_wall_as_the_first_does(harness: CoordinatorHarness) -> None:
    harness.provider.failures = [ProviderFailed(FailureClass.AMBIGUOUS, "sent, no answer")] * 2
    process = harness.process()
    with pytest.raises(BudgetExhausted):
        await process.find(picture_request(), options("key:ann", wall=1))
    assert (harness.provider.submits, await used(harness, "all")) == (1, 1)
    harness.provider.failures.clear()
    # The next one with room goes on from there: its submit is the second of the attempt.
    assert (await process.find(picture_request(), options("key:ben", wall=2))).outcome is Outcome.GENERATED
    assert (harness.provider.submits, await used(harness, "all")) == (2, 2)
    assert (await used(harness, "key:ann"), await used(harness, "key:ben")) == (1, 1)


async def test_pictures_under_way_refuse_for_a_moment(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    process = harness.process()
    leading = await begin(harness, process, options("key:ann", wall=1))
    with pytest.raises(BudgetInFlight) as refused:
        await process.find(picture_request("another"), options("key:ben", wall=1))
    assert refused.value.retry_after_seconds == 5
    with pytest.raises(TooManyInFlight):
        await process.find(picture_request("a third"), options("key:ann", most=1))
    await harness.clock.advance(13)
    await leading


async def test_what_is_given_back_lets_the_next_one_in(harness: CoordinatorHarness) -> None:
    harness.provider.failures = [ProviderFailed(FailureClass.RATE_LIMITED, "429", billed=False)]
    process = harness.process()
    with pytest.raises(GenerationFailed):
        await process.find(picture_request(), options("key:ann", wall=1))
    assert await used(harness, "all") == 0
    found = await process.find(picture_request("another"), options("key:ann", wall=1))
    assert found.outcome is Outcome.GENERATED


async def test_a_takeover_that_collects_needs_no_budget(harness: CoordinatorHarness) -> None:
    harness.provider.has_jobs, harness.provider.collect_seconds = True, 12
    doomed = harness.process()
    await begin(harness, doomed, ANN)
    await harness.kill(doomed)
    await harness.clock.advance(21)
    harness.provider.collect_seconds = 0
    assert (await harness.process().find(picture_request(), options("key:ben", cap=0, wall=0))).outcome is (
        Outcome.GENERATED
    )
    assert (harness.provider.submits, await used(harness, "key:ann"), await used(harness, "key:ben")) == (1, 1, 0)


async def test_a_bill_corrects_what_the_next_one_may_spend(harness: CoordinatorHarness) -> None:
    harness.provider.usage = {"out": 1}
    harness.provider.cost_micro_usd = lambda *_: 3 * PRICE  # type: ignore[method-assign]
    own = Budget(name="key:ann", cap_micro_usd=3 * PRICE, is_own=True)
    paid = LookupOptions(
        permit=permit(Spending(payer="key:ann", amount_micro_usd=PRICE, budgets=(own, Budget(name="all"))))
    )
    process = harness.process()
    await process.find(picture_request(), paid)
    with pytest.raises(BudgetExhausted) as refused:
        await process.find(picture_request("another"), paid)
    assert refused.value.refusal.left_micro_usd == 0


async def test_who_cannot_pay_in_credits_is_told_so_before_any_budget(harness: CoordinatorHarness) -> None:
    with pytest.raises(NotEnoughCredits):
        await harness.process().find(picture_request(), options("user:x", wall=0, user=ALICE))


async def test_without_spending_everything_may_be_made(harness: CoordinatorHarness) -> None:
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert await used(harness, "all") == 0
