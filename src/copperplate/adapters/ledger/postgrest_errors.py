"""What PostgREST, the gateway before it and the network answer in place of a row, as our errors."""

from __future__ import annotations

import json

import aiohttp
import httpx

from copperplate.adapters.ledger.refusals import REFUSALS
from copperplate.errors import CopperplateError, LedgerMisconfigured, LedgerUnavailable


class Refused(Exception):
    """An answer that is no success: its HTTP status and the code of its body (a SQLSTATE or PGRST…), never its words.

    The words may quote a row, and rows hold prompts.
    """

    def __init__(self, status: int, code: str | None) -> None:
        super().__init__(f"HTTP {status}, code {code}")
        self.status = status
        self.code = code

    @classmethod
    def of(cls, response: httpx.Response) -> Refused:
        """What such an answer says."""
        try:
            code = json.loads(response.content)["code"]
        except (ValueError, TypeError, KeyError):  # a page of some gateway
            code = None
        return cls(response.status_code, code if isinstance(code, str) else None)


class Garbled(Exception):
    """A success that cannot be read: cut off on the way, or not PostgREST's."""


# The first row that fits decides: the class of an exception; or the code, or else the HTTP status, of a refusal.
# Codes stand above statuses, which say less. The flag says whether another try may help.
Sign = type[Exception] | tuple[str | int, ...]
ErrorRow = tuple[Sign, type[LedgerUnavailable | LedgerMisconfigured], bool, str]
ERRORS: tuple[ErrorRow, ...] = (
    (TimeoutError, LedgerUnavailable, False, "the database does not answer in time"),
    (httpx.UnsupportedProtocol, LedgerMisconfigured, False, "SUPABASE_URL is not an http address"),
    (httpx.PoolTimeout, LedgerUnavailable, False, "too many requests wait for a connection to Supabase"),
    (httpx.HTTPError, LedgerUnavailable, True, "the database does not answer"),
    (aiohttp.ClientError, LedgerUnavailable, True, "the database does not answer"),
    (Garbled, LedgerUnavailable, True, "the database's answer cannot be read"),
    # Rolled back by the server: a deadlock, a lock that was not to be had, a stricter isolation than ours.
    (("40P01", "55P03", "40001"), LedgerUnavailable, True, "the database is busy"),
    (("57014",), LedgerUnavailable, False, "the database took too long"),
    (("PGRST003",), LedgerUnavailable, False, "no database connection was free in time"),
    (("57P01", "57P02", "57P03"), LedgerUnavailable, True, "the database does not answer"),
    (("25006",), LedgerUnavailable, False, "the database takes no writes: its disk may be full"),
    (
        ("PGRST202", "PGRST203"),
        LedgerMisconfigured,
        False,
        (
            "Supabase does not know our functions: run `copperplate migrate` with DATABASE_URL set, or paste "
            "sql/setup.sql; if that was done, run `notify pgrst, 'reload schema'`"
        ),
    ),
    (
        ("42883", "42P01", "3F000", "PGRST205"),
        LedgerMisconfigured,
        False,
        (
            "the database lacks what our functions need: run `copperplate migrate` with DATABASE_URL set, or paste "
            "sql/setup.sql"
        ),
    ),
    (("PGRST106",), LedgerMisconfigured, False, "Supabase's API must expose the schema public: see its API settings"),
    (("PGRST300",), LedgerMisconfigured, False, "this PostgREST has no JWT secret: set PGRST_JWT_SECRET where it runs"),
    (
        # 22023: the token names a role that does not exist.
        ("42501", "22023", "PGRST301", "PGRST302", "PGRST303", 401, 403),
        LedgerMisconfigured,
        False,
        "SUPABASE_SECRET_KEY: it may not use our functions; it must be a secret or service_role key of this project",
    ),
    ((404,), LedgerMisconfigured, False, "SUPABASE_URL: there is no data API at this address"),
    ((301, 302, 303, 307, 308), LedgerMisconfigured, False, "SUPABASE_URL: this address sends us to another"),
    ((402, 540), LedgerMisconfigured, False, "the Supabase project is paused or restricted: see its dashboard"),
    ((429,), LedgerUnavailable, False, "Supabase limits our rate"),
    # Gateways that found nobody behind them, or waited in vain.
    ((408, 502, 503, 504, 520, 521, 522, 523, 524, 544), LedgerUnavailable, True, "the database does not answer"),
    (Refused, LedgerUnavailable, False, "the database refused the call"),
)


def translate(error: Exception) -> tuple[CopperplateError, bool]:
    """Our error for a foreign one, and whether another try may help."""
    if isinstance(error, Refused) and (refusal := REFUSALS.get(error.code)):
        return refusal(), False
    for sign, ours, may_help, message in ERRORS:
        if _fits(sign, error):
            return ours(message), may_help
    raise error


def _fits(sign: Sign, error: Exception) -> bool:
    if isinstance(sign, type):
        return isinstance(error, sign)
    return isinstance(error, Refused) and (error.code in sign or error.status in sign)
