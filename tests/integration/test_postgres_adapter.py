"""The ledger over psycopg where the database, the network or the settings misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout, TooManyRequests

from copperplate.adapters.ledger.poolers import Connection
from copperplate.adapters.ledger.postgres import CALL_SECONDS, PostgresLedger
from copperplate.adapters.ledger.postgres_errors import ERRORS, translate
from copperplate.errors import LedgerMisconfigured, LedgerUnavailable
from copperplate.ledger_answers import Hit, Lead, Miss, Wait
from copperplate.local.bootstrap import bootstrap, create_database
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import migrate
from copperplate.model import Outcome
from tests.contract.ledger.harness import complete, request_count
from tests.support.clusters import open_folder
from tests.support.pictures import picture_request
from tests.support.postgres_fixtures import opened
from tests.support.walls import wall
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from copperplate.model import PictureRequest

LEASE = timedelta(seconds=20)
PROMISED_SECONDS = 3.0
KEY, RENDITION = picture_request().generation_key, picture_request().rendition_key


@contextlib.contextmanager
def within_promise() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < wall(PROMISED_SECONDS)


async def eventually(ledger: PostgresLedger, *, seconds: float = 15) -> None:
    """Return once the ledger answers again."""
    began_at = time.monotonic()
    while True:
        try:
            await ledger.peek(KEY, RENDITION)
        except LedgerUnavailable:
            assert time.monotonic() - began_at < wall(seconds), "the database is back, the ledger is not"
        else:
            return


def with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


# --- errors --------------------------------------------------------------------------------------


def foreign_errors() -> list[type[psycopg.Error]]:
    """Every class that psycopg can raise: those of DB-API, and one per SQLSTATE."""
    found: set[type[psycopg.Error]] = set()
    unseen: list[type[psycopg.Error]] = [psycopg.Error]
    while unseen:
        each = unseen.pop()
        found.add(each)
        unseen += each.__subclasses__()
    return sorted(found, key=lambda each: each.__name__)


def test_psycopg_has_as_many_errors_as_we_think() -> None:
    with_state = {each.sqlstate for each in foreign_errors() if each.sqlstate}
    assert len(with_state) > 200
    assert {"40001", "40P01", "57014", "57P01", "08006", "53300", "42501", "42883"} <= with_state


def test_every_error_of_psycopg_becomes_ours() -> None:
    for foreign in foreign_errors():
        ours, resend = translate(foreign("their own words, which may quote a prompt"))
        assert isinstance(ours, (LedgerUnavailable, LedgerMisconfigured)), foreign
        assert "prompt" not in str(ours), foreign
        # What a person has to mend is not mended by asking again.
        assert not resend or isinstance(ours, LedgerUnavailable), foreign


@pytest.mark.parametrize(
    ("sqlstate", "ours", "resend"),
    [
        ("57P01", LedgerUnavailable, True),  # the administrator ended the connection
        ("57P03", LedgerUnavailable, True),  # starting up
        ("53300", LedgerUnavailable, True),  # too many connections
        ("40P01", LedgerUnavailable, True),  # deadlock
        ("55P03", LedgerUnavailable, True),  # a lock was not to be had in time
        ("57014", LedgerUnavailable, False),  # took too long
        ("42501", LedgerMisconfigured, False),
        ("42883", LedgerMisconfigured, False),
        ("42P01", LedgerMisconfigured, False),
        ("3F000", LedgerMisconfigured, False),
        ("23505", LedgerUnavailable, False),
    ],
)
def test_errors_by_what_can_be_done_about_them(sqlstate: str, ours: type[Exception], resend: bool) -> None:
    error, again = translate(psycopg.errors.lookup(sqlstate)("x"))
    assert (type(error), again) == (ours, resend)


def test_full_pool_is_not_asked_again() -> None:
    for foreign in (PoolTimeout, TooManyRequests):
        error, again = translate(foreign("x"))
        assert (type(error), again) == (LedgerUnavailable, False)


def test_bug_of_ours_is_not_taken_for_a_fault_of_the_database() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("x"))


def test_every_row_of_the_table_can_be_reached() -> None:
    for number, (foreign, *_) in enumerate(ERRORS):
        assert not any(issubclass(foreign, earlier) for earlier, *_ in ERRORS[:number]), foreign


async def test_value_of_another_type_is_not_believed(owner_url: str) -> None:
    async with opened(owner_url) as ledger:
        with pytest.raises(LedgerUnavailable, match="cannot be read"):
            await ledger._transport.value("get_usage_totals", {}, bool)


# --- settings ------------------------------------------------------------------------------------


async def test_database_without_our_schema_names_the_command_that_mends_it(cluster: Cluster) -> None:
    create_database(cluster.superuser_url, "without_schema", template="postgres")
    async with opened(cluster.url(database="without_schema")) as ledger:
        for call in (ledger.peek(KEY, RENDITION), ledger.generation_stats(), acquire(ledger, picture_request())):
            with pytest.raises(LedgerMisconfigured, match="copperplate migrate"):
                await call


async def test_role_without_rights_is_told_what_it_needs(cluster: Cluster, database: str) -> None:
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        connection.execute("drop role if exists stranger")
        connection.execute("create role stranger login password 'none-of-ours'")
    url = with_user(cluster.url(database=database), "stranger", "none-of-ours")
    async with opened(url) as ledger:
        with within_promise(), pytest.raises(LedgerMisconfigured, match="service_role"):
            await acquire(ledger, picture_request())


def test_database_without_the_role_names_the_command_that_says_more() -> None:
    error, again = translate(psycopg.errors.InvalidParameterValue('role "service_role" does not exist'))
    assert (type(error), again) == (LedgerMisconfigured, False)
    assert "copperplate migrate" in str(error)


# --- a database that goes away -------------------------------------------------------------------


async def acquire(ledger: PostgresLedger, asked: PictureRequest, *, leader: Any = None) -> Any:
    return await ledger.acquire(asked, leader=leader or uuid4(), lease_duration=LEASE)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@contextlib.contextmanager
def own_cluster(folder: Path) -> Iterator[Cluster]:
    with Cluster.start(folder) as running:
        bootstrap(running.superuser_url, passwords=running.passwords)
        migrate(running.owner_url, announce=ignore)
        yield running


async def test_database_that_is_down_is_said_so_in_time_and_used_again_once_it_is_back(folder: Path) -> None:
    with own_cluster(folder) as running:
        url = running.owner_url
    async with opened(url) as ledger:
        for call in (lambda: ledger.peek(KEY, RENDITION), lambda: acquire(ledger, picture_request())):
            with within_promise(), pytest.raises(LedgerUnavailable):
                await call()
        with own_cluster(folder) as running:
            assert running.owner_url == url
            await eventually(ledger)
            assert isinstance(await acquire(ledger, picture_request()), Lead)
        with within_promise(), pytest.raises(LedgerUnavailable):
            await ledger.peek(KEY, RENDITION)


@pytest.mark.parametrize(
    ("role", "password", "name", "why"),
    [
        ("postgres", "a-wrong-guess", "postgres", 'password authentication failed for user "postgres"'),
        ("nobody-here", "a-wrong-guess", "postgres", 'password authentication failed for user "nobody-here"'),
        ("postgres", "", "nowhere", 'database "nowhere" does not exist'),
    ],
)
async def test_refused_connection_is_said_with_its_reason_and_without_the_password(
    cluster: Cluster, role: str, password: str, name: str, why: str
) -> None:
    url = cluster.url(database=name)
    given = with_user(url, role, password) if password else url
    async with opened(given) as ledger:
        with within_promise(), pytest.raises(LedgerUnavailable, match=f"DATABASE_URL does not answer.*{why}") as raised:
            await ledger.peek(KEY, RENDITION)
    assert str(conninfo_to_dict(given)["password"]) not in str(raised.value)


async def test_outage_is_logged_once_by_the_listener_and_not_with_every_try(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="copperplate.adapters.ledger.postgres")
    async with opened("postgresql://postgres@127.0.0.1:1/postgres") as ledger:
        for _ in range(2):  # 2.5 s each, and a try every 0.5 to 1.5 s
            with pytest.raises(LedgerUnavailable, match="port 1 failed"):
                await ledger.peek(KEY, RENDITION)
    told = [record.getMessage() for record in caplog.records if record.name == "copperplate.adapters.ledger.postgres"]
    assert len(told) == 1
    assert "port 1 failed" in told[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_restart_in_the_middle_costs_callers_an_honest_refusal_at_worst(
    folder: Path, number: signal.Signals
) -> None:
    stop = asyncio.Event()
    leads: dict[str, set[int]] = {}
    refused = answered = 0

    async def call_again_and_again(ledger: PostgresLedger, name: str) -> None:
        nonlocal refused, answered
        leader, asked = uuid4(), picture_request(name)
        while not stop.is_set():
            with within_promise():
                try:
                    result = await acquire(ledger, asked, leader=leader)
                except LedgerUnavailable:
                    refused += 1
                    continue
            answered += 1
            if isinstance(result, Lead):
                leads.setdefault(name, set()).add(result.fence)
            else:
                assert isinstance(result, Wait)

    with own_cluster(folder) as running:
        async with opened(running.owner_url) as ledger:
            # Two callers for each of ten pictures: of each pair one leads, before and after.
            callers = [asyncio.create_task(call_again_and_again(ledger, str(n % 10))) for n in range(20)]
            while answered < 200:
                await asyncio.sleep(0.01)
            os.kill(running.pid, number)
            await asyncio.to_thread(running.ensure_running)
            await eventually(ledger)
            before = answered
            while answered < before + 200:
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*callers)
    assert len(leads) == 10
    assert all(len(fences) == 1 for fences in leads.values())


async def test_terminated_connections_cost_nobody_a_call(cluster: Cluster, database: str) -> None:
    async with opened(cluster.url(database=database)) as ledger:
        for _ in range(3):
            assert await ledger.peek(KEY, RENDITION) == Miss()
            assert terminate(cluster, database) >= 1
        assert await ledger.peek(KEY, RENDITION) == Miss()


def terminate(cluster: Cluster, database: str) -> int:
    """End every connection of the adapter."""
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        ended = connection.execute(
            "select count(*) filter (where pg_terminate_backend(pid, 5000)) from pg_stat_activity"
            " where datname = %s and application_name = 'copperplate'",
            (database,),
        ).fetchone()
    assert ended is not None
    return int(ended[0])


# --- a network that cuts, or falls silent --------------------------------------------------------


@pytest.fixture
async def wire(cluster: Cluster, database: str) -> AsyncIterator[Wire]:
    async with Wire(cluster.tcp_url(database=database)) as strung:
        yield strung


async def test_lead_whose_answer_was_lost_is_given_again_to_the_same_holder(wire: Wire) -> None:
    async with opened(wire.url, max_connections=1) as ledger:
        await ledger.peek(KEY, RENDITION)
        wire.cut_after = b"acquire_generation"
        leader = uuid4()
        first = await acquire(ledger, picture_request(), leader=leader)
        assert wire.cuts == 1
        assert isinstance(first, Lead)
        assert await acquire(ledger, picture_request(), leader=leader) == first
        assert isinstance(await acquire(ledger, picture_request()), Wait)
        # Nothing was counted, no fence skipped: the second call changed nothing.
        assert (await ledger.generation_stats()).total_api_calls_made == 0


async def test_submit_whose_note_was_lost_on_the_way_back_counts_once(wire: Wire) -> None:
    async with opened(wire.url, max_connections=1) as ledger:
        lead = await acquire(ledger, picture_request())
        wire.cut_after = b"begin_submit"
        assert await ledger.begin_submit(KEY, lead.fence, submit_no=1, provider="painter")
        assert wire.cuts == 1
        assert (await ledger.generation_stats()).total_api_calls_made == 1


async def test_completion_whose_answer_was_lost_is_a_completion(wire: Wire) -> None:
    async with opened(wire.url, max_connections=1) as ledger:
        wire.cut_after = b"complete_generation"
        entry = await complete(ledger, picture_request())
        assert wire.cuts == 1
        assert await acquire(ledger, picture_request()) == Hit(entry=entry)
        assert (await ledger.generation_stats()).total_completed == 1


async def test_usage_whose_answer_was_lost_is_sent_again_and_counts_once(wire: Wire) -> None:
    async with opened(wire.url, max_connections=1) as ledger:
        await complete(ledger, picture_request())
        wire.cut_after = b"record_usage"
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 5)])
        assert wire.cuts == 1
        # It was taken before the answer was lost; counted again it would be ten.
        assert (await ledger.generation_stats()).total_requests == 5


async def test_network_that_falls_silent_holds_nobody_longer_than_promised(wire: Wire) -> None:
    async with opened(wire.url, max_connections=2) as ledger:
        await asyncio.gather(*(ledger.peek(KEY, RENDITION) for _ in range(8)))
        wire.is_silent = True
        with within_promise():
            answers = await asyncio.gather(*(ledger.peek(KEY, RENDITION) for _ in range(8)), return_exceptions=True)
        assert all(isinstance(each, LedgerUnavailable) for each in answers)
        wire.is_silent = False
        await eventually(ledger)


async def test_database_that_answered_without_a_pooler_and_stops_answering_is_not_called_a_pooler(
    cluster: Cluster, make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay_silent(*_: object) -> None:
        await asyncio.sleep(60)

    name = make_database()
    async with opened(cluster.url(database=name), max_connections=1) as ledger:
        await ledger.peek(KEY, RENDITION)
        monkeypatch.setattr(Connection, "set_up", stay_silent)
        terminate(cluster, name)
        with pytest.raises(LedgerUnavailable) as told:
            await ledger.peek(KEY, RENDITION)
        assert told.value.code == "ledger_unavailable"


def test_time_of_a_call_leaves_room_within_the_promise() -> None:
    assert CALL_SECONDS < PROMISED_SECONDS


# --- notifications -------------------------------------------------------------------------------


async def test_notifications_arrive_within_a_second_and_again_after_the_listener_was_cut_off(
    cluster: Cluster, make_database: Callable[[], str]
) -> None:
    name = make_database()
    async with opened(cluster.url(database=name)) as listening, opened(cluster.url(database=name)) as leading:
        for asked in (picture_request("before"), picture_request("after")):
            with listening.hints(asked.generation_key) as hint:
                await listeners_ready(cluster, name)
                hint.clear()
                await complete(leading, asked, name=asked.generation_key)
                async with asyncio.timeout(wall(1)):
                    await hint.wait()
            terminate(cluster, name)


async def test_followers_look_again_once_the_listener_is_back_for_they_may_have_missed_something(
    cluster: Cluster, database: str
) -> None:
    async with opened(cluster.url(database=database)) as listening:
        with listening.hints(picture_request().generation_key) as hint:
            for _ in range(2):  # when it begins, and after it was cut off
                async with asyncio.timeout(60):
                    await hint.wait()
                hint.clear()
                terminate(cluster, database)


async def listeners_ready(cluster: Cluster, database: str) -> None:
    """Both ledgers listen."""
    async with asyncio.timeout(60):
        while True:
            with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
                row = connection.execute(
                    "select count(*) from pg_stat_activity where datname = %s and query ilike 'listen%%'",
                    (database,),
                ).fetchone()
            if row == (2,):
                return
            await asyncio.sleep(0.05)
