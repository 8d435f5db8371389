"""Fixtures: a real PostgREST over the test's database, and the gateway of Supabase before it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from scripts import npm
from tests.support.postgrest_server import PostgrestServer, find_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.standin.supabase import Supabase


@pytest.fixture(scope="session")
def postgrest_binary() -> Path:
    try:
        return find_binary()
    except npm.NotInstallable as error:
        pytest.skip(f"no PostgREST: {error}")


@pytest.fixture
def make_postgrest(cluster: Cluster, database: str, postgrest_binary: Path) -> Iterator[Callable[..., PostgrestServer]]:
    """Starts PostgREST over the test's database; the arguments are its settings (`db_pool=2`)."""
    with ExitStack() as started:

        def make(**settings: object) -> PostgrestServer:
            url = cluster.url(role="authenticator", database=database)
            return started.enter_context(PostgrestServer(postgrest_binary, url, **settings))

        yield make


@pytest.fixture
def postgrest(make_postgrest: Callable[..., PostgrestServer]) -> PostgrestServer:
    """PostgREST as Supabase runs it, without what stands before it there."""
    return make_postgrest()


@pytest.fixture
def supabase(postgrest: PostgrestServer) -> Iterator[Supabase]:
    """A Supabase project: its address, its keys of both generations, and its database behind a real PostgREST."""
    from tests.standin.supabase import Supabase

    with Supabase(postgrest.url) as project:
        yield project
