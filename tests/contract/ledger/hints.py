"""What ledgers that notify promise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from copperplate.wishes import Settlement, WishStatus
from tests.contract.ledger.harness import complete, failure, lead
from tests.contract.ledger.wishing import HOLD, new_batch
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class HintContract:
    """Ledgers that notify; a hint may come early, late or never, and over HTTP it never does."""

    async def test_completion_and_failure_are_hinted(self, harness: LedgerHarness) -> None:
        with (
            harness.ledger.hints(picture_request().generation_key) as hint,
            harness.ledger.hints(picture_request("other").generation_key) as other,
        ):
            await complete(harness.ledger, picture_request())
            async with asyncio.timeout(5):
                await hint.wait()
            held = await lead(harness.ledger, picture_request("other"))
            await harness.ledger.fail(picture_request("other").generation_key, held.fence, failure())
            async with asyncio.timeout(5):
                await other.wait()

    async def test_the_end_of_a_member_is_hinted_to_who_watches_its_batch(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("a fox"))
        [wish] = await harness.ledger.take_wishes(in_flight=1, held_for=HOLD)
        with harness.ledger.hints(str(batch)) as hint:
            await harness.ledger.settle_wish(wish.id, Settlement(status=WishStatus.FAILED, code="moderated"))
            async with asyncio.timeout(5):
                await hint.wait()
