"""Every file in sql/ answers its question, on a database with data in it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from ledger import LEASE, complete, failure, lead, record, use

from copperplate.adapters.postgres import PostgresLedger
from copperplate.model import Outcome
from pictures import want

FILES = sorted((Path(__file__).parents[2] / "sql").glob("*.sql"))


async def fill(owner_url: str) -> None:
    """One picture asked ten times, one failure, one leader that hangs."""
    ledger = PostgresLedger(owner_url)
    await ledger.open()
    original = await complete(ledger, want())
    await record(ledger, original, want(), "jpg")
    await ledger.record_usage([use(want(), Outcome.COALESCED, 10)])
    failing = await lead(ledger, want("failing"))
    await ledger.fail(want("failing").generation_key, failing.fence, failure())
    await ledger.acquire(want("hanging"), leader=uuid4(), lease=LEASE)
    await ledger.close()
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "update public.generation_status set status = 'generating', phase = 'submitting',"
            " started_at = now() - interval '6 minutes' where prompt = 'hanging'"
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
async def test_file_says_its_question_and_answers_it(owner_url: str, file: Path) -> None:
    text = file.read_text()
    assert text.startswith("-- ")
    assert "?" in text.splitlines()[0]
    await fill(owner_url)
    with psycopg.connect(owner_url) as connection:
        assert connection.execute(text.encode()).rowcount >= 1
