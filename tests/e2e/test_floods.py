"""Floods of misses over server processes, a real Postgres and a stand-in for fal: no more calls than were allowed."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from bench.harness.floods import (
    BEHIND_PROXY,
    OF_A_BUSY_MACHINE,
    SCALED,
    Book,
    LedgerClock,
    bury_the_dead,
    count_codes,
    faulty_refusals,
    serving,
    settled,
    strangers,
)
from copperplate.access.api_keys import make_key
from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import Scope
from copperplate.ports.access import NewApiKey
from tests.support import log_watch
from tests.support.postgres_fixtures import making_databases, opened
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.harness.floods import Crowd, Deadly, Reply
    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

CAP = 10
PRICE = 3_000
JWT_SECRET = "the-secret-of-whoever-signs-in-0123456789"
# The caps that matter are set in the ledger, by each test.
WIDE = {"COPPERPLATE_DAILY_BUDGET_USD": "1000000", "COPPERPLATE_ANONYMOUS_BUDGET_USD": "1000000"}


class Deployment:
    """Servers over one database, and what can be asked of them."""

    def __init__(self, url: str, clock: LedgerClock, crowd: Crowd, servers: list[Deadly], standin: Standin) -> None:
        self.url = url
        self.clock = clock
        self.crowd = crowd
        self.servers = servers
        self.standin = standin

    def allow(self, budget: str, *, micro_usd: int | None = None, pictures: int | None = None) -> None:
        """From now on so much may be spent today, whatever was."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("select public.reset_budget(%s)", (budget,))
            connection.execute("select public.set_budget(%s, %s, %s)", (budget, micro_usd, pictures))

    def flood(self, asked: Sequence[tuple[str, dict[str, str]]], *, is_persistent: bool = False) -> list[Reply]:
        return asyncio.run(self.crowd.ask_all(asked, is_persistent=is_persistent))

    @property
    def calls(self) -> int:
        return sum(self.standin.scenario_log.posts.values())

    @property
    def book(self) -> Book:
        return Book.read(self.url)

    def expect_nothing_held(self) -> None:
        """No reservation is left, and every counter is the sum of its bookings."""
        book = settled(self.url)
        assert (book.held, book.faults) == (0, [])


@contextmanager
def deployed(
    cluster: Cluster, standin: Standin, folder: Path, crash_at: Sequence[str], **settings: str
) -> Iterator[Deployment]:
    """Servers over a database of their own, where it is noon."""
    fal = {"FAL_KEY": "stand-in", "COPPERPLATE_FAL_QUEUE_URL": standin.url, "SUPABASE_JWT_SECRET": JWT_SECRET}
    with making_databases(cluster) as make:
        url = cluster.url(database=make())
        clock = LedgerClock(url)
        clock.move_to_day_end(43_200)
        with serving(folder, url, crash_at, **fal, **WIDE, **BEHIND_PROXY, **SCALED, **settings) as (crowd, servers):
            yield Deployment(url, clock, crowd, servers, standin)
        for server in servers:
            log_watch.read(server.log)


@pytest.fixture(scope="module")
def servers(
    cluster: Cluster, standin_server: Standin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with deployed(cluster, standin_server, tmp_path_factory.mktemp("floods"), ["", ""]) as running:
        yield running


@pytest.fixture
def deployment(servers: Deployment, standin: Standin) -> Deployment:
    """Where nothing is spent yet, and nobody has a cap."""
    assert standin is servers.standin
    for budget in ("all", "anonymous"):
        servers.allow(budget)
    servers.crowd.seen.clear()
    return servers


@pytest.mark.parametrize(
    ("budget", "caps"),
    [("all", {"pictures": CAP}), ("all", {"micro_usd": CAP * PRICE + PRICE - 1}), ("anonymous", {"pictures": CAP})],
    ids=["pictures", "money", "strangers"],
)
def test_flood_makes_as_many_pictures_as_are_allowed(deployment: Deployment, budget: str, caps: dict[str, int]) -> None:
    name = f"flood+{budget}+{next(iter(caps))}"
    kept = strangers(1, f"{name}+kept")
    first = deployment.flood(kept, is_persistent=True)[0]
    deployment.allow(budget, **caps)
    replies = deployment.flood([*strangers(120, name), *kept * 20], is_persistent=True)
    codes, seen = count_codes(replies), count_codes(deployment.crowd.seen)
    assert set(codes) == {"200", "budget_exhausted"}, codes
    assert codes["200"] == deployment.calls - 1 + 20
    assert deployment.calls <= CAP + 1
    if not seen.keys() & OF_A_BUSY_MACHINE:  # or a booking may be of a call that was never made
        assert deployment.calls == CAP + 1
    assert faulty_refusals(deployment.crowd.seen) == []
    assert {reply.problem["budget"] for reply in replies if reply.status != 200} == {budget}
    assert {reply.body for reply in replies[-20:]} == {first.body}
    calls = deployment.calls
    # Whoever asks again is told when to come back.
    again = deployment.flood(strangers(10, name, first=200), is_persistent=True)
    assert count_codes(again) == {"budget_exhausted": 10}
    assert all(0 < int(reply.headers["retry-after"]) <= 43_200 for reply in again)
    assert deployment.calls == calls
    deployment.expect_nothing_held()


def test_bills_above_their_estimates_are_made_up_before_anything_else_is_asked_for(deployment: Deployment) -> None:
    deployment.standin.scenario_log.tell("*", "units=1.5")
    at_once, bill = 4, PRICE * 3 // 2
    before = deployment.book.spent
    deployment.allow("all", micro_usd=CAP * PRICE)
    replies = []
    for first in range(0, 5 * at_once, at_once):
        replies += deployment.flood(strangers(at_once, "dear", first=first))
    spent = deployment.book.spent - before
    made = count_codes(replies)["200"]
    assert deployment.calls == made < CAP
    assert spent == made * bill == deployment.standin.scenario_log.bill()["fal"]["micro_usd"]
    # Above the cap by no more than the bills of those under way exceeded their bookings.
    assert CAP * PRICE - PRICE < spent <= CAP * PRICE + at_once * (bill - PRICE)
    assert count_codes(deployment.flood(strangers(10, "dear", first=100))) == {"budget_exhausted": 10}
    # Room for all that was spent, and for one picture less a millionth of a dollar; then for one.
    with psycopg.connect(deployment.url, autocommit=True) as connection:
        for room, calls in ((PRICE - 1, made), (PRICE, made + 1)):
            connection.execute("select public.set_budget('all', %s, null)", (spent + room,))
            deployment.flood(strangers(10, "dear", first=200 + room), is_persistent=True)
            assert deployment.calls == calls
    deployment.expect_nothing_held()


def test_bills_below_their_estimates_leave_room_for_others(deployment: Deployment) -> None:
    deployment.standin.scenario_log.tell("*", "units=0.5")
    before = deployment.book.spent
    cap = 4 * PRICE
    deployment.allow("all", micro_usd=cap)
    codes = count_codes(deployment.flood(strangers(30, "cheap"), is_persistent=True))
    # After the seventh there is room for half of one.
    assert codes == {"200": 7, "budget_exhausted": 23}
    assert deployment.calls == 7
    assert cap - PRICE < deployment.book.spent - before <= cap
    deployment.expect_nothing_held()


async def _key(url: str) -> str:
    """An API key of the owner's."""
    made = make_key()
    async with opened(url) as ledger:
        await ledger.create_api_key(
            NewApiKey(
                prefix=made.prefix,
                digest=made.digest,
                name="a script",
                tier="standard",
                scopes=frozenset({Scope.GENERATE}),
            )
        )
    return made.text


def test_keys_and_users_have_pictures_made_after_a_flood_of_strangers(deployment: Deployment) -> None:
    deployment.allow("all", pictures=CAP)
    deployment.allow("anonymous", pictures=CAP // 2)
    replies = deployment.flood(strangers(100, "stranger"), is_persistent=True)
    assert count_codes(replies) == {"200": CAP // 2, "budget_exhausted": 100 - CAP // 2}
    assert {reply.problem["budget"] for reply in replies if reply.status == 402} == {"anonymous"}
    tokens = Tokens(LOCAL_ISSUER, SystemClock().now())
    credentials: dict[str, dict[str, Any]] = {
        "user": {"Authorization": f"Bearer {tokens.hs(secret=JWT_SECRET.encode())}"},
        "key": {"X-API-Key": asyncio.run(_key(deployment.url))},
        "bearer": {"Authorization": f"Bearer {asyncio.run(_key(deployment.url))}"},
    }
    for number, (name, headers) in enumerate(credentials.items()):
        answer = deployment.flood([(f"/512x512.png?text=known+{name}", headers)], is_persistent=True)[0]
        assert answer.status == 200, (name, answer)
        assert deployment.calls == CAP // 2 + number + 1
    other = tokens.hs(secret=JWT_SECRET.encode(), sub=str(UUID(int=9)), is_anonymous=True)
    nameless = {"Authorization": f"Bearer {other}"}
    refused = deployment.flood([("/512x512.png?text=known+nameless", nameless)], is_persistent=True)[0]
    assert (refused.code, refused.problem["budget"]) == ("budget_exhausted", "anonymous")
    deployment.expect_nothing_held()


def test_day_that_ends_during_a_flood_settles_its_own_pictures_and_the_next_has_its_own(deployment: Deployment) -> None:
    deployment.standin.scenario_log.tell("*", "units=0.5")
    before = deployment.book.submits
    deployment.allow("all", pictures=CAP)
    deployment.clock.move_to_day_end(1)
    asked = strangers(60, "evening")
    evening = asyncio.run(_until_midnight(deployment, asked))
    morning = deployment.flood(strangers(60, "morning"), is_persistent=True)
    book = deployment.book
    first, second = (count for day, count in sorted(book.submits.items()) if day not in before)
    assert 1 <= first <= CAP == second
    assert deployment.calls == first + second == count_codes(evening + morning)["200"]
    assert count_codes(morning).keys() <= {"200", "budget_exhausted"}
    deployment.expect_nothing_held()


async def _until_midnight(deployment: Deployment, asked: Sequence[tuple[str, dict[str, str]]]) -> list[Reply]:
    """Ask for all at once, and let the day end meanwhile."""
    replies, _ = await asyncio.gather(deployment.crowd.ask_all(asked), asyncio.sleep(1))
    return replies


# Between the election and the settlement of a picture; `completed` is behind it.
POINTS = ["acquired", "announced", "answered", "noted", "made", "intended"]


def test_servers_killed_between_election_and_settlement_give_nobody_more_and_hold_nothing(
    cluster: Cluster, standin: Standin, tmp_path: Path
) -> None:
    cap = 24
    servers = [*POINTS, ""]
    with deployed(cluster, standin, tmp_path, servers) as deployment:
        for budget in ("anonymous", "all"):  # one is reserved with the election, one booked by the submit
            deployment.allow(budget, pictures=cap)
        mortal, others = strangers(3 * len(servers), "mortal"), strangers(60, "others")
        asyncio.run(_flood_the_mortal(deployment, mortal, is_persistent=False))
        # Nobody asks again for what the dead held: it is free for others all the same.
        replies = asyncio.run(_flood_the_mortal(deployment, others, is_persistent=True))
        assert [server.point for server in deployment.servers if server.has_died] == POINTS
        assert sum(deployment.book.submits.values()) == cap, "the cap is used to its end"
        assert deployment.book.faults == []
        # A job that is known is collected for whoever asks, and costs nothing more.
        replies += asyncio.run(_flood_the_mortal(deployment, mortal, is_persistent=True))
        book = deployment.book
        assert set(count_codes(replies)) == {"200", "budget_exhausted"}, count_codes(replies)
        assert sum(book.submits.values()) == cap
        assert count_codes(replies)["200"] == book.pictures <= deployment.calls <= cap
        deployment.expect_nothing_held()


async def _flood_the_mortal(
    deployment: Deployment, asked: Sequence[tuple[str, dict[str, str]]], *, is_persistent: bool
) -> list[Reply]:
    burying = asyncio.create_task(bury_the_dead(deployment.servers, deployment.crowd))
    try:
        return await deployment.crowd.ask_all(asked, is_persistent=is_persistent)
    finally:
        burying.cancel()
