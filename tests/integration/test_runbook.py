"""The SQL of the runbook, on a database in which what it is for has happened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.contract.ledger.harness import complete, failure, lead
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
BLOCKS = re.findall(r"^```sql\n(.*?)^```", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE)
FOX = "a red fox"


def run(owner_url: str, block: str) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement that has any."""
    answers = []
    with psycopg.connect(owner_url, autocommit=True) as editor:
        for statement in filter(str.strip, block.split(";")):
            cursor = editor.execute(statement.encode())
            answers.append(cursor.fetchall() if cursor.description else [])
    return answers


def block_with(words: str) -> str:
    [found] = [block for block in BLOCKS if words in block]
    return str(found)


def test_every_statement_of_the_runbook_runs(owner_url: str) -> None:
    assert len(BLOCKS) >= 5
    for block in BLOCKS:
        run(owner_url, block)


async def test_a_picture_that_does_not_come_is_found_and_given_up(owner_url: str, ledger: PostgresLedger) -> None:
    await lead(ledger, picture_request(FOX))
    [[row]] = run(owner_url, block_with("lease_until"))
    assert row[:3] == (FOX, "pending", "claimed")
    run(owner_url, block_with("status <> 'completed'"))
    assert run(owner_url, block_with("lease_until")) == [[]]


async def test_a_picture_that_came_is_not_given_up(owner_url: str, ledger: PostgresLedger) -> None:
    await complete(ledger, picture_request(FOX), "a picture")
    run(owner_url, block_with("status <> 'completed'"))
    assert len(run(owner_url, block_with("lease_until"))[0]) == 1


async def test_after_an_outage_nobody_waits(owner_url: str, ledger: PostgresLedger) -> None:
    held = await lead(ledger, picture_request(FOX))
    await ledger.fail(picture_request(FOX).generation_key, held.fence, failure(rest=3600))
    _, failed = run(owner_url, block_with("from copperplate.breakers;"))
    assert len(failed) == 1
    run(owner_url, block_with("delete from copperplate.breakers"))
    assert run(owner_url, block_with("lease_until")) == [[]]


async def test_a_picture_that_must_go_is_counted_and_then_gone(owner_url: str, ledger: PostgresLedger) -> None:
    await complete(ledger, picture_request(FOX), "a picture")
    [[(counted,)], [(purged,)]] = run(owner_url, block_with("purge_entries"))
    assert (counted["generations"], counted["images"], counted["children"]) == (1, 0, 0)
    assert (counted["dry_run"], counted["pinned"], counted["has_more"]) == (True, 0, False)
    assert counted["bytes"] > 0
    assert [bucket for bucket, _ in purged.pop("objects")] == ["generated-images"]
    assert purged == {**counted, "dry_run": False, "keys": [picture_request(FOX).generation_key]}
    assert run(owner_url, block_with("lease_until")) == [[]]
