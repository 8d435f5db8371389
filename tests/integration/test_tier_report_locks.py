"""Reports on tiers that processes share: none waits for another that writes the same row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.feed import Tier
from tests.contract.ledger.tier_reports import FOLDER, ONE, OTHER, figures, read
from tests.support.postgres_fixtures import opened

if TYPE_CHECKING:
    from typing import LiteralString

LOCK = "select from copperplate.tier_reports where holder = %s for update"
WRITE = "update copperplate.tier_reports set entries = 1 where holder = %s"


@pytest.mark.parametrize("hold", [LOCK, WRITE])
async def test_a_row_that_another_report_writes_is_passed_over_and_the_rest_is_noted(
    owner_url: str, hold: LiteralString
) -> None:
    """A report that waits for it fails, by the `lock_timeout` of its function."""
    async with opened(owner_url) as ledger, await psycopg.AsyncConnection.connect(owner_url) as other:
        await ledger.report_tiers(ONE, [figures(Tier.MEMORY, 2, 30), figures(Tier.DISK, 7, 600, FOLDER)])
        await other.execute(hold, [FOLDER])
        await ledger.report_tiers(OTHER, [figures(Tier.MEMORY, 3, 90), figures(Tier.DISK, 8, 700, FOLDER)])
        tiers = await read(ledger)
        assert (tiers[Tier.MEMORY].entries, tiers[Tier.DISK].entries) == (5, 7)
        await other.rollback()
        await ledger.report_tiers(OTHER, [figures(Tier.DISK, 8, 700, FOLDER)])
        assert (await read(ledger))[Tier.DISK].entries == 8
