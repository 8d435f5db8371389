"""A pytest plugin: which functions of the database each test calls, as Postgres counts them. Used by `--map`."""

from __future__ import annotations

import functools
import json
import os
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from copperplate.local import bootstrap
from scripts.planted_changes.coverage_map import CALLS_FILE

# A function that Postgres writes into the query that calls it is not counted.
_calls: dict[str, set[str]] = defaultdict(set)
_make, _drop = bootstrap.create_database, bootstrap.drop_database


@functools.cache
def _count_calls(superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("alter system set track_functions = 'all'")
        connection.execute("select pg_reload_conf()")


def _create_database(superuser_url: str, name: str, template: str | None = None) -> None:
    _count_calls(make_conninfo(superuser_url, dbname=bootstrap.MAINTENANCE_DATABASE))
    _make(superuser_url, name, template)


def _drop_database(superuser_url: str, name: str) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0].partition("[")[0]
    try:
        with psycopg.connect(make_conninfo(superuser_url, dbname=name)) as connection:
            rows = connection.execute("select schemaname || '.' || funcname from pg_stat_user_functions").fetchall()
    except psycopg.Error:
        rows = []  # it is gone already
    for (function,) in rows:
        if not function.startswith("extensions."):
            _calls[function].add(test)
    _drop(superuser_url, name)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before the fixtures import them."""
    bootstrap.create_database, bootstrap.drop_database = _create_database, _drop_database


def pytest_sessionfinish(session: pytest.Session) -> None:  # noqa: ARG001 - pytest's signature
    """Write what was counted."""
    if path := os.environ.get(CALLS_FILE):
        Path(path).write_text(json.dumps({name: sorted(tests) for name, tests in sorted(_calls.items())}))
