"""Purges over several server processes under traffic: how long the old bytes are answered, and by whom no more."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.feed import Tier
from copperplate.model import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from bench.harness.floods import Deadly

PICTURES: Final = 16
# A picture is purged once so many processes have answered it: one of them may stand still.
KNOWN_BY: Final = 3
BEAT_SECONDS: Final = 0.02
# Each picture is asked of each process five times a second; more would keep the machine from the servers.
READ_PAUSE_SECONDS: Final = 0.01
# Until every process has read that its copies are wrong, and has made new ones.
REFILL_SECONDS: Final = 4.0
# Longer than copies are trusted after a read.
FROZEN_SECONDS: Final = 3.5
_KEPT: Final = """
    select generations.prompt_hash, entries.digest from copperplate.cache_entries as entries
    join public.generation_status as generations on generations.prompt_hash = entries.generation_key
    where generations.prompt = %s
"""


@dataclass(slots=True)
class Purge:
    """One picture that was declared wrong: its digests until then, and when that was sent and committed."""

    way: str
    digests: frozenset[str]
    sent_at: float
    committed_at: float


@dataclass(slots=True)
class Seen:
    """When an answer with a digest came last, and the most that its tier said."""

    at: float
    port: int
    status: str


@dataclass
class Trial:
    """The traffic, and what it saw. Times are of the monotonic clock."""

    ports: Sequence[int]
    purges: list[Purge] = field(default_factory=list)
    last: dict[str, Seen] = field(default_factory=dict)
    ports_of: dict[str, set[int]] = field(default_factory=dict)
    answers: int = 0
    hits: int = 0
    failures: list[str] = field(default_factory=list)
    _beats: list[tuple[float, float]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def traffic(self, threads_each: int = 1) -> Iterator[None]:
        """Every picture is asked of every process, again and again, until the block ends."""
        readers = [
            threading.Thread(target=self._read, args=(port,)) for port in self.ports for _ in range(threads_each)
        ]
        threads = [*readers, threading.Thread(target=self._beat)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def seconds_of(self, purge: Purge) -> float:
        """From when a purge was sent to the last answer of what it purged; 0 where there was none."""
        last = max((self.last[digest].at for digest in purge.digests if digest in self.last), default=0.0)
        return max(0.0, last - purge.sent_at)

    def stalled_seconds(self, purge: Purge) -> float:
        """What this machine kept a thread waiting that only slept, from when it was sent, and what committing took."""
        until = purge.sent_at + self.seconds_of(purge)
        late = sum(seconds for at, seconds in self._beats if purge.sent_at <= at <= until + 1)
        return late + purge.committed_at - purge.sent_at

    def _beat(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            time.sleep(BEAT_SECONDS)
            self._beats.append((time.monotonic(), time.monotonic() - began - BEAT_SECONDS))

    def _read(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        number = 0
        while not self._is_over.is_set():
            number += 1
            try:
                self._ask(connection, port, path_of(number % PICTURES))
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.1)
            time.sleep(READ_PAUSE_SECONDS)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, port: int, path: str) -> None:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        self.answers += 1
        if answer.status == 200:
            status = answer.getheader("Cache-Status", "")
            self.hits += "hit" in status
            digest = answer.getheader("ETag", "").strip('"')
            self.ports_of.setdefault(digest, set()).add(port)
            self.last[digest] = Seen(time.monotonic(), port, status)
        elif answer.status not in (410, 503):
            self.failures.append(f"{answer.status} {path}")


def path_of(number: int) -> str:
    """Where a picture lies."""
    return f"/64x64.webp?text={text_of(number).replace(' ', '%20')}"


def text_of(number: int) -> str:
    """Its prompt."""
    return f"purged picture {number}"


@contextlib.contextmanager
def frozen(server: Deadly) -> Iterator[None]:
    """A server of which nothing runs while the block does."""
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGCONT)


class Purger:
    """Declares pictures wrong in different ways, and notes when."""

    def __init__(self, trial: Trial, database_url: str) -> None:
        self._trial = trial
        self._url = database_url
        self._connection = psycopg.connect(database_url, autocommit=True)
        # Its loop runs between purges, too: connections that were begun would stay half open in one that stands.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._ledger = PostgresLedger(database_url)
        self._run(self._ledger.open())
        self._ways: tuple[Callable[[str, str], None], ...] = (self._delete, self._purge, self._take_down, self._delete)

    def close(self) -> None:
        """Let go of the database."""
        self._run(self._ledger.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._connection.close()

    def run(self, count: int, *, pause: float) -> None:
        """Purge `count` times, a picture that is kept each time."""
        done = tried = 0
        while done < count:
            done += self.purge(tried % PICTURES, self._ways[done % len(self._ways)])
            tried += 1
            time.sleep(pause)

    def wait_until_kept(self) -> None:
        """Return once every picture is, and most processes have answered each."""
        while sum(len(ports) >= KNOWN_BY for ports in list(self._trial.ports_of.values())) < PICTURES:
            time.sleep(0.1)

    def purge(self, number: int, way: Callable[[str, str], None]) -> bool:
        """Purge one picture; False where it is not kept at the moment, or hardly any process has it."""
        kept = self._connection.execute(_KEPT, (text_of(number),)).fetchall()
        digests = frozenset(digest for _, digest in kept)
        if max((len(self._trial.ports_of.get(digest, ())) for digest in digests), default=0) < KNOWN_BY:
            return False
        sent_at = time.monotonic()
        way(text_of(number), kept[0][0])
        self._trial.purges.append(Purge(way.__name__, digests, sent_at, time.monotonic()))
        return True

    def delete_in_reverse(self, *, pause: float) -> None:
        """Delete every picture, each in a transaction of its own; those that began first commit last.

        Between, every copy is made anew: of entries that the deletions do not concern yet.
        """
        self.wait_until_kept()
        began = []
        for number in range(PICTURES):
            connection = psycopg.connect(self._url)
            kept = connection.execute(_KEPT, (text_of(number),)).fetchall()
            connection.execute("delete from public.generation_status where prompt = %s", (text_of(number),))
            began.append((connection, frozenset(digest for _, digest in kept)))
        self._run(self._ledger.invalidate((Tier.MEMORY, Tier.DISK, Tier.REDIS), None))
        time.sleep(REFILL_SECONDS)
        for connection, digests in reversed(began):
            time.sleep(pause)
            sent_at = time.monotonic()
            connection.commit()
            connection.close()
            self._trial.purges.append(Purge("late commit", digests, sent_at, time.monotonic()))

    def _run(self, call: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _delete(self, prompt: str, _: str) -> None:
        self._connection.execute("delete from public.generation_status where prompt = %s", (prompt,))

    def _purge(self, _: str, key: str) -> None:
        self._run(self._ledger.purge(Condition(key=key), 10, is_dry_run=False))

    def _take_down(self, _: str, key: str) -> None:
        self._run(self._ledger.take_down(key))
        self._run(self._ledger.lift_takedown(key))
