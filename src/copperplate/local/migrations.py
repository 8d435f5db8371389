"""Applies `supabase/migrations` to any Postgres, recorded as `supabase migration up` records them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from copperplate.local.bootstrap import connect
from copperplate.local.errors import (
    MigrationEdited,
    MigrationFailed,
    MigrationMisnamed,
    MigrationsMissing,
    MigrationUnknown,
    RolesMissing,
)
from copperplate.local.statements import Statement, split_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.local.bootstrap import Connection

FILE_NAME = re.compile(r"(\d+)_(.*)\.sql")
CHECKOUT_FOLDER = Path("supabase") / "migrations"
REQUIRED_ROLES = ("anon", "authenticated", "service_role")
# Any number will do; all migrators of a database must use the same.
LOCK_KEY = 0x636F_7070_6572
LOCK_SECONDS = 60
# As the Supabase CLI makes it; hosted projects may have more columns, all of them optional.
HISTORY = b"""
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of the migrations folder."""

    version: str
    name: str
    statements: tuple[Statement, ...]

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return f"{self.version}_{self.name}.sql"

    @property
    def texts(self) -> list[str]:
        """The statements as they are recorded."""
        return [statement.text for statement in self.statements]


def migrate(owner_url: str, *, announce: Callable[[str], None], folder: Path | None = None) -> Sequence[Migration]:
    """Apply what the database of `owner_url` lacks, each file in one transaction; return what was applied.

    Buckets of Supabase Storage that were deleted since their migration are made again, as that makes them.
    Several processes may do this at once: each file is applied by one of them. Raises a `MigrationError`.
    """
    migrations = read_migrations(folder or find_migrations_folder())
    applied: list[Migration] = []
    compared: set[str] = set()
    try:
        with connect(owner_url, autocommit=True) as connection:
            _prepare(connection)
            while migration := _apply_next(connection, migrations, compared):
                announce(f"Applied {migration.file_name}")
                applied.append(migration)
            for bucket in _restore_buckets(connection):
                announce(f"Made the bucket {bucket} again")
            connection.execute("notify pgrst, 'reload schema'")
    except psycopg.errors.ProtocolViolation as exc:
        # PgBouncer's own words for a transaction where it lends a session for one statement.
        reason = exc.diag.message_primary or str(exc)
        message = (
            f"A pooler in front of the database refuses it ({reason}): migrate past it, at the database's own address, "
            "or through a pooler in transaction or session mode"
        )
        raise MigrationFailed(message) from exc
    except psycopg.Error as exc:
        message = f"The database could not be migrated: {exc}. Files applied before this are kept"
        raise MigrationFailed(message) from exc
    return applied


def find_migrations_folder() -> Path:
    """Return the checkout's `supabase/migrations`, or in an installed package the copy in the wheel."""
    here = Path(__file__).resolve()
    for parent in here.parents:
        if (parent / "pyproject.toml").is_file() and (parent / CHECKOUT_FOLDER).is_dir():
            return parent / CHECKOUT_FOLDER
    packaged = here.parent / "migrations"
    if packaged.is_dir():
        return packaged
    message = f"There is no folder {CHECKOUT_FOLDER} above {here.parent} and none in the package: install it again"
    raise MigrationsMissing(message)


def read_migrations(folder: Path) -> list[Migration]:
    """Return the migrations in `folder` in the order they are applied in."""
    if not folder.is_dir():
        message = f"There is no folder {folder} to read migrations from"
        raise MigrationsMissing(message)
    migrations: dict[str, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(file.name)
        if match is None or match[1] in migrations:
            reason = f"repeats the version of {migrations[match[1]].file_name}" if match else "has no version in front"
            message = f"Migration {file.name} {reason}: name it <YYYYMMDDHHMMSS>_<verb>_<object>.sql"
            raise MigrationMisnamed(message)
        statements = tuple(split_statements(file.read_text(encoding="utf-8")))
        migrations[match[1]] = Migration(version=match[1], name=match[2], statements=statements)
    return list(migrations.values())


def _prepare(connection: Connection) -> None:
    _require_roles(connection)
    with connection.transaction():
        _take_lock(connection)
        _run(connection, HISTORY, "The table of applied migrations")


def _require_roles(connection: Connection) -> None:
    rows = connection.execute("select rolname from pg_catalog.pg_roles where rolname = any(%s)", [list(REQUIRED_ROLES)])
    if missing := sorted(set(REQUIRED_ROLES) - {row[0] for row in rows}):
        message = (
            f"This database has no role {', '.join(missing)}, which every Supabase project has. On a Postgres of your "
            "own, make them once as superuser (docs/settings.md has the SQL) and grant them to the role in DATABASE_URL"
        )
        raise RolesMissing(message)


def _apply_next(connection: Connection, migrations: Sequence[Migration], compared: set[str]) -> Migration | None:
    """Apply the first migration the database lacks and return it, or None where it lacks none.

    What is recorded is compared with its file once: `compared` has the versions for which that is done.
    """
    with connection.transaction():
        _take_lock(connection)
        rows = connection.execute(
            "select version, case when version <> all (%s) then statements end"
            " from supabase_migrations.schema_migrations",
            [list(compared)],
        )
        recorded = {str(version): statements for version, statements in rows}
        _compare(migrations, recorded)
        compared.update(recorded)
        pending = next((m for m in migrations if m.version not in recorded), None)
        if pending is None:
            return None
        # Recorded first: a file may change the role, or the search path, for what follows it.
        record = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"
        connection.execute(record, [pending.version, pending.name, pending.texts])
        for number, statement in enumerate(pending.statements, start=1):
            _run(connection, statement.text.encode(), f"{pending.file_name}, statement {number}", statement.line)
        # What the file set for the session must not reach the next one, nor, behind a pooler, anybody else: after the
        # transaction this connection may have another session.
        connection.execute("reset all")
        connection.execute("reset role")
    return pending


def _restore_buckets(connection: Connection) -> list[str]:
    """Make the buckets that are gone, and leave alone what is there; answers what it made."""
    row = connection.execute(
        "select to_regclass('storage.buckets') is not null and to_regproc('copperplate.make_buckets') is not null"
    ).fetchone()
    if row is None or not row[0]:
        return []
    with connection.transaction():
        before = connection.execute("select id from storage.buckets").fetchall()
        _run(connection, b"select copperplate.make_buckets()", "Making the buckets that are gone")
        return sorted(
            str(found[0]) for found in connection.execute("select id from storage.buckets") if found not in before
        )


def _take_lock(connection: Connection) -> None:
    """Wait for other migrators; the lock ends with the transaction, so a transaction pooler does no harm."""
    connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'".encode())
    _run(connection, f"select pg_advisory_xact_lock({LOCK_KEY})".encode(), "Waiting for another migration to end")


def _compare(migrations: Sequence[Migration], recorded: dict[str, list[str] | None]) -> None:
    files = {migration.version: migration for migration in migrations}
    for version, texts in recorded.items():
        if version not in files:
            message = (
                f"The database has migration {version}, but there is no such file: it was migrated by a newer version "
                "of copperplate, or by another project. Install that version, or start anew with `--reset`"
            )
            raise MigrationUnknown(message)
        # Not every recorder splits alike, and some record no text at all; only the text itself tells of an edit.
        if texts and _squeeze(texts) != _squeeze(files[version].texts):
            message = (
                f"{files[version].file_name} has changed since it was applied: restore the file, or start anew with "
                "`--reset`, which throws away the database (not the pictures)"
            )
            raise MigrationEdited(message)


def _squeeze(texts: Sequence[str]) -> str:
    return re.sub(r"[\s;]+", "", "".join(texts))


def _run(connection: Connection, statement: bytes, what: str, line: int | None = None) -> None:
    try:
        connection.execute(statement)
    except psycopg.Error as exc:
        position = int(exc.diag.statement_position or 1)
        before = statement.decode()[: position - 1].count("\n")
        place = f"{what}, line {line + before}" if line is not None else what
        hint = f" ({exc.diag.message_hint})" if exc.diag.message_hint else ""
        reason = exc.diag.message_primary or str(exc)
        message = f"{place}: {reason}{hint} [{exc.sqlstate}]. Nothing of it was kept"
        raise MigrationFailed(message) from exc
