"""Turns an empty database into one that looks like a new Supabase project."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from copperplate.adapters.ledger.libpq import read_url, reason_of
from copperplate.local.errors import DatabaseUnreachable
from copperplate.local.passwords import scram_verifier

if TYPE_CHECKING:
    from copperplate.local.passwords import Passwords

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

LOGIN_ROLES = ("postgres", "authenticator")
# Databases cannot be made or dropped from inside themselves.
MAINTENANCE_DATABASE = "template1"


def bootstrap(superuser_url: str, *, passwords: Passwords, expose_new_tables: bool = True) -> bool:
    """Make the roles, schemas and rights that Supabase has; return whether there was anything to do.

    `expose_new_tables` chooses between the two kinds of Supabase project: new tables and functions in
    public go to the API roles by themselves (True), or nobody gets anything without a grant (False).
    """
    script = files("copperplate.local").joinpath("bootstrap.sql").read_text(encoding="utf-8")
    mark = f"copperplate bootstrap {sha256(script.encode()).hexdigest()[:16]} expose={expose_new_tables}"
    with connect(superuser_url) as connection:
        if _read_mark(connection) == mark:
            return False
        # Roles are shared by all databases of the cluster, which advisory locks are not.
        connection.execute("lock table pg_catalog.pg_authid in share row exclusive mode")
        if _read_mark(connection) == mark:
            return False
        connection.execute(
            "select set_config('copperplate.expose_new_tables', %s, true)", [str(expose_new_tables).lower()]
        )
        connection.execute(script.encode())
        for role in LOGIN_ROLES:
            _set_password(connection, role, passwords.of(role))
        connection.execute(sql.SQL("comment on schema extensions is {}").format(mark))
    return True


def create_database(superuser_url: str, name: str, template: str | None = None) -> None:
    """Make database `name`, empty or as a copy of `template`, to which nobody may be connected then."""
    # A new database gets its owner with the bootstrap, which makes the role; a copy of one needs none.
    # Copying files is quicker than logging every page of a template.
    owner = sql.SQL(" owner postgres strategy file_copy" if template else "")
    statement = sql.SQL("create database {} template {}{}").format(
        sql.Identifier(name), sql.Identifier(template or "template0"), owner
    )
    with connect(superuser_url, database=MAINTENANCE_DATABASE, autocommit=True) as connection:
        connection.execute(statement)


def drop_database(superuser_url: str, name: str) -> None:
    """Drop database `name` if there is one, and disconnect whoever uses it."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    with connect(superuser_url, database=MAINTENANCE_DATABASE, autocommit=True) as connection:
        connection.execute(statement)


def contents(superuser_url: str) -> str:
    """What a reset would throw away, in words; also of a database whose schema is not ours."""
    counts = "select (select count(*) from public.generation_status), (select count(*) from copperplate.accounts)"
    try:
        with connect(superuser_url) as connection:
            row = connection.execute(counts.encode()).fetchone()
    except psycopg.Error:
        return "its tables are not those of this version, and cannot be counted"
    assert row is not None  # noqa: S101 - counting answers one row
    return f"{row[0]:,} generations and {row[1]:,} accounts with their credits"


def reset(superuser_url: str, *, passwords: Passwords, expose_new_tables: bool = True) -> None:
    """Throw away everything in the database of `superuser_url` and bootstrap it anew, without migrations."""
    name = str(conninfo_to_dict(superuser_url)["dbname"])
    drop_database(superuser_url, name)
    create_database(superuser_url, name)
    bootstrap(superuser_url, passwords=passwords, expose_new_tables=expose_new_tables)


def connect(url: str, *, database: str | None = None, autocommit: bool = False) -> Connection:
    """Connect; the connection closes, and commits, with its `with` block.

    Raises `DatabaseUnreachable`, and `Misconfigured` where `url` is none.
    """
    read_url(url)
    conninfo = make_conninfo(url, dbname=database) if database else url
    try:
        # No prepared statements: a transaction pooler gives every transaction another session.
        return psycopg.connect(conninfo, autocommit=autocommit, prepare_threshold=None)
    except psycopg.OperationalError as exc:
        message = f"The database cannot be reached: {reason_of(exc)}. Check DATABASE_URL, or that it runs"
        raise DatabaseUnreachable(message) from exc


def _read_mark(connection: Connection) -> object:
    row = connection.execute(
        "select obj_description(oid, 'pg_namespace') from pg_catalog.pg_namespace where nspname = 'extensions'"
    ).fetchone()
    return row[0] if row else None


def _set_password(connection: Connection, role: str, password: str) -> None:
    # Hashed here, so that the server never sees it in a statement that it might log.
    connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), scram_verifier(password)))
