"""The statements of docs/work.md, as the page has them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copperplate.wishes import Settlement, WishStatus
from tests.contract.ledger.wishing import HOLD, NO_HOLD, new_wish

if TYPE_CHECKING:
    import psycopg

    from copperplate.adapters.ledger.postgres import PostgresLedger

PAGE = Path(__file__).parents[2] / "docs" / "work.md"


async def test_the_statements_of_the_page_answer_what_they_say(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    failed = await ledger.make_wish(new_wish("a refused fox"), held_for=NO_HOLD)
    await ledger.settle_wish(failed, Settlement(status=WishStatus.FAILED, code="moderated"))
    await ledger.make_wish(new_wish("an owl"), held_for=HOLD)
    paused = await ledger.make_wish(new_wish("a hare"), held_for=NO_HOLD)
    await ledger.settle_wish(paused, Settlement(status=WishStatus.OPEN, retry_after=timedelta(minutes=5)))
    [block] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    pending, counts = (
        editor.execute(statement.encode()).fetchall() for statement in block.split(";\n") if statement.strip()
    )
    assert [row["prompt"] for row in pending] == ["an owl", "a hare"]
    assert [(row["status"], row["code"], row["wishes"], row["held"]) for row in counts] == [
        ("open", None, 2, 1),
        ("failed", "moderated", 1, 0),
    ]
