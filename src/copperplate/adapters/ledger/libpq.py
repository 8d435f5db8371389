"""What libpq makes of a URL, and what it says where it cannot connect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from copperplate.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_url(database_url: str) -> Mapping[str, Any]:
    """The parameters of a connection URL, by libpq's names; raises `Misconfigured`."""
    try:
        return conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        # Its own words may quote a part of the password.
        unknown = ", ".join(_unknown_parameters(database_url))
        fault = (
            f"has parameters that libpq does not know ({unknown})" if unknown else "is not a URL that libpq can read"
        )
        raise Misconfigured(f"DATABASE_URL {fault}. See docs/settings.md.") from None


def _unknown_parameters(database_url: str) -> list[str]:
    """Their names; none where what follows the first question mark may be the end of a password."""
    query = database_url.partition("?")[2]
    if "@" in query:
        return []
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    names = [pair.partition("=")[0] for pair in query.split("&")]
    return [name for name in names if name.isidentifier() and name not in known]


def reason_of(error: psycopg.Error) -> str:
    """Why no connection was made, in one line: for an operator, as it names the host, the role and the database.

    A refused connection carries no SQLSTATE, so these words are all there is to tell a wrong password from a
    database that is down. They never hold the password.
    """
    line = str(error).strip().partition("\n")[0]
    return line.removeprefix("connection failed: ").removeprefix("connection is bad: ")
