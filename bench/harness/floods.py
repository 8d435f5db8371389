"""Floods of misses over real servers: who is answered what, how often the provider was asked, and what the ledger says.

Servers may be told to die (SIGKILL) at a named point; one that died stays away, as where nobody starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from bench.harness.processes import (
    COPPERPLATE,
    READY_SECONDS,
    STOP_SECONDS,
    child_environment,
    free_port,
    wait_until_answering,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DIED = "another takes its place"
# Callers are told apart by what a trusted proxy says: here every one is.
BEHIND_PROXY = {"COPPERPLATE_TRUSTED_PROXIES": "127.0.0.0/8"}
SCALED = {"COPPERPLATE_LEASE_SECONDS": "3", "COPPERPLATE_HEARTBEAT_SECONDS": "0.5"}
# Answers after which a caller asks again: what was in the way may be over.
TRANSIENT = {503, 429}
OF_A_BUSY_MACHINE = {"still_generating", "ledger_unavailable"}
PAUSE_SECONDS = 0.25
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; status 0 where there was none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def problem(self) -> dict[str, Any]:
        """The document of an error."""
        is_problem = self.headers.get("content-type") == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body) if is_problem else {}
        return found

    @property
    def code(self) -> str:
        """The code of an error, or the status."""
        return str(self.problem.get("code", self.status))


class Crowd:
    """Servers that share a database and a folder, and callers who ask any of them that lives."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        # Every answer since this was last cleared, those of callers who asked again included.
        self.seen: list[Reply] = []
        self._turn = 0

    async def ask_all(
        self, asked: Sequence[tuple[str, Mapping[str, str]]], *, is_persistent: bool = False
    ) -> list[Reply]:
        """Ask for all of these at once, each over a connection of its own, with headers of its own.

        Who is persistent asks again until there is a picture, or a refusal that stays.
        """
        ask = self._insist if is_persistent else self.ask
        return await asyncio.gather(*(ask(target, headers) for target, headers in asked))

    async def ask(self, target: str, headers: Mapping[str, str], method: str = "GET", body: bytes = b"") -> Reply:
        """One request to the server whose turn it is."""
        self._turn += 1
        port = self.ports[self._turn % len(self.ports)]
        try:
            reply = await _exchange(port, target, headers, method, body)
        except (OSError, EOFError, IndexError):
            return Reply(status=0)
        self.seen.append(reply)
        return reply

    async def _insist(self, target: str, headers: Mapping[str, str]) -> Reply:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            reply = await self.ask(target, headers)
            if reply.status not in (0, *TRANSIENT) or time.monotonic() > give_up_at:
                return reply
            await asyncio.sleep(PAUSE_SECONDS)


async def _exchange(port: int, target: str, headers: Mapping[str, str], method: str, body: bytes) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        sent = {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}
        if body:
            sent["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = await reader.read()
        while chunk := await reader.read():
            answer += chunk
    finally:
        writer.close()
    head_bytes, _, content = answer.partition(b"\r\n\r\n")
    first, *lines = head_bytes.decode("latin-1").split("\r\n")
    found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(status=int(first.split()[1]), headers=found, body=content)


@contextlib.contextmanager
def serving(
    folder: Path, database_url: str, crash_at: Sequence[str], **settings: str
) -> Iterator[tuple[Crowd, list[Deadly]]]:
    """One `copperplate serve` for each member of `crash_at`, the point at which it dies ("": nowhere)."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {"COPPERPLATE_DATA_DIR": str(folder), "DATABASE_URL": database_url, **settings}
    servers = [Deadly(folder / f"server-{number}.log", point, environ) for number, point in enumerate(crash_at)]
    try:
        for server in servers:
            server.wait_until_ready()
        yield Crowd([server.port for server in servers]), servers
    finally:
        for server in servers:
            server.stop()
        for server in servers:
            server.wait()


class Deadly:
    """One `copperplate serve` with one process, which may be told to die."""

    def __init__(self, log: Path, point: str, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.point = point
        self._log = log
        command = [str(COPPERPLATE), "serve", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                command,
                env=child_environment({**environ, "COPPERPLATE_CRASH_AT": point}),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of its first process, and of the group of all of them."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text()

    @property
    def has_died(self) -> bool:
        """Whether its process was killed at the point."""
        return DIED in self.log

    def wait_until_ready(self) -> None:
        """Return once it serves."""
        wait_until_answering(self.port)
        give_up_at = time.monotonic() + READY_SECONDS
        while "serving on port" not in self.log:
            assert time.monotonic() < give_up_at, self.log
            assert self._process.poll() is None, self.log
            time.sleep(0.02)

    def bury(self) -> bool:
        """End what is left of one whose process died, before another takes its place; answers whether it died."""
        if self.point and self._process.poll() is None and self.has_died:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return True
        return self.point != "" and self._process.poll() is not None

    def stop(self) -> None:
        """Tell it to stop."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Return once it has ended."""
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


async def bury_the_dead(servers: Sequence[Deadly], crowd: Crowd) -> None:
    """From now on, until cancelled: whoever died stays away."""
    while True:
        for server in servers:
            if server.bury() and server.port in crowd.ports:
                crowd.ports.remove(server.port)
        await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What the ledger says after a flood; money in millionths of a dollar."""

    submits: Mapping[str, int]  # bookings that stand, by UTC day
    spent: int
    pictures: int  # stored ones
    held: int  # reservations
    faults: list[Any]  # of the audit

    @classmethod
    def read(cls, url: str) -> Book:
        """Read it, as the owner."""
        with psycopg.connect(url, autocommit=True) as connection:
            submits = connection.execute(
                "select (sent_at at time zone 'UTC')::date::text, count(*),"
                " sum(coalesce(cost_micro_usd, booked_micro_usd))::bigint"
                " from copperplate.submits where booked_micro_usd is not null group by 1"
            ).fetchall()
            pictures, held = connection.execute(
                "select count(*) filter (where status = 'completed'), count(reserved) from public.generation_status"
            ).fetchone() or (0, 0)
            audit = connection.execute("select public.audit_budgets()").fetchone()
        assert audit is not None
        return cls(
            submits={day: count for day, count, _ in submits},
            spent=sum(spent for _, _, spent in submits),
            pictures=pictures,
            held=held,
            faults=audit[0]["faults"],
        )


def settled(url: str) -> Book:
    """The book once leases that nobody holds any more ran out, and a sweep has released what they had reserved."""
    if Book.read(url).held:
        time.sleep(float(SCALED["COPPERPLATE_LEASE_SECONDS"]))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select public.sweep_generations(1000, '0')")
    return Book.read(url)


def count_codes(replies: Sequence[Reply]) -> Counter[str]:
    """How many were answered what."""
    return Counter(reply.code for reply in replies)


def faulty_refusals(replies: Sequence[Reply]) -> list[Reply]:
    """Refusals that somebody could keep, that tell too little, or that are neither 402 nor 503."""
    return [reply for reply in replies if reply.status != 200 and not _is_right(reply)]


def _is_right(reply: Reply) -> bool:
    members = {"budget", "left_usd", "left_pictures", "resets_at"}
    return (
        reply.status in (402, 503)
        and reply.headers.get("cache-control") == "no-store"
        and "etag" not in reply.headers
        and int(reply.headers.get("retry-after", "0")) >= 1
        and (reply.problem.keys() >= members or reply.code in OF_A_BUSY_MACHINE)
    )


def strangers(count: int, name: str, *, first: int = 0) -> list[tuple[str, dict[str, str]]]:
    """So many different misses, each of another address; those of another name are of others."""
    network = f"2001:db8:{zlib.crc32(name.encode()) & 0xFFFF:x}"
    return [
        (f"/512x512.png?text={name}+{number}", {"X-Forwarded-For": f"{network}:{number:x}::1"})
        for number in range(first, first + count)
    ]


class LedgerClock:
    """The clock of one database, moved for every session at once, and only ever forward."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._run("create table public.moved_clock (ahead interval not null)")
        self._run("insert into public.moved_clock values ('0')")
        self._run("grant select on public.moved_clock to public")
        self._run(
            "create or replace function copperplate.clock() returns timestamptz language sql volatile"
            " set search_path = '' as 'select clock_timestamp() + m.ahead from public.moved_clock as m'"
        )

    def move_to_day_end(self, seconds: float) -> None:
        """Let it be so many seconds before midnight (UTC) of the next day."""
        self._run(
            "update public.moved_clock set ahead = ahead"
            " + (date_trunc('day', copperplate.clock() at time zone 'UTC') + interval '2 days'"
            " - make_interval(secs => %s) - (copperplate.clock() at time zone 'UTC'))",
            seconds,
        )

    def _run(self, statement: str, *values: object) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode(), values)
