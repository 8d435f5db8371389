"""A database that is busy, slow, locked in a circle, restored from a backup, or asked under a wrong clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from copperplate.adapters.ledger import poolers
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import LedgerUnavailable
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.ledger_answers import Hit, Wait
from copperplate.model import Job, Outcome
from copperplate.testing import GENERATE
from tests.contract.ledger.harness import failure, lead
from tests.support.coordinator_harness import BUCKET, PlainImages, ScriptedProvider, kill
from tests.support.pictures import picture_request, upload
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from copperplate.budgets import SubmitResult
    from copperplate.local.cluster import Cluster
    from copperplate.model import PictureRequest

SQL = Path(__file__).parents[2] / "sql"
RAISE = (SQL / "fences_after_restore.sql").read_text().replace("YYYY-MM-DD HH:MM", "2025-11-29 12:00")
KEY = picture_request().generation_key
PROMISED_SECONDS = 3.0


@pytest.fixture
async def ledger(owner_url: str) -> AsyncIterator[PostgresLedger]:
    async with opened(owner_url) as made:
        yield made


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresLedger]:
    made = PostgresLedger(url, **options)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def process_of(
    ledger: PostgresLedger, provider: ScriptedProvider, *, clock: SystemClock | None = None, lease_seconds: float = 20
) -> Coordinator:
    """A coordinator over the real ledger and a provider that counts."""
    timings = Timings(
        lease=timedelta(seconds=lease_seconds),
        heartbeat=timedelta(seconds=lease_seconds / 4),
        margin=timedelta(seconds=lease_seconds / 10),
        poll_max_seconds=0.3,
    )
    kinds = {"image": Kind(provider=provider, store=MemoryStore(BUCKET))}
    clock = clock or SystemClock()
    return Coordinator(ledger=ledger, kinds=kinds, images=PlainImages(), clock=clock, timings=timings)


# --- busy ----------------------------------------------------------------------------------------


async def test_full_pool_refuses_in_time_and_spends_nothing(owner_url: str) -> None:
    provider = ScriptedProvider(FakeClock())
    async with opened(owner_url, max_connections=2) as ledger:
        process = process_of(ledger, provider)
        async with ledger._transport._pool.connection(), ledger._transport._pool.connection():
            began = time.monotonic()
            asked = [process.find(picture_request(f"picture {number}"), GENERATE) for number in range(20)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert time.monotonic() - began < wall(PROMISED_SECONDS)
        assert all(isinstance(each, LedgerUnavailable) for each in answers)
        assert provider.submits == 0
        assert (await process.find(picture_request("picture 0"), GENERATE)).outcome is Outcome.GENERATED


async def test_pool_itself_gives_up_within_the_promise(owner_url: str) -> None:
    async with opened(owner_url, max_connections=1) as ledger, ledger._transport._pool.connection():
        with pytest.raises(PoolTimeout):
            async with asyncio.timeout(wall(PROMISED_SECONDS)), ledger._transport._pool.connection():
                pass


# --- a provider at work ----------------------------------------------------------------------------

# Sessions that hold something for longer than a second: a transaction, or a place in the line for a lock.
HOLDING = """
select state, query from pg_stat_activity
where
    datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    and (
        (state like 'idle in transaction%' and state_change < clock_timestamp() - interval '1 second')
        or (wait_event_type = 'Lock' and query_start < clock_timestamp() - interval '1 second')
    )
"""


async def test_no_session_idles_in_a_transaction_or_waits_for_a_lock_while_a_provider_works(owner_url: str) -> None:
    clock = FakeClock()  # the provider's alone: it is done when this moves
    provider = ScriptedProvider(clock, seconds=1)
    async with (
        opened(owner_url) as first,
        opened(owner_url) as second,
        await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as watch,
    ):
        processes = [process_of(each, provider, lease_seconds=6) for each in (first, second)]
        asked = [
            asyncio.create_task(process.find(picture_request(f"picture {number % 4}"), GENERATE))
            for process in processes
            for number in range(12)
        ]
        holding: list[object] = []
        for _ in range(30):  # for two heartbeats, ten times a second
            await asyncio.sleep(0.1)
            holding += await (await watch.execute(HOLDING)).fetchall()
        assert provider.submits == 4
        assert holding == []
        await clock.advance(1)
        outcomes = [(await each).outcome for each in asked]
    assert outcomes.count(Outcome.GENERATED) == 4
    assert set(outcomes) == {Outcome.GENERATED, Outcome.COALESCED}


# --- slow ----------------------------------------------------------------------------------------


async def test_statement_that_took_too_long_is_sent_once_and_may_be_said_again(
    owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolers, "FOR_SESSION", poolers.FOR_SESSION.replace(b"'5000'", b"'1000'"))
    async with opened(owner_url) as ledger:
        held = await lead(ledger, picture_request())
        async with await psycopg.AsyncConnection.connect(owner_url) as blocker:
            await blocker.execute("select from public.generation_status for update")
            began = time.monotonic()
            with pytest.raises(LedgerUnavailable, match="took too long"):
                await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
            assert 1 <= time.monotonic() - began < 2  # twice would be the double
        # Whether it was counted nobody knew; said again, it is counted once.
        for _ in range(2):
            assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
        assert (await ledger.generation_stats()).total_api_calls_made == 1


async def test_statement_that_took_too_long_is_no_failure_of_the_picture_and_spends_nothing(
    owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolers, "FOR_SESSION", poolers.FOR_SESSION.replace(b"'5000'", b"'1000'"))
    provider = ScriptedProvider(FakeClock())
    async with opened(owner_url) as ledger, await psycopg.AsyncConnection.connect(owner_url) as blocker:
        original = ledger.begin_submit

        async def blocked(*arguments: Any, **named: Any) -> SubmitResult:
            await blocker.execute("select from public.generation_status for update")
            try:
                return await original(*arguments, **named)
            finally:
                await blocker.rollback()

        monkeypatch.setattr(ledger, "begin_submit", blocked)
        with pytest.raises(LedgerUnavailable):
            # Longer than the statement's second, also on a busy machine: the lease is still held afterwards.
            await process_of(ledger, provider, lease_seconds=5).find(picture_request(), GENERATE)
        monkeypatch.setattr(ledger, "begin_submit", original)
        assert provider.submits == 0
        assert isinstance(await ledger.peek(KEY, picture_request().rendition_key), Wait)  # not `Negative`
        assert (
            await process_of(ledger, provider, lease_seconds=1).find(picture_request(), GENERATE)
        ).outcome is not Outcome.FAILED
        assert provider.submits == 1


# --- locked in a circle --------------------------------------------------------------------------


# In the server, at once: who has waited as long as its deadlock_timeout looks for a circle and is ended.
CLOSE_THE_CIRCLE = """
do $$
begin
    while not exists (
        select from pg_stat_activity where wait_event_type = 'Lock' and query like '%public.complete_generation(%'
    ) loop
        perform pg_sleep(0.005);
        perform pg_stat_clear_snapshot();
    end loop;
    perform from public.generation_status for update;
end
$$
"""
BREAKER = "insert into copperplate.breakers (name, last_failed_at) values ('painter', now()) on conflict do nothing"


async def test_call_that_postgres_ends_for_a_deadlock_is_sent_again_and_succeeds(
    ledger: PostgresLedger, owner_url: str, cluster: Cluster, database: str
) -> None:
    circles = 0
    # Where this machine is too busy to close the circle in time, it is the stranger whom Postgres ends.
    for prompt in map(str, range(10)):
        circles += 1
        if await meets_a_circle(ledger, owner_url, picture_request(prompt)):
            break
    else:
        pytest.fail("Postgres ended the stranger each time")
    assert (await ledger.generation_stats()).total_completed == circles
    async with asyncio.timeout(20):  # a session reports what it counted at the latest ten seconds later
        while deadlocks(cluster, database) != circles:
            await asyncio.sleep(0.1)


async def meets_a_circle(ledger: PostgresLedger, owner_url: str, request: PictureRequest) -> bool:
    """Complete a generation while a stranger locks the same rows the other way round; whether the call was ended."""
    key, held = request.generation_key, await lead(ledger, request)
    assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    assert await ledger.intend_upload(key, held.fence, upload(key), usage={})
    async with await psycopg.AsyncConnection.connect(owner_url) as stranger:
        # `complete` locks the generation, then the breaker.
        await stranger.execute(BREAKER)
        await stranger.commit()
        await stranger.execute("select from copperplate.breakers for update")
        completing = asyncio.create_task(ledger.complete(key, held.fence, upload(key), url=None))
        is_the_ledgers = True
        try:
            await stranger.execute(CLOSE_THE_CIRCLE)
        except psycopg.errors.DeadlockDetected:
            is_the_ledgers = False
        await stranger.rollback()
        entry = await completing
    assert entry is not None
    assert await ledger.peek(key, request.rendition_key) == Hit(entry=entry)
    return is_the_ledgers


def deadlocks(cluster: Cluster, database: str) -> int:
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        row = connection.execute("select deadlocks from pg_stat_database where datname = %s", (database,)).fetchone()
    assert row is not None
    return int(row[0])


# --- restored, or under another clock ------------------------------------------------------------


async def set_fences(owner_url: str, last: int) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute("select setval('copperplate.fences', %s)", (last,))


async def stale_writes(ledger: PostgresLedger, fence: int) -> list[bool]:
    """Everything a leader from before the restore may still try; answers what was taken."""
    late = upload("late")
    return [
        await ledger.heartbeat(KEY, fence, timedelta(seconds=20)),
        await ledger.begin_submit(KEY, fence, submit_no=1, provider="painter") is not None,
        await ledger.note_request(KEY, fence, Job(request_id="late")),
        await ledger.intend_upload(KEY, fence, late, usage={}),
        await ledger.complete(KEY, fence, late, url=None) is not None,
        await ledger.fail(KEY, fence, failure()),
    ]


async def restore(owner_url: str, last: int) -> None:
    """As a backup has it that was made before anybody asked for the picture."""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute("delete from public.generation_status")
    await set_fences(owner_url, last)


async def test_after_a_restore_and_its_one_statement_no_older_leader_is_heard(
    ledger: PostgresLedger, owner_url: str
) -> None:
    await set_fences(owner_url, 100)
    before = await lead(ledger, picture_request())
    await restore(owner_url, 100)
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute(RAISE.encode())
    after = await lead(ledger, picture_request())
    assert after.fence > before.fence
    assert await stale_writes(ledger, before.fence) == [False] * 6
    assert await ledger.begin_submit(KEY, after.fence, submit_no=1, provider="painter")


async def test_sequence_that_fell_behind_its_rows_is_raised_above_all_of_them(
    ledger: PostgresLedger, owner_url: str
) -> None:
    await set_fences(owner_url, 5_000_000_000)
    held = await lead(ledger, picture_request())
    await set_fences(owner_url, 1)
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute(RAISE.encode())
    assert (await lead(ledger, picture_request("another"))).fence > held.fence


async def test_fence_still_increases_when_the_ledgers_clock_jumps(owner_url: str) -> None:
    fences = []
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        for hours in (0, 1, -1, 2, 0):
            async with opened(make_conninfo(owner_url, options=f"-c copperplate.clock_offset={hours}h")) as moved:
                fences.append((await lead(moved, picture_request())).fence)
            # Deleted, as anybody may: the next one begins with nothing but the sequence.
            await owner.execute("delete from public.generation_status")
    assert fences == sorted(set(fences))


class WrongClock(SystemClock):
    """The clock of a process that is hours off."""

    def __init__(self, hours: float) -> None:
        self._seconds = hours * 3_600

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self._seconds


@pytest.mark.parametrize("hours", [1, -1])
async def test_process_an_hour_off_neither_loses_its_lease_nor_takes_one_early(
    ledger: PostgresLedger, hours: float
) -> None:
    slow = ScriptedProvider(FakeClock(), seconds=3_600, has_jobs=False)
    quick = ScriptedProvider(FakeClock(), has_jobs=False)
    leader = process_of(ledger, slow, clock=WrongClock(hours), lease_seconds=2)
    follower = process_of(ledger, quick, clock=WrongClock(-hours), lease_seconds=2)
    leading = asyncio.create_task(leader.find(picture_request(), GENERATE))
    async with asyncio.timeout(60):
        while slow.submits == 0:
            await asyncio.sleep(0.01)
    following = asyncio.create_task(follower.find(picture_request(), GENERATE))
    # Two leases long the leader's heartbeats hold it.
    await asyncio.sleep(4)
    assert (slow.submits, quick.submits) == (1, 0)
    died_at = time.monotonic()
    await kill(leader, ledger)
    await following
    assert quick.submits == 1
    assert 1 <= time.monotonic() - died_at <= wall(2 + 2)
    leading.cancel()
    await asyncio.wait((leading,))
