"""Connections to Postgres with a session of their own, or behind a pooler without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, scalar_row

from copperplate.adapters.ledger.libpq import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Written in these files, or composed of names that are.
Query = LiteralString | bytes | sql.Composed
Mode = Literal["transaction", "session"]

# Role and time limits of every call: of the whole session, or of one transaction. Not among the options of a
# connection: PgBouncer refuses these, and a refusal at the start carries no SQLSTATE to tell it by.
SETTINGS = sql.SQL(
    "select set_config('role', 'service_role', {0}), set_config('statement_timeout', '5000', {0}),"
    " set_config('lock_timeout', '2000', {0})"
)
FOR_SESSION = SETTINGS.format(sql.Literal(False)).as_bytes()
FOR_TRANSACTION = SETTINGS.format(sql.Literal(True)).as_bytes()
PREPARE_AFTER = 2  # executions of a statement on one connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """What answers in the place of Postgres: where, and in which mode it is taken to be."""

    place: str
    mode: Mode

    def __str__(self) -> str:
        """For an operator, in one line."""
        return f"pooler answers at {self.place}; it is taken to be in {self.mode} mode"


async def find_pooler(connection: psycopg.AsyncConnection[Any], mode: Mode | None) -> Pooler | None:
    """The pooler that this connection leads to; None where it leads to Postgres itself.

    A pooler answers the handshake with a cancel key of its own, so the process that libpq knows is not the process
    that runs the statements. How it hands out sessions cannot be asked: without `mode`, by transaction, which is
    right for the other modes too. With `mode` "transaction" every connection is taken for one to a pooler.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select pg_backend_pid()")
        is_direct = await cursor.fetchone() == connection.info.backend_pid
    if is_direct and mode != "transaction":
        return None
    return Pooler(place=f"{connection.info.host}:{connection.info.port}", mode=mode or "transaction")


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection of the pool. Calls on it run as `service_role` and within the time limits above."""

    has_session = False

    @classmethod
    async def connect(cls, conninfo: str = "", *, tell: Callable[[str], None], **options: Any) -> Self:  # type: ignore[override]
        """Connect; `tell` gets the reason why not, which the pool would only log with every try; empty once it is."""
        try:
            made = await super().connect(conninfo, **options)
        except psycopg.Error as error:
            tell(reason_of(error))
            raise
        tell("")
        return made

    async def set_up(self, mode: Mode | None) -> Pooler | None:
        """Find out what is at the other end, and keep a session there if one is ours to keep."""
        pooler = await find_pooler(self, mode)
        self.has_session = pooler is None or pooler.mode == "session"
        if self.has_session:
            await self.execute(FOR_SESSION)
            self.prepare_threshold = PREPARE_AFTER
        return pooler

    async def run(self, query: Query, params: Sequence[Any]) -> list[DictRow]:
        """The rows of one statement, which is a transaction, in one round trip either way."""
        if self.has_session:
            return await (await self.execute(query, params)).fetchall()
        # Both are sent before either is answered and make one transaction, which a pooler gives one session.
        async with self.pipeline():
            await self.execute(FOR_TRANSACTION)
            answered = await self.execute(query, params)
        return await answered.fetchall()
