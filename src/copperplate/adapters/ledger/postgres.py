"""Calls over direct connections to Postgres (psycopg 3): their time, their repeats, notifications."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import random
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from copperplate.adapters.ledger.libpq import read_url, reason_of
from copperplate.adapters.ledger.poolers import Connection, Mode, Pooler, Query, find_pooler
from copperplate.adapters.ledger.postgres_errors import NO_SESSION, translate
from copperplate.adapters.ledger.sql_ledger import SqlLedger
from copperplate.adapters.ledger.transport import Json
from copperplate.adapters.notifier import Notifier
from copperplate.adapters.service_calls import call_service
from copperplate.errors import LedgerUnavailable, PoolerExhausted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.adapters.ledger.transport import Arguments, Row

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

CHANNEL = "copperplate"

# A call is repeated when the connection broke, within this time in all; then the caller gets a 503.
CALL_SECONDS = 2.5
PAUSE_SECONDS = 0.1

# A scalar or JSON is one value; a composite type or a table is expanded into its columns.
VALUE: LiteralString = "select public.{}({})"
ROWS: LiteralString = "select * from public.{}({})"


class PostgresTransport:
    """Calls functions of schema public over a pool of direct connections.

    Calls run as `service_role`, the role PostgREST uses for them, so the same rights hold in both
    worlds. Behind a pooler nothing is kept on a connection: role and time limits are set in each
    transaction, no statement is prepared, and polling alone tells followers, without notifications.
    `pooler` says how a pooler hands out sessions; without it any that is found counts as in transaction mode.
    """

    max_rows = sys.maxsize

    def __init__(self, database_url: str, *, max_connections: int = 8, pooler: Mode | None = None) -> None:
        read_url(database_url)
        self._conninfo = make_conninfo(database_url, application_name="copperplate", connect_timeout=3)
        self._mode = pooler
        self._pooler: Pooler | None = None
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=max_connections,
            max_waiting=10_000,
            timeout=CALL_SECONDS,
            reconnect_timeout=30,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": None,  # until it is known who keeps the session
                "tell": self._note_reason,
            },
            connection_class=Connection,
            configure=self._set_up,
            open=False,
        )
        self.hints = Notifier()
        self._listening: asyncio.Task[None] | None = None
        self._refusal: psycopg.Error | None = None
        self._reason = ""
        self._unlent = 0  # connections that were made and got no answer yet
        self._is_direct = False  # no pooler was in front of the database when it last answered

    async def open(self) -> None:
        """Start the pool and the listener; an unreachable database shows at the first call."""
        await self._pool.open(wait=False)
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Give every connection back."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        await self._pool.close()

    async def row(self, function: LiteralString, arguments: Arguments) -> Row:
        """See `Transport.row`."""
        return (await self.rows(function, arguments))[0]

    async def rows(self, function: LiteralString, arguments: Arguments) -> list[DictRow]:
        """See `Transport.rows`."""
        return await self._rows(_statement(ROWS, function, tuple(arguments)), _parameters(arguments))

    async def value(self, function: LiteralString, arguments: Arguments, answer: type[Answer]) -> Answer:
        """See `Transport.value`."""
        [row] = await self._rows(_statement(VALUE, function, tuple(arguments)), _parameters(arguments))
        [value] = row.values()
        if not isinstance(value, answer):
            raise LedgerUnavailable("the database's answer cannot be read")
        return value

    def describe(self) -> Row:
        """See `Transport.describe`: the pooler that was found, or None."""
        return {"pooler": None if self._pooler is None else asdict(self._pooler)}

    async def _rows(self, query: Query, params: Sequence[Any]) -> list[DictRow]:
        """Run one statement; a broken connection is replaced and the call repeated while time is left."""
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS
        return await call_service(
            lambda: self._in_time(query, params, deadline),
            translate=translate,
            pauses=itertools.repeat(PAUSE_SECONDS),
            within_seconds=CALL_SECONDS,
        )

    async def _in_time(self, query: Query, params: Sequence[Any], deadline: float) -> list[DictRow]:
        """Answer or raise by `deadline`, whatever the network does.

        A task of its own, because a cancelled call first asks the server to stop: where that is silent,
        psycopg needs ten seconds more to give the connection up, and nobody has to wait for that.
        """
        running = asyncio.create_task(self._run(query, params))
        running.add_done_callback(
            lambda task: task.cancelled() or task.exception()
        )  # retrieve the exception, or asyncio warns
        try:
            await asyncio.wait((running,), timeout=deadline - asyncio.get_running_loop().time())
            if running.done() and not isinstance(running.exception(), PoolTimeout):
                return running.result()
        finally:
            running.cancel()
        if self._refusal is not None:
            raise self._refusal
        if self._reason:
            raise LedgerUnavailable(f"the database of DATABASE_URL does not answer: {self._reason}")
        if self._unlent and not self._is_direct:
            raise PoolerExhausted(NO_SESSION)
        if running.done():
            return running.result()
        raise LedgerUnavailable("the database does not answer")

    def _note_reason(self, reason: str) -> None:
        self._reason = reason
        if reason:
            self._refusal = None

    async def _set_up(self, connection: Connection) -> None:
        self._unlent += 1
        try:
            self._note_pooler(await connection.set_up(self._mode))
        except psycopg.Error as error:
            self._refusal = error
            raise
        finally:
            self._unlent -= 1
        self._refusal = None

    def _note_pooler(self, pooler: Pooler | None) -> None:
        if pooler is not None and pooler != self._pooler:
            logger.info("a %s; see docs/settings.md", pooler)
        self._pooler = pooler
        self._is_direct = pooler is None

    async def _run(self, query: Query, params: Sequence[Any]) -> list[DictRow]:
        async with self._pool.connection() as connection:
            return await connection.run(query, params)

    async def _listen(self) -> None:
        """Turn notifications into hints, until the ledger closes or a pooler is found. Losing one only costs time."""
        is_away = False
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    if (pooler := await find_pooler(connection, self._mode)) and pooler.mode != "session":
                        return
                    await connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
                    self.hints.announce_all()  # whatever was missed while we did not listen
                    is_away = False
                    async for notification in connection.notifies():
                        self.hints.announce(notification.payload)
            except psycopg.Error as error:
                if not is_away:  # said once, not with every try
                    logger.info("notifications interrupted, trying on: %s", reason_of(error))
                is_away = True
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret


class PostgresLedger(SqlLedger):
    """The ledger over direct connections; see `PostgresTransport` for what the arguments mean."""

    _transport: PostgresTransport

    def __init__(self, database_url: str, *, max_connections: int = 8, pooler: Mode | None = None) -> None:
        super().__init__(PostgresTransport(database_url, max_connections=max_connections, pooler=pooler))


@functools.cache
def _statement(form: LiteralString, function: LiteralString, names: tuple[str, ...]) -> bytes:
    arguments = sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in names)
    return sql.SQL(form).format(sql.SQL(function), arguments).as_bytes()


def _parameters(arguments: Arguments) -> list[Any]:
    return [Jsonb(value.value) if isinstance(value, Json) else value for value in arguments.values()]
