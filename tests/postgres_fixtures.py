"""A real Postgres for tests: one cluster a session, one database a test, cloned from a migrated template."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import psycopg
import pytest

from clusters import open_folder
from copperplate.local.bootstrap import bootstrap, create_database, drop_database
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """An embedded cluster of this test process alone, in a folder that Postgres' own user can enter."""
    # Durability is what the cluster's own tests are about; everywhere else it only costs time.
    with open_folder() as folder, Cluster.start(folder, is_durable=False) as running:
        bootstrap(running.superuser_url, passwords=running.passwords)
        create_database(running.superuser_url, TEMPLATE, template="postgres")
        migrate(running.url(database=TEMPLATE), announce=ignore)
        yield running


@pytest.fixture
def make_database(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes migrated, empty databases; each call answers a new name."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        create_database(cluster.superuser_url, name, template=TEMPLATE)
        made.append(name)
        return name

    yield make
    for name in made:
        drop_database(cluster.superuser_url, name)


@pytest.fixture
def database(make_database: Callable[[], str]) -> str:
    """The name of a migrated, empty database."""
    return make_database()


@pytest.fixture
def owner_url(cluster: Cluster, database: str) -> str:
    """A libpq URL of that database for the owner of the schema."""
    return cluster.url(database=database)


def usage_of(url: str, key: str) -> dict[str, int]:
    """What the provider reported for a generation, read past every adapter."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select provider_usage from public.generation_status where prompt_hash = %s", (key,)
        ).fetchone()
    assert row is not None
    return dict(row[0])
