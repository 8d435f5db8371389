"""Wishes for tests, and the steps that the suites of wishes are written in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.budgets import Budget, Spending
from copperplate.recipes.memoji import MemojiRecipe, request_of
from copperplate.wishes import NewBatch, NewWish, Priority
from tests.contract.ledger.harness import LONG_LEASE
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from copperplate.model import PictureRequest
    from copperplate.wishes import Batch, Member, State, Wish
    from tests.contract.ledger.harness import LedgerHarness

OWNER: Final = "key:0b6ff6c9-6f0b-4f39-9c0f-0d6d4f6f0001"
OTHER: Final = "key:0b6ff6c9-6f0b-4f39-9c0f-0d6d4f6f0002"
# A hold outlasts whatever a busy machine needs.
HOLD: Final = LONG_LEASE
NO_HOLD: Final = timedelta(0)
DAY_SECONDS: Final = 86_400.0
PRICE: Final = 3_000


def spending(amount: int = PRICE, owner: str = OWNER) -> Spending:
    """What a picture books, with a budget of its own and the wall."""
    own = Budget(name=owner, cap_micro_usd=1_000_000, is_own=True)
    house = Budget(name="all", cap_micro_usd=5_000_000)
    return Spending(payer=owner, amount_micro_usd=amount, budgets=(own, house), max_in_flight=3)


def memoji(hair: str = "short") -> PictureRequest:
    return request_of(MemojiRecipe(model="m", hair=hair))


def new_wish(asked: str | PictureRequest = "a beautiful sunset", **fields: Any) -> NewWish:
    """A wish for this prompt or picture, by `OWNER` unless said."""
    request = picture_request(asked) if isinstance(asked, str) else asked
    given = {"owner": OWNER, "spending": spending(), **fields}
    return NewWish(generation_key=request.generation_key, recipe=request.recipe, **given)


def new_batch(*prompts: str | PictureRequest, owner: str = OWNER, **fields: Any) -> NewBatch:
    """A batch of one wish each, of low priority."""
    wishes = tuple(new_wish(prompt, owner=owner, priority=Priority.LOW) for prompt in prompts)
    return NewBatch(**{"owner": owner, "wishes": wishes, **fields})


async def make(harness: LedgerHarness, prompt: str, **fields: Any) -> int:
    """Keep a wish that is due at once."""
    wish: int = await harness.ledger.make_wish(new_wish(prompt, **fields), held_for=NO_HOLD)
    return wish


async def take(harness: LedgerHarness, in_flight: int = 1_000) -> Sequence[Wish]:
    """Take what is due."""
    taken: Sequence[Wish] = await harness.ledger.take_wishes(in_flight=in_flight, held_for=HOLD)
    return taken


def prompts(wishes: Sequence[Wish]) -> list[str]:
    return [str(wish.recipe["prompt"]) for wish in wishes]


async def pass_hold(harness: LedgerHarness) -> None:
    """Let every hold run out."""
    await harness.advance(HOLD.total_seconds() + 1)


async def seen(harness: LedgerHarness, batch: UUID) -> Batch:
    """A batch that is known."""
    found: Batch | None = await harness.ledger.find_batch(batch)
    assert found is not None
    return found


async def counts(harness: LedgerHarness, batch: UUID) -> dict[State, int]:
    """How many of its members are in each state, without those that nobody is in."""
    found = await seen(harness, batch)
    return {state: number for state, number in found.counts.items() if number}


async def members(harness: LedgerHarness, batch: UUID) -> Sequence[Member]:
    """All members of a batch of at most 1,000."""
    found: Sequence[Member] = await harness.ledger.batch_members(batch, limit=1_000)
    return found
