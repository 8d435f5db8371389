"""The ledger over PostgREST where PostgREST, the database, a gateway or the network misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgrest import CALL_SECONDS, PAGE_ROWS, PAUSES_SECONDS, PostgrestLedger
from copperplate.adapters.painter import Painter
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import LedgerUnavailable
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.imaging.pillow_images import PillowImages
from copperplate.ledger_answers import Hit, Lead, Miss, Wait
from copperplate.model import Outcome
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE
from tests.contract.ledger.harness import complete, request_count
from tests.standin.gateway import Gateway
from tests.standin.wire import Wire, cut_short, drip, lose_answer, lose_request, page, say, stay_silent
from tests.support.pictures import picture_request
from tests.support.postgrest_server import PostgrestServer, make_jwt
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import httpx

    from copperplate.local.cluster import Cluster
    from copperplate.model import PictureRequest

LEASE = timedelta(seconds=20)
PROMISED_SECONDS = 3.0
KEY, RENDITION = picture_request().generation_key, picture_request().rendition_key
MIGRATIONS = Path(__file__).parents[2] / "supabase" / "migrations"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client() as made:
        yield made


@pytest.fixture
async def wire(postgrest: PostgrestServer) -> AsyncIterator[Wire]:
    async with Wire(postgrest.url) as strung:
        yield strung


@pytest.fixture
def ledger(client: httpx.AsyncClient, wire: Wire) -> PostgrestLedger:
    """Reaches PostgREST over the wire."""
    return PostgrestLedger(client, wire.url, make_jwt())


def over(client: httpx.AsyncClient, server: PostgrestServer) -> PostgrestLedger:
    return PostgrestLedger(client, server.url, make_jwt())


@contextlib.contextmanager
def within_promise() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < wall(PROMISED_SECONDS)


@contextlib.contextmanager
def locked(owner_url: str) -> Iterator[None]:
    """Nobody can read a generation while the block runs."""
    with psycopg.connect(owner_url) as connection:
        connection.execute("lock table public.generation_status in access exclusive mode")
        yield


async def acquire(ledger: PostgrestLedger, asked: PictureRequest, *, leader: Any = None) -> Any:
    return await ledger.acquire(asked, leader=leader or uuid4(), lease_duration=LEASE)


def test_time_of_a_call_leaves_room_within_the_promise() -> None:
    assert CALL_SECONDS < PROMISED_SECONDS
    assert len(PAUSES_SECONDS) == 3
    assert sum(PAUSES_SECONDS) * 1.5 < CALL_SECONDS


# --- answers that are lost -----------------------------------------------------------------------


async def test_lead_whose_answer_was_lost_is_given_again_to_the_same_holder(
    ledger: PostgrestLedger, wire: Wire
) -> None:
    wire.faults.append(lose_answer)
    leader = uuid4()
    first = await acquire(ledger, picture_request(), leader=leader)
    assert wire.sent == ["/rpc/acquire_generation"] * 2
    assert isinstance(first, Lead)
    assert await acquire(ledger, picture_request(), leader=leader) == first
    assert isinstance(await acquire(ledger, picture_request()), Wait)
    # Nothing was counted, no fence skipped: the second call changed nothing.
    assert (await ledger.generation_stats()).total_api_calls_made == 0


async def test_submit_whose_note_was_lost_on_the_way_back_counts_once(ledger: PostgrestLedger, wire: Wire) -> None:
    lead = await acquire(ledger, picture_request())
    wire.faults.append(lose_answer)
    assert await ledger.begin_submit(KEY, lead.fence, submit_no=1, provider="painter")
    assert wire.sent.count("/rpc/begin_submit") == 2
    assert (await ledger.generation_stats()).total_api_calls_made == 1


async def test_completion_whose_answer_was_lost_is_a_completion(ledger: PostgrestLedger, wire: Wire) -> None:
    class Losing(PostgrestLedger):
        async def complete(self, *arguments: Any, **options: Any) -> Any:
            wire.faults.append(lose_answer)
            return await super().complete(*arguments, **options)

    ledger.__class__ = Losing
    entry = await complete(ledger, picture_request())
    assert wire.sent.count("/rpc/complete_generation") == 2
    assert await acquire(ledger, picture_request()) == Hit(entry=entry)
    assert (await ledger.generation_stats()).total_completed == 1


@pytest.mark.parametrize("fault", [lose_answer, lose_request, page(502), say(503, b"{}")])
async def test_usage_counts_once_whatever_becomes_of_the_answer(
    ledger: PostgrestLedger, wire: Wire, fault: Any
) -> None:
    await complete(ledger, picture_request())
    wire.faults.append(fault)
    await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 5)])
    assert wire.sent.count("/rpc/record_usage") == 2
    # Taken before the answer was lost, or lost itself: counted again it would be ten.
    assert (await ledger.generation_stats()).total_requests == 5


async def test_usage_of_a_process_that_was_frozen_is_sent_again_over_a_new_connection(
    client: httpx.AsyncClient, postgrest: PostgrestServer
) -> None:
    with Gateway(postgrest.url) as gateway:
        ledger = PostgrestLedger(client, gateway.url, make_jwt())
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 2)])
        # Nothing of this process runs here, as in a freeze: it cannot see that its kept connection is closed.
        assert gateway.hang_up() == 1
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 5)])
        assert gateway.accepted == 2
        assert (await ledger.generation_stats()).total_requests == 7


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lose_request, id="cut before PostgREST heard of it"),
        pytest.param(cut_short, id="JSON cut short"),
        pytest.param(say(200, b'{"outcome": "le'), id="JSON that ends early, in a connection that ends"),
        pytest.param(say(200, b""), id="nothing at all"),
        pytest.param(say(200, b"true"), id="JSON of another shape"),
        pytest.param(page(200), id="a page with status 200"),
        pytest.param(page(502), id="a gateway's page 502"),
        pytest.param(page(504), id="a gateway's page 504"),
        pytest.param(say(544, b'{"message": "timeout"}'), id="a gateway's JSON"),
        pytest.param(say(200, b"\x1f\x8bnot gzip", headers="Content-Encoding: gzip\r\n"), id="broken compression"),
    ],
)
async def test_rubbish_in_place_of_an_answer_costs_one_repeat(ledger: PostgrestLedger, wire: Wire, fault: Any) -> None:
    wire.faults.append(fault)
    assert isinstance(await acquire(ledger, picture_request()), Lead)
    assert wire.sent == ["/rpc/acquire_generation"] * 2


async def test_rubbish_is_not_taken_for_a_yes_about_credits(ledger: PostgrestLedger, wire: Wire) -> None:
    calls = (ledger.refund_credits(uuid4()), ledger.is_requested_by(uuid4(), KEY), ledger.forget_user(uuid4()))
    for number, call in enumerate(calls, 1):
        wire.faults.append(page(200))
        assert not await call
        assert len(wire.sent) == 2 * number


@pytest.mark.parametrize("fault", [page(502), page(504), lose_request, cut_short])
async def test_call_is_repeated_three_times_and_then_given_up_in_time(
    ledger: PostgrestLedger, wire: Wire, fault: Any
) -> None:
    wire.faults.extend([fault] * 5)
    with within_promise(), pytest.raises(LedgerUnavailable):
        await ledger.peek(KEY, RENDITION)
    assert len(wire.sent) == 4


@pytest.mark.parametrize("fault", [stay_silent, drip])
async def test_answer_that_does_not_end_holds_nobody_longer_than_promised(
    ledger: PostgrestLedger, wire: Wire, fault: Any
) -> None:
    wire.faults.extend([fault] * 8)
    with within_promise():
        answers = await asyncio.gather(*(ledger.peek(KEY, RENDITION) for _ in range(8)), return_exceptions=True)
    assert [type(each) for each in answers] == [LedgerUnavailable] * 8
    assert len(wire.sent) == 8
    assert await ledger.peek(KEY, RENDITION) == Miss()


# --- PostgREST that is busy, or away -------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 10])
async def test_pool_of_two_that_is_exhausted_refuses_in_time_and_spends_nothing(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer], owner_url: str, patience: int
) -> None:
    ledger = over(client, make_postgrest(db_pool=2, db_pool_acquisition_timeout=patience))
    with locked(owner_url), within_promise():
        answers = await asyncio.gather(
            *(acquire(ledger, picture_request(str(n))) for n in range(6)), return_exceptions=True
        )
    assert [type(each) for each in answers] == [LedgerUnavailable] * 6
    stats = await ledger.generation_stats()
    assert (stats.total_api_calls_made, stats.total_requests) == (0, 0)
    # The two that reached the database may still have been decided, for callers that are gone.
    fresh = [await acquire(ledger, picture_request(f"fresh {n}")) for n in range(6)]
    assert [type(each) for each in fresh] == [Lead] * 6


async def test_statement_that_takes_too_long_is_given_up_and_not_sent_again(
    client: httpx.AsyncClient, cluster: Cluster, database: str, postgrest_binary: Path, owner_url: str
) -> None:
    limited = f"{cluster.url(role='authenticator', database=database)}&options=-c%20statement_timeout%3D300ms"
    with PostgrestServer(postgrest_binary, limited) as server:
        async with Wire(server.url) as wire:
            ledger = PostgrestLedger(client, wire.url, make_jwt())
            with locked(owner_url), within_promise(), pytest.raises(LedgerUnavailable, match="took too long"):
                await acquire(ledger, picture_request())
            assert wire.sent == ["/rpc/acquire_generation"]
            assert isinstance(await acquire(ledger, picture_request()), Lead)


async def test_postgrest_that_is_down_is_said_so_in_time_and_used_again_once_it_is_back(
    client: httpx.AsyncClient, postgrest: PostgrestServer
) -> None:
    ledger = over(client, postgrest)
    assert await ledger.peek(KEY, RENDITION) == Miss()
    postgrest.stop()
    for call in (lambda: ledger.peek(KEY, RENDITION), lambda: acquire(ledger, picture_request())):
        with within_promise(), pytest.raises(LedgerUnavailable):
            await call()
    await asyncio.to_thread(postgrest.start)
    assert isinstance(await acquire(ledger, picture_request()), Lead)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_postgrest_restarted_in_the_middle_costs_callers_an_honest_refusal_at_worst(
    client: httpx.AsyncClient, postgrest: PostgrestServer, number: signal.Signals
) -> None:
    ledger = over(client, postgrest)
    stop = asyncio.Event()
    leads: dict[str, set[int]] = {}
    answered = 0

    async def call_again_and_again(name: str) -> None:
        nonlocal answered
        leader, asked = uuid4(), picture_request(name)
        while not stop.is_set():
            with within_promise():
                try:
                    result = await acquire(ledger, asked, leader=leader)
                except LedgerUnavailable:
                    continue
            answered += 1
            if isinstance(result, Lead):
                leads.setdefault(name, set()).add(result.fence)
            else:
                assert isinstance(result, Wait)

    async def until_answered(more: int) -> None:
        before = answered
        while answered < before + more:
            await asyncio.sleep(0.01)

    # Two callers for each of ten pictures: of each pair one leads, before and after.
    callers = [asyncio.create_task(call_again_and_again(str(n % 10))) for n in range(20)]
    await until_answered(200)
    await asyncio.to_thread(postgrest.stop, number)
    await asyncio.to_thread(postgrest.start)
    await until_answered(200)
    stop.set()
    await asyncio.gather(*callers)
    assert len(leads) == 10
    assert all(len(fences) == 1 for fences in leads.values())


# --- 40001: PostgREST would repeat it for ever ---------------------------------------------------


def test_no_function_of_ours_raises_40001() -> None:
    for file in sorted(MIGRATIONS.glob("*.sql")):
        assert "40001" not in file.read_text(), file.name
        assert "serialization_failure" not in file.read_text(), file.name


async def test_stricter_isolation_of_the_database_makes_no_call_run_for_ever(
    client: httpx.AsyncClient, postgrest: PostgrestServer, cluster: Cluster, database: str
) -> None:
    with psycopg.connect(cluster.url(role="supabase_admin", database=database), autocommit=True) as connection:
        connection.execute(f"alter database {database} set default_transaction_isolation = 'serializable'")
        connection.execute(f"alter database {database} set track_functions = 'all'")
    postgrest.restart()
    ledger = over(client, postgrest)
    verdicts = await asyncio.gather(*(acquire(ledger, picture_request(str(number % 5))) for number in range(100)))
    assert Counter(map(type, verdicts)) == {Lead: 5, Wait: 95}
    await asyncio.gather(
        *(complete(ledger, picture_request(f"other {number}"), f"other {number}") for number in range(20))
    )
    with psycopg.connect(cluster.url(role="supabase_admin", database=database), autocommit=True) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        ran: tuple[int] | None = (0,)
        give_up_at = time.monotonic() + 60
        while (ran is None or ran[0] < 120) and time.monotonic() < give_up_at:  # each backend tells within a second
            ran = connection.execute(
                "select calls from pg_stat_user_functions where funcname = 'acquire_generation'"
            ).fetchone()
    assert ran == (120,)


# --- answers of at most a thousand rows ----------------------------------------------------------


def discard(owner_url: str, count: int) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            "insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)"
            " select 'generated-images', 'left/' || n || '.png', md5(n::text), clock_timestamp() - interval '2 hours'"
            " from generate_series(1, %s) as n",
            (count,),
        )


async def test_more_discarded_objects_than_an_answer_holds_are_all_claimed_and_all_seen(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer], owner_url: str
) -> None:
    ledger = over(client, make_postgrest(db_max_rows=1_000))
    discard(owner_url, 2_500)
    claimed = await ledger.claim_discarded(2_300)
    assert len({path for _, _, path in claimed}) == 2_300
    assert len(await ledger.claim_discarded(5_000)) == 200
    assert await ledger.claim_discarded(5_000) == []
    assert await ledger.forget_discarded([identity for identity, _, _ in claimed]) == 2_300


async def test_lower_limit_of_rows_delays_what_is_discarded_and_loses_none(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer], owner_url: str
) -> None:
    half = PAGE_ROWS // 2
    ledger = over(client, make_postgrest(db_max_rows=half))
    discard(owner_url, PAGE_ROWS)
    first = await ledger.claim_discarded(PAGE_ROWS)
    assert len(first) == half
    assert await ledger.forget_discarded([identity for identity, _, _ in first]) == half
    with psycopg.connect(owner_url, autocommit=True) as connection:  # the claim is over
        connection.execute("update copperplate.discarded_objects set claimed_until = clock_timestamp()")
    assert len({*first, *await ledger.claim_discarded(PAGE_ROWS)}) == PAGE_ROWS


async def test_counts_do_not_depend_on_how_many_rows_an_answer_holds(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer], owner_url: str
) -> None:
    ledger = over(client, make_postgrest(db_max_rows=1))
    for number in range(3):
        await complete(ledger, picture_request(f"old {number}"), f"old {number}")
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            "update copperplate.cache_entries set created_at = created_at - interval '40 days',"
            " last_accessed_at = last_accessed_at - interval '40 days'"
        )
    assert (await ledger.cleanup_entries("image", 100)).generations == 3


# --- how many calls a picture costs --------------------------------------------------------------


async def test_hit_costs_one_call_and_a_miss_at_most_six(
    ledger: PostgrestLedger, client: httpx.AsyncClient, wire: Wire, tmp_path: Path
) -> None:
    async def ask(prompt: str) -> list[str]:
        """Ask as a process that has just started."""
        wire.sent.clear()
        clock, images = SystemClock(), PillowImages()
        kinds = {"image": Kind(provider=Painter(clock), store=FolderStore(tmp_path, "generated-images"))}
        coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock)
        serving = Renditions(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock)
        body = (await serving.read(picture_request(prompt), GENERATE)).body
        assert body
        await coordinator.shut_down(within_seconds=5)
        images.close()
        return [path.removeprefix("/rpc/") for path in wire.sent]

    missed = await ask("a red fox")
    assert missed[0] == "acquire_generation"
    assert len([name for name in missed if name not in ("heartbeat_generation", "sweep_generations")]) <= 6
    assert await ask("a red fox") == ["acquire_generation"]
