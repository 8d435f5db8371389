"""What libpq says where it cannot connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def reason_of(error: psycopg.Error) -> str:
    """Why no connection was made, in one line: for an operator, as it names the host, the role and the database.

    A refused connection carries no SQLSTATE, so these words are all there is to tell a wrong password from a
    database that is down. They never hold the password.
    """
    line = str(error).strip().partition("\n")[0]
    return line.removeprefix("connection failed: ").removeprefix("connection is bad: ")
