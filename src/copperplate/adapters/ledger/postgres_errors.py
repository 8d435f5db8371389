"""What psycopg and its pool raise, as our errors."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from copperplate.adapters.ledger.refusals import REFUSALS
from copperplate.errors import CopperplateError, LedgerMisconfigured, LedgerUnavailable, PoolerExhausted

HIDDEN_POOLER = "a pooler is in front of the database of DATABASE_URL: set COPPERPLATE_POOLER=transaction"
# Also said of a database that takes connections and has never answered, which no pooler is in front of.
NO_SESSION = (
    "the database of DATABASE_URL took the connection and lends no session: a pooler in front of it has lent all it "
    "may. Raise its default_pool_size to 8 for each process, 9 with COPPERPLATE_POOLER=session, or run fewer processes"
)
# Foreign exceptions stop here: the first class that fits decides, also whether another try may help. Every call may be
# sent again: one whose outcome is unknown gets the answer of the first.
ErrorRow = tuple[type[Exception], type[LedgerUnavailable | LedgerMisconfigured], bool, str]
ERRORS: tuple[ErrorRow, ...] = (
    # Rolled back by the server.
    (psycopg.errors.DeadlockDetected, LedgerUnavailable, True, "the database is busy"),
    (psycopg.errors.LockNotAvailable, LedgerUnavailable, True, "the database is busy"),
    (psycopg.errors.QueryCanceled, LedgerUnavailable, False, "the database took too long"),
    (PoolTimeout, LedgerUnavailable, False, "no database connection was free in time"),
    (TooManyRequests, LedgerUnavailable, False, "too many requests wait for a database connection"),
    (psycopg.errors.ProtocolViolation, PoolerExhausted, True, NO_SESSION),  # query_wait_timeout
    (psycopg.OperationalError, LedgerUnavailable, True, "the database does not answer"),
    (psycopg.InterfaceError, LedgerUnavailable, True, "the database connection is broken"),
    (
        psycopg.errors.UndefinedFunction,
        LedgerMisconfigured,
        False,
        "the database lacks our functions: run `copperplate migrate`",
    ),
    (
        psycopg.errors.UndefinedTable,
        LedgerMisconfigured,
        False,
        "the database lacks our tables: run `copperplate migrate`",
    ),
    (
        psycopg.errors.InvalidSchemaName,
        LedgerMisconfigured,
        False,
        "the database lacks our schema: run `copperplate migrate`",
    ),
    (
        psycopg.errors.InsufficientPrivilege,
        LedgerMisconfigured,
        False,
        "DATABASE_URL: its role may not use Copperplate's functions; make it a member of service_role",
    ),
    (
        psycopg.errors.InvalidParameterValue,  # of setting the role; no call of ours can cause it
        LedgerMisconfigured,
        False,
        "the database has no role service_role: run `copperplate migrate`, which says what to do",
    ),
    # A session that is not ours alone, behind a pooler that gave itself out for Postgres.
    (psycopg.errors.DuplicatePreparedStatement, LedgerMisconfigured, False, HIDDEN_POOLER),
    (psycopg.errors.InvalidSqlStatementName, LedgerMisconfigured, False, HIDDEN_POOLER),
    (psycopg.Error, LedgerUnavailable, False, "the database refused the call"),
)


def translate(error: Exception) -> tuple[CopperplateError, bool]:
    """Our error for a foreign one, and whether another try may help."""
    if isinstance(error, psycopg.Error) and (refusal := REFUSALS.get(error.diag.sqlstate)):
        return refusal(), False
    for foreign, ours, may_help, message in ERRORS:
        if isinstance(error, foreign):
            return ours(message), may_help
    raise error
