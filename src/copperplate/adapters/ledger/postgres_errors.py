"""What psycopg and its pool raise, as our errors."""

from __future__ import annotations

from typing import Literal

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from copperplate.errors import LedgerUnavailable, Misconfigured, PoolerExhausted

HIDDEN_POOLER = "a pooler is in front of the database of DATABASE_URL: set COPPERPLATE_POOLER=transaction"
# Also what a database says that takes connections and answers nothing, which no pooler is in front of.
NO_SESSION = (
    "the database of DATABASE_URL took the connection and lends no session: a pooler in front of it has lent all it "
    "may. Raise its default_pool_size to 8 for each process, 9 with COPPERPLATE_POOLER=session, or run fewer processes"
)
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
    (psycopg.errors.ProtocolViolation, PoolerExhausted, "if_repeatable", NO_SESSION),  # query_wait_timeout
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
