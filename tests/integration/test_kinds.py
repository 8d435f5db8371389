"""A kind in SQL and in Python is one thing."""

from __future__ import annotations

from dataclasses import fields

import psycopg

from copperplate.recipes.kinds import KINDS

OF_PYTHON = {
    "is_kept_as_made",
    "has_inputs",
    "plural",
    "needs",
    "wait_factor",
    "provider",
    "keeps_its_provider",
    "model_variable",
    "is_optional",
    "read",
}


def test_kinds_are_the_same_in_sql_and_in_python(owner_url: str) -> None:
    columns = [column.name for column in fields(next(iter(KINDS.values()))) if column.name not in OF_PYTHON]
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute(
            f"select {', '.join(columns)} from copperplate.kinds order by name".encode()
        ).fetchall()
        described = [column.name for column in connection.execute("select * from copperplate.kinds").description or ()]
    assert sorted(columns) == sorted(described)
    assert rows == [tuple(getattr(KINDS[name], column) for column in columns) for name in sorted(KINDS)]
