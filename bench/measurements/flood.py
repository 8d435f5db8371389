"""A flood of new texts over real servers: how often is the provider asked, whatever dies and whatever it bills?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from bench.harness.databases import cluster
from bench.harness.figures import Figure
from bench.harness.floods import (
    BEHIND_PROXY,
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.harness.figures import Run
    from bench.harness.floods import Crowd, Deadly, Reply
    from tests.standin.server import Standin

MISSES, PROCESSES, CAP, PRICE = 1_000, 4, 100, 3_000
WIDE = {"COPPERPLATE_DAILY_BUDGET_USD": "1000000", "COPPERPLATE_ANONYMOUS_BUDGET_USD": "1000000"}
POINTS = ("acquired", "announced", "answered", "noted", "decoding", "made", "intended", "uploaded", "completing")


def measure(run: Run) -> list[Figure]:
    """Calls of 1,000 misses at once under caps: bills half above and below, midnight, servers killed at nine points."""
    from tests.standin.server import serve as serve_standin

    with serve_standin() as standin:
        return [
            *_measure_caps(run, standin),
            *_measure_bills(run, standin),
            *_measure_midnight(run, standin),
            *_measure_deaths(run, standin),
        ]


@dataclass(slots=True)
class Flooded:
    """Servers over a database of their own, where nothing is spent."""

    url: str
    clock: LedgerClock
    crowd: Crowd
    servers: list[Deadly]
    standin: Standin

    @property
    def calls(self) -> int:
        """How often the provider was asked."""
        return sum(self.standin.scenario_log.posts.values())

    def allow(self, *, micro_usd: int | None = None, pictures: int | None = None) -> None:
        """From now on so much may be spent today, whatever was."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("select public.reset_budget('all')")
            connection.execute("select public.set_budget('all', %s, %s)", (micro_usd, pictures))
        self.standin.scenario_log.clear()

    def ask(self, count: int, name: str, *, first: int = 0, is_persistent: bool = False) -> list[Reply]:
        """So many different misses at once."""
        asked = strangers(count, name, first=first)
        return asyncio.run(_burying(self, asked, is_persistent=is_persistent))


async def _burying(
    flooded: Flooded, asked: Sequence[tuple[str, dict[str, str]]], *, is_persistent: bool
) -> list[Reply]:
    burying = asyncio.create_task(bury_the_dead(flooded.servers, flooded.crowd))
    try:
        return await flooded.crowd.ask_all(asked, is_persistent=is_persistent)
    finally:
        burying.cancel()


@contextlib.contextmanager
def _deployed(run: Run, standin: Standin, crash_at: Sequence[str], **settings: str) -> Iterator[Flooded]:
    fal = {"FAL_KEY": "stand-in", "COPPERPLATE_FAL_QUEUE_URL": standin.url}
    standin.scenario_log.clear()
    with cluster(run, is_durable=False) as started:
        clock = LedgerClock(started.owner_url)
        clock.move_to_day_end(43_200)
        folder = run.folder / f"flood-{time.monotonic_ns()}"
        environ = {**fal, **WIDE, **BEHIND_PROXY, **SCALED, **settings}
        with serving(folder, started.owner_url, crash_at, **environ) as (crowd, servers):
            yield Flooded(started.owner_url, clock, crowd, servers, standin)


def _measure_caps(run: Run, standin: Standin) -> list[Figure]:
    misses, cap = run.pick(MISSES, 200), run.pick(CAP, 20)
    caps: dict[str, tuple[dict[str, int], dict[str, str]]] = {
        "of pictures": ({"pictures": cap}, {}),
        "of money": ({"micro_usd": cap * PRICE + PRICE - 1}, {}),
        # Of a model without a price a picture costs what the dearest of its provider does.
        "of money, price unknown": ({"micro_usd": cap * 25_000}, {"COPPERPLATE_IMAGE_MODEL": "fal-ai/unpriced"}),
    }
    figures = []
    for name, (allowed, settings) in caps.items():
        with _deployed(run, standin, [""] * PROCESSES, **settings) as flooded:
            flooded.allow(**allowed)
            replies = flooded.ask(misses, name.replace(" ", "+"))
            codes, calls = count_codes(replies), flooded.calls
            book = settled(flooded.url)
        run.say(f"cap {name}: {calls} calls, {dict(codes)}")
        how = (
            f"{misses:,} different misses at once, each of another address, over {PROCESSES} server processes, "
            f"Postgres and a stand-in for fal that counts; answered {dict(codes)}."
        )
        figures += [
            Figure(what=f"a cap {name}: calls less what it allows", value=calls - cap, unit="", how=how, exactly=0),
            Figure(
                what=f"a cap {name}: answers that were neither picture nor refusal, or could be kept",
                value=len(faulty_refusals(replies)) + abs(codes["200"] - cap),
                unit="",
                how=how,
                exactly=0,
            ),
            _audit(f"a cap {name}", book, how),
        ]
    return figures


def _audit(what: str, book: Book, how: str) -> Figure:
    return Figure(
        what=f"{what}: reservations left, and counters that are not the sum of bookings",
        value=book.held + len(book.faults),
        unit="",
        how=how,
        exactly=0,
    )


def _measure_bills(run: Run, standin: Standin) -> list[Figure]:
    figures = []
    misses, cap = run.pick(MISSES // 2, 100), run.pick(CAP // 2, 10) * PRICE
    with _deployed(run, standin, [""] * PROCESSES) as flooded:
        for units, name in (("1.5", "half above"), ("0.5", "half below")):
            before = Book.read(flooded.url).spent
            flooded.allow(micro_usd=cap)
            standin.scenario_log.tell("*", f"units={units}")
            replies = flooded.ask(misses, name.replace(" ", "+"), is_persistent=True)
            book, bill = settled(flooded.url), int(PRICE * float(units))
            spent = book.spent - before
            refused = len([reply for reply in replies if reply.code == "budget_exhausted"])
            # All bookings of the first wave may be under way at once; only their bills can exceed the cap.
            beyond = spent - cap - max(0, cap // PRICE * (bill - PRICE))
            how = (
                f"{misses:,} misses at once, until each has a picture or a 402 ({refused:,}); a cap of {cap:,} "
                f"millionths of a dollar, bills of {bill:,}, estimates of {PRICE:,}: {flooded.calls} calls, {spent:,} "
                "spent."
            )
            run.say(how)
            figures += [
                Figure(
                    what=f"bills {name}: spent beyond cap and open bills", value=beyond, unit="µ$", how=how, at_most=0
                ),
                Figure(what=f"bills {name}: room left unused", value=cap - spent, unit="µ$", how=how, at_most=PRICE),
                _audit(f"bills {name}", book, how),
            ]
    return figures


def _measure_midnight(run: Run, standin: Standin) -> list[Figure]:
    misses, cap = run.pick(MISSES, 200), run.pick(CAP // 2, 10)
    with _deployed(run, standin, [""] * PROCESSES) as flooded:
        flooded.allow(pictures=cap)
        flooded.clock.move_to_day_end(2)
        evening = flooded.ask(misses // 2, "evening")
        time.sleep(2)
        morning = flooded.ask(misses // 2, "morning", is_persistent=True)
        book, calls = settled(flooded.url), flooded.calls
    days = [book.submits[day] for day in sorted(book.submits)]
    how = (
        f"{misses // 2:,} misses two seconds before the ledger's midnight, as many after it, a cap of {cap} pictures "
        f"a day; calls by day {days}, answered {dict(count_codes(evening + morning))}."
    )
    run.say(how)
    return [
        Figure(what="midnight: calls of either day beyond its cap", value=max(days) - cap, unit="", how=how, exactly=0),
        Figure(what="midnight: calls in no day's book", value=calls - sum(days), unit="", how=how, exactly=0),
        _audit("midnight", book, how),
    ]


def _measure_deaths(run: Run, standin: Standin) -> list[Figure]:
    # Of more at once the server that stops at the first booking books all there is, and no other reaches its point.
    misses, cap = 200, 30
    with _deployed(run, standin, [*POINTS, *[""] * PROCESSES]) as flooded:
        flooded.allow(pictures=cap)
        replies = flooded.ask(misses, "mortal", is_persistent=True)
        deaths = [server.point for server in flooded.servers if server.has_died]
        calls, before = flooded.calls, Book.read(flooded.url)
        book = settled(flooded.url)
    codes, booked = count_codes(replies), sum(book.submits.values())
    how = (
        f"{misses:,} misses at once over {len(POINTS) + PROCESSES} server processes, of which {len(deaths)} were "
        f"killed (SIGKILL) at {', '.join(deaths)}; callers ask again until each has a picture or a 402. A cap of {cap} "
        f"pictures: {calls} calls, {book.pictures} pictures, {booked - book.pictures} submits lost; "
        f"answered {dict(codes)}."
    )
    run.say(how)
    return [
        Figure(what="deaths: points at which a server was killed", value=len(deaths), unit="", how=how, at_least=6),
        Figure(what="deaths: calls beyond the cap", value=calls - cap, unit="", how=how, at_most=0),
        Figure(
            what="deaths: pictures less cap and lost submits",
            value=book.pictures - cap + (booked - book.pictures),
            unit="",
            how=how,
            at_least=0,
        ),
        Figure(
            what="deaths: counters that are not the sum of bookings, before the sweep",
            value=len(before.faults),
            unit="",
            how=how,
            exactly=0,
        ),
        _audit("deaths", book, f"{how} {before.held} reservations had lapsed before the sweep."),
    ]
