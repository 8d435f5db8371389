"""A lease that ran out, where its holder and a successor meet: in each order one of them leads."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead, Wait
from copperplate.model import Job
from tests.contract.ledger.harness import LEASE, acquire
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = picture_request().generation_key
LATER = "60s"


@pytest.fixture
async def later(owner_url: str) -> AsyncIterator[PostgresLedger]:
    """A ledger whose clock is beyond every lease of now."""
    made = PostgresLedger(make_conninfo(owner_url, options=f"-c copperplate.clock_offset={LATER}"))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def held(owner_url: str) -> Lead:
    """The lease of somebody who has not been heard of since."""
    ledger = PostgresLedger(owner_url)
    await ledger.open()
    lead = await acquire(ledger, picture_request())
    await ledger.close()
    assert isinstance(lead, Lead)
    return lead


async def until_a_takeover_waits(url: str) -> None:
    """Return once a takeover has read the row and waits to change it."""
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%acquire_generation%'"
        while not (await watch.execute(waiting)).rowcount:
            await asyncio.sleep(0.01)


async def test_takeover_that_a_heartbeat_came_before_waits(later: PostgresLedger, held: Lead, owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url) as holder:
        await holder.execute(f"set copperplate.clock_offset = '{LATER}'")
        renewed = await holder.execute("select public.heartbeat_generation(%s, %s, '20 s')", (KEY, held.fence))
        assert await renewed.fetchone() == (True,)
        taking = asyncio.create_task(acquire(later, picture_request()))
        await until_a_takeover_waits(owner_url)
        await holder.commit()
        assert isinstance(await taking, Wait)


async def test_job_noted_during_a_takeover_is_led_on_though_another_tries_its_provider(
    later: PostgresLedger, held: Lead, owner_url: str
) -> None:
    submitted = await later.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
    await later.report_refusal("painter", FailureClass.ACCOUNT, "no money", timedelta(0))
    assert submitted
    async with await psycopg.AsyncConnection.connect(owner_url) as holder:
        # A predecessor's successor: it noted a job, and died.
        await holder.execute(f"set copperplate.clock_offset = '{LATER}'")
        await holder.execute("select public.note_request(%s, %s, 'r', '{}')", (KEY, held.fence))
        await holder.execute(
            "update public.generation_status set fence = nextval('copperplate.fences') where prompt_hash = %s", (KEY,)
        )
        taking = asyncio.create_task(
            later.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE, breakers=["painter"])
        )
        await until_a_takeover_waits(owner_url)
        await holder.execute("update copperplate.breakers set probe_until = copperplate.clock() + interval '1 hour'")
        await holder.commit()
        taken = await taking
    assert isinstance(taken, Lead), "it was refused for the sake of a submit that it does not need"
    assert taken.job == Job(request_id="r")
