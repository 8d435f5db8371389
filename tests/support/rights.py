"""The rights of the API roles: as the database has them, and as `rights.csv` says they should be.

A cell is one role, one object and one verb. What a cell does not grant is refused.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

MATRIX = Path(__file__).parents[1] / "rights.csv"
ROLES = ("anon", "authenticated", "service_role")
VERBS = {
    "schema": ("usage", "create"),
    "table": ("select", "insert", "update", "delete", "truncate", "references", "trigger"),
    "view": ("select", "insert", "update", "delete", "truncate", "references", "trigger"),
    "sequence": ("usage", "select", "update"),
    "type": ("usage",),
    "function": ("execute",),
    "policy": ("select", "insert", "update", "delete"),
    "bucket": ("download", "select", "insert", "update", "delete"),
}
# Everything of ours that has rights; the type of a table's rows has none that matter without the table.
OBJECTS = """
select 'schema', n.nspname::text, n.oid
from pg_namespace as n
where n.nspname = any(%(schemas)s)
union all
select
    case c.relkind
        when 'r' then 'table' when 'p' then 'table' when 'f' then 'table' when 'S' then 'sequence' else 'view'
    end,
    n.nspname || '.' || c.relname,
    c.oid
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p', 'f', 'S', 'v', 'm')
union all
select 'type', n.nspname || '.' || t.typname, t.oid
from pg_type as t
inner join pg_namespace as n on t.typnamespace = n.oid
left join pg_class as c on t.typrelid = c.oid
where n.nspname = any(%(schemas)s) and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')
union all
select 'function', n.nspname || '.' || p.proname, p.oid
from pg_proc as p
inner join pg_namespace as n on p.pronamespace = n.oid
where n.nspname = any(%(schemas)s)
"""
SCHEMAS = ["public", "copperplate"]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One thing that one role may do."""

    kind: str
    name: str
    role: str
    verb: str

    def __str__(self) -> str:
        return f"{self.role} may {self.verb} {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done, and everything that was asked about."""

    allowed: frozenset[Cell]
    asked: frozenset[Cell]


def cells(kind: str, name: str) -> frozenset[Cell]:
    """Every cell of an object."""
    return frozenset(Cell(kind, name, role, verb) for role in ROLES for verb in VERBS[kind])


def read_matrix() -> Rights:
    """The matrix that is checked in. A cell lists verbs; `all` is every verb of its kind."""
    allowed: set[Cell] = set()
    asked: set[Cell] = set()
    with MATRIX.open(newline="") as file:
        for row in csv.DictReader(file):
            kind, name = row["kind"], row["name"]
            assert cells(kind, name).isdisjoint(asked), f"{kind} {name} is in {MATRIX.name} twice"
            asked |= cells(kind, name)
            for role in ROLES:
                verbs = set(row[role].split())
                assert verbs <= set(VERBS[kind]), f"{kind} {name} knows no {verbs - set(VERBS[kind])}"
                allowed |= {Cell(kind, name, role, verb) for verb in verbs}
    return Rights(frozenset(allowed), frozenset(asked))


def read_database(connection: psycopg.Connection[Any]) -> Rights:
    """What the database grants, in the same words."""
    allowed: set[Cell] = set()
    asked: set[Cell] = set()
    for kind, name, oid in connection.execute(OBJECTS, {"schemas": SCHEMAS}).fetchall():
        assert cells(kind, name).isdisjoint(asked), f"{kind} {name} exists twice: PostgREST cannot choose"
        asked |= cells(kind, name)
        allowed |= {cell for cell in cells(kind, name) if _has(connection, cell, oid)}
    for read in (_read_policies, _read_buckets):
        part = read(connection)
        allowed |= part.allowed
        asked |= part.asked
    return Rights(frozenset(allowed), frozenset(asked))


def describe_differences(database: Rights, matrix: Rights) -> list[str]:
    """One line for each cell and each object in which the two differ; empty where they are equal."""
    unknown = {f"{cell.kind} {cell.name}" for cell in database.asked - matrix.asked}
    gone = {f"{cell.kind} {cell.name}" for cell in matrix.asked - database.asked}
    return [
        *(f"the database has {each}, the matrix does not" for each in sorted(unknown)),
        *(f"the matrix has {each}, the database does not" for each in sorted(gone)),
        *(f"{cell} in the database, not in the matrix" for cell in sorted(database.allowed - matrix.allowed)),
        *(f"{cell} in the matrix, not in the database" for cell in sorted(matrix.allowed - database.allowed)),
    ]


def _has(connection: psycopg.Connection[Any], cell: Cell, oid: int) -> bool:
    kind = {"view": "table"}.get(cell.kind, cell.kind)
    question = f"select has_{kind}_privilege(%s, %s::oid, %s)"
    row = connection.execute(question.encode(), (cell.role, oid, cell.verb)).fetchone()
    return bool(row and row[0])


def _read_policies(connection: psycopg.Connection[Any]) -> Rights:
    """Which rows a policy opens; without one, row-level security shows none."""
    found = connection.execute(
        "select schemaname || '.' || tablename || ' ' || policyname, roles::text[], lower(cmd) from pg_policies"
        " where schemaname = any(%s)",
        [[*SCHEMAS, "storage"]],
    ).fetchall()
    asked = frozenset(cell for name, _, _ in found for cell in cells("policy", name))
    allowed = frozenset(
        Cell("policy", name, role, verb)
        for name, roles, command in found
        for role in ROLES
        for verb in VERBS["policy"]
        if ({role, "public"} & set(roles)) and command in {verb, "all"}
    )
    return Rights(allowed, asked)


def _read_buckets(connection: psycopg.Connection[Any]) -> Rights:
    """What each role may do with the objects of each bucket; Storage acts with the rights of the caller."""
    buckets = connection.execute("select id, public from storage.buckets").fetchall()
    asked = frozenset(cell for bucket, _ in buckets for cell in cells("bucket", bucket))
    allowed = {Cell("bucket", bucket, role, "download") for bucket, is_public in buckets for role in ROLES if is_public}
    allowed |= {cell for cell in asked if cell.verb != "download" and _succeeds(connection, cell)}
    return Rights(frozenset(allowed), asked)


def _succeeds(connection: psycopg.Connection[Any], cell: Cell) -> bool:
    """Whether the role reaches an object of the bucket: tried and undone, since policies decide by row."""
    statement = {
        "select": "select from storage.objects where bucket_id = %s",
        "insert": "insert into storage.objects (bucket_id, name) values (%s, 'new.png')",
        "update": "update storage.objects set name = 'moved.png' where bucket_id = %s",
        "delete": "delete from storage.objects where bucket_id = %s",
    }[cell.verb]
    try:
        with connection.transaction():
            connection.execute("insert into storage.objects (bucket_id, name) values (%s, 'old.png')", [cell.name])
            connection.execute(f"set local role {cell.role}".encode())
            reached = connection.execute(statement.encode(), [cell.name]).rowcount > 0
            raise psycopg.Rollback
    except psycopg.errors.InsufficientPrivilege:
        return False
    return reached
