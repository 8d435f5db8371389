"""The ledger over a direct connection to Postgres (psycopg 3)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, LiteralString, cast
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from copperplate.adapters.credit_calls import CreditCalls
from copperplate.adapters.libpq import read_url, reason_of
from copperplate.adapters.poolers import Connection, Mode, Pooler, Query, find_pooler
from copperplate.adapters.verdicts import charge_row, entry_of, sight_of, verdict_of
from copperplate.errors import LedgerUnavailable, Misconfigured
from copperplate.hints import Hints
from copperplate.recipes.image import original_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from uuid import UUID

    from copperplate.adapters.credit_calls import CreditFunction
    from copperplate.model import (
        Charge,
        Condition,
        Entry,
        Failure,
        FailureClass,
        Job,
        RenditionUpload,
        Sight,
        Upload,
        Use,
        Verdict,
        Want,
    )

logger = logging.getLogger(__name__)

CHANNEL = "copperplate"

# A call is repeated when the connection broke, within this time in all; then the caller gets a 503.
CALL_SECONDS = 2.5
PAUSE_SECONDS = 0.1

HIDDEN_POOLER = "a pooler is in front of the database of DATABASE_URL: set COPPERPLATE_POOLER=transaction"
# Foreign exceptions stop here: the first class that fits decides, also whether the call is sent again. `always`:
# nothing happened. `if_repeatable`: nobody knows what happened. `never`: it would not help.
Resend = Literal["always", "if_repeatable", "never"]
ErrorRow = tuple[type[Exception], type[LedgerUnavailable | Misconfigured], Resend, str]
ERRORS: tuple[ErrorRow, ...] = (
    # Rolled back by the server: nothing happened, so even usage may be sent again.
    (psycopg.errors.DeadlockDetected, LedgerUnavailable, "always", "the database is busy"),
    (psycopg.errors.LockNotAvailable, LedgerUnavailable, "always", "the database is busy"),
    (psycopg.errors.QueryCanceled, LedgerUnavailable, "never", "the database took too long"),
    (PoolTimeout, LedgerUnavailable, "never", "no database connection was free in time"),
    (TooManyRequests, LedgerUnavailable, "never", "too many requests wait for a database connection"),
    (psycopg.OperationalError, LedgerUnavailable, "if_repeatable", "the database does not answer"),
    (psycopg.InterfaceError, LedgerUnavailable, "if_repeatable", "the database connection is broken"),
    (
        psycopg.errors.UndefinedFunction,
        Misconfigured,
        "never",
        "the database lacks our functions: run `copperplate migrate`",
    ),
    (
        psycopg.errors.UndefinedTable,
        Misconfigured,
        "never",
        "the database lacks our tables: run `copperplate migrate`",
    ),
    (
        psycopg.errors.InvalidSchemaName,
        Misconfigured,
        "never",
        "the database lacks our schema: run `copperplate migrate`",
    ),
    (
        psycopg.errors.InsufficientPrivilege,
        Misconfigured,
        "never",
        "DATABASE_URL: its role may not use Copperplate's functions; make it a member of service_role",
    ),
    (
        psycopg.errors.InvalidParameterValue,  # of setting the role; no call of ours can cause it
        Misconfigured,
        "never",
        "the database has no role service_role: run `copperplate migrate`, which says what to do",
    ),
    # A session that is not ours alone, behind a pooler that gave itself out for Postgres.
    (psycopg.errors.DuplicatePreparedStatement, Misconfigured, "never", HIDDEN_POOLER),
    (psycopg.errors.InvalidSqlStatementName, Misconfigured, "never", HIDDEN_POOLER),
    (psycopg.Error, LedgerUnavailable, "never", "the database refused the call"),
)


def translate(error: Exception) -> tuple[LedgerUnavailable | Misconfigured, Resend]:
    """Our error for a foreign one, and whether the call may be sent again."""
    for foreign, ours, resend, message in ERRORS:
        if isinstance(error, foreign):
            return ours(message), resend
    raise error


class PostgresLedger(CreditCalls):
    """`Ledger`, `LedgerCare` and `CreditLedger` over a pool of direct connections.

    Calls run as `service_role`, the role PostgREST uses for them, so the same rights hold in both
    worlds. Behind a pooler nothing is kept on a connection: role and time limits are set in each
    transaction, no statement is prepared, and polling alone tells followers, without notifications.
    `pooler` says how a pooler hands out sessions; without it any that is found counts as in transaction mode.
    """

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
        self._hints = Hints()
        self._listening: asyncio.Task[None] | None = None
        self._refusal: psycopg.Error | None = None
        self._reason = ""

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

    # --- Ledger ---------------------------------------------------------------------------------

    async def acquire(
        self,
        want: Want,
        *,
        leader: UUID,
        lease: timedelta,
        may_lead: bool = True,
        charges: Sequence[Charge] = (),
        services: Sequence[str] = (),
    ) -> Verdict:
        """See `Ledger.acquire`."""
        asked = (Jsonb(want.recipe), want.generation_key, want.rendition_key, leader, lease, may_lead)
        row = await self._call(
            "select * from public.acquire_generation(%s, %s, %s, %s, %s, %s, %s, %s)",
            (*asked, Jsonb([charge_row(charge) for charge in charges]), list(services)),
        )
        return verdict_of(row)

    async def peek(self, generation_key: str, rendition_key: str) -> Sight:
        """See `Ledger.peek`."""
        row = await self._call("select * from public.peek_generation(%s, %s)", (generation_key, rendition_key))
        return sight_of(row)

    async def begin_submit(
        self, key: str, fence: int, *, submit_no: int, provider: str, estimate_micro_usd: int | None = None
    ) -> bool:
        """See `Ledger.begin_submit`."""
        return await self._ask(
            "select public.begin_submit(%s, %s, %s, %s, %s)", (key, fence, submit_no, provider, estimate_micro_usd)
        )

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """See `Ledger.note_request`."""
        return await self._ask(
            "select public.note_request(%s, %s, %s, %s)", (key, fence, job.request_id, Jsonb(dict(job.urls)))
        )

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """See `Ledger.begin_decode`."""
        return await self._ask("select public.begin_decode(%s, %s, %s)", (key, fence, decode_no))

    async def heartbeat(self, key: str, fence: int, lease: timedelta) -> bool:
        """See `Ledger.heartbeat`."""
        return await self._ask("select public.heartbeat_generation(%s, %s, %s)", (key, fence, lease))

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: Upload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition: RenditionUpload | None = None,
    ) -> bool:
        """See `Ledger.intend_upload`."""
        rendition_path = rendition.path if rendition else None
        return await self._ask(
            "select public.intend_upload(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (key, fence, *_columns(upload), Jsonb(dict(usage)), rendition_path, cost_micro_usd),
        )

    async def complete(
        self, key: str, fence: int, upload: Upload, *, url: str | None, rendition: RenditionUpload | None = None
    ) -> Entry | None:
        """See `Ledger.complete`."""
        row = await self._call(
            "select * from public.complete_generation(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (key, fence, original_key(key), *_columns(upload), url, Jsonb(asdict(rendition)) if rendition else None),
        )
        return entry_of(row)

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """See `Ledger.fail`."""
        said = (failure.failure_class.value, failure.message, failure.retry_after, failure.billed)
        return await self._ask(
            "select public.fail_generation(%s, %s, %s, %s, %s, %s, %s, %s)",
            (key, fence, *said, Jsonb(dict(failure.usage)), failure.cost_micro_usd),
        )

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, rest: timedelta) -> bool:
        """See `Ledger.report_refusal`."""
        said = (name, failure_class.value, reason, rest)
        return await self._ask("select public.report_refusal(%s, %s, %s, %s)", said)

    async def report_success(self, name: str) -> None:
        """See `Ledger.report_success`."""
        await self._call("select public.report_success(%s)", (name,))

    async def intend_rendition(self, original: Entry, upload: Upload) -> bool:
        """See `Ledger.intend_rendition`."""
        return await self._ask(
            "select public.intend_rendition(%s, %s, %s)", (original.generation_key, original.path, upload.path)
        )

    async def record_rendition(self, original: Entry, rendition_key: str, upload: Upload) -> Entry | None:
        """See `Ledger.record_rendition`."""
        row = await self._call(
            "select * from public.record_rendition(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (original.generation_key, original.path, rendition_key, *_columns(upload)),
        )
        return entry_of(row)

    async def report_missing(self, entry: Entry) -> bool:
        """See `Ledger.report_missing`."""
        return await self._ask("select public.report_missing(%s, %s)", (entry.key, entry.path))

    async def record_usage(self, uses: Sequence[Use], *, batch: UUID | None = None) -> None:
        """See `Ledger.record_usage`."""
        given = (Jsonb([asdict(use) for use in uses]), batch or uuid4())
        await self._call("select public.record_usage(%s, %s)", given)

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """See `Ledger.hints`."""
        return self._hints.watch(key)

    # --- LedgerCare -----------------------------------------------------------------------------

    async def generation_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.generation_stats`."""
        return await self._call("select * from public.get_generation_stats()", ())

    async def cache_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.cache_stats`."""
        return await self._call("select * from public.get_cache_stats()", ())

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """See `LedgerCare.savings`."""
        return await self._rows("select * from public.get_savings()", ())

    async def sweep(self, limit: int) -> int:
        """See `LedgerCare.sweep`."""
        return int(await self._value("select public.sweep_generations(%s)", (limit,)))

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """See `LedgerCare.cleanup_entries`."""
        answer = await self._value("select public.cleanup_old_cache_entries(%s, %s, %s)", (older_than, limit, after))
        return cast("Mapping[str, Any]", answer)

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_memoji`."""
        answer = await self._value("select public.cleanup_old_memoji(p_limit => %s)", (limit,))
        return cast("Mapping[str, int]", answer)

    async def count_old_memoji(self) -> Mapping[str, int]:
        """See `LedgerCare.count_old_memoji`."""
        return cast("Mapping[str, int]", await self._value("select public.count_old_memoji()", ()))

    async def memoji_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.memoji_stats`."""
        return await self._call("select * from public.get_memoji_stats()", ())

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_generations`."""
        answer = await self._value("select public.cleanup_old_generation_status(%s)", (limit,))
        return cast("Mapping[str, int]", answer)

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """See `LedgerCare.claim_discarded`."""
        rows = await self._rows("select id, bucket, path from public.claim_discarded(%s)", (limit,))
        return [(row["id"], row["bucket"], row["path"]) for row in rows]

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `LedgerCare.forget_discarded`."""
        return int(await self._value("select public.forget_discarded(%s)", (list(ids),)))

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """See `LedgerCare.count_old_entries`."""
        return cast("Mapping[str, int]", await self._value("select public.count_old_cache_entries(%s)", (older_than,)))

    async def claim_audit(self, bucket: str) -> str | None:
        """See `LedgerCare.claim_audit`."""
        return cast("str | None", await self._value("select public.claim_audit(%s)", (bucket,)))

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `LedgerCare.audit_objects`."""
        return int(await self._value("select public.audit_objects(%s, %s, %s)", (bucket, list(paths), reached)))

    async def check_setup(self) -> Mapping[str, Any]:
        """See `LedgerCare.check_setup`."""
        setup = cast("Mapping[str, Any]", await self._value("select public.check_setup()", ()))
        return {**setup, "pooler": None if self._pooler is None else asdict(self._pooler)}

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `LedgerCare.describe_schema`."""
        return cast("Mapping[str, Any]", await self._value("select public.describe_schema(%s)", (list(names),)))

    async def usage_totals(self) -> Mapping[str, Any]:
        """See `LedgerCare.usage_totals`."""
        return cast("Mapping[str, Any]", await self._value("select public.get_usage_totals()", ()))

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """See `LedgerCare.purge`."""
        given = (condition.key, condition.prompt, condition.key_prefix, condition.model, condition.older_than)
        query: LiteralString = "select public.purge_entries(%s, %s, %s, %s, %s, %s, %s)"
        return cast("Mapping[str, Any]", await self._value(query, (*given, is_dry_run, limit)))

    # --- calls ----------------------------------------------------------------------------------

    async def _call_function(self, function: CreditFunction, arguments: Mapping[str, Any]) -> Any:
        """A function of schema public that answers one value; its names are ours, never a caller's."""
        query = sql.SQL("select public.{}({})").format(
            sql.Identifier(function),
            sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments),
        )
        values = [Jsonb(value) if isinstance(value, dict) else value for value in arguments.values()]
        return await self._value(query, values)

    async def _ask(self, query: LiteralString, params: Sequence[Any]) -> bool:
        return bool(await self._value(query, params))

    async def _value(self, query: Query, params: Sequence[Any]) -> Any:
        row = await self._call(query, params)
        return next(iter(row.values()))

    async def _call(self, query: Query, params: Sequence[Any]) -> DictRow:
        rows = await self._rows(query, params)
        return rows[0]

    async def _rows(self, query: Query, params: Sequence[Any]) -> list[DictRow]:
        """Run one statement; a broken connection is replaced and the call repeated while time is left."""
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS
        while True:
            try:
                return await self._in_time(query, params, deadline)
            except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
                ours, resend = translate(error)
                pause = PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
                if resend == "never" or asyncio.get_running_loop().time() + pause > deadline:
                    raise ours from error
            await asyncio.sleep(pause)

    async def _in_time(self, query: Query, params: Sequence[Any], deadline: float) -> list[DictRow]:
        """Answer or raise by `deadline`, whatever the network does.

        A task of its own, because a cancelled call first asks the server to stop: where that is silent,
        psycopg needs ten seconds more to give the connection up, and nobody has to wait for that.
        """
        running = asyncio.create_task(self._run(query, params))
        running.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to look
        try:
            await asyncio.wait((running,), timeout=deadline - asyncio.get_running_loop().time())
            if running.done():
                return running.result()
        finally:
            running.cancel()
        if self._refusal is not None:
            raise self._refusal
        if self._reason:
            raise LedgerUnavailable(f"the database of DATABASE_URL does not answer: {self._reason}")
        raise LedgerUnavailable("the database does not answer")

    def _note_reason(self, reason: str) -> None:
        self._reason = reason
        if reason:
            self._refusal = None

    async def _set_up(self, connection: Connection) -> None:
        try:
            self._note_pooler(await connection.set_up(self._mode))
        except psycopg.Error as error:
            self._refusal = error
            raise
        self._refusal = None

    def _note_pooler(self, pooler: Pooler | None) -> None:
        if pooler is not None and pooler != self._pooler:
            logger.info("a %s; see docs/settings.md", pooler)
        self._pooler = pooler

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
                    self._hints.announce_all()  # whatever was missed while we did not listen
                    is_away = False
                    async for notification in connection.notifies():
                        self._hints.announce(notification.payload)
            except psycopg.Error as error:
                if not is_away:  # said once, not with every try
                    logger.info("notifications interrupted, trying on: %s", reason_of(error))
                is_away = True
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret


def _columns(upload: Upload) -> tuple[str, str, int, str, int, int]:
    return (upload.path, upload.digest, upload.size_bytes, upload.format, upload.width, upload.height)
