"""The buckets of the migrations, in a database that has Supabase Storage's tables and in one that has not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.imaging.header import MAX_BODY_BYTES
from copperplate.local.bootstrap import create_database, drop_database
from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

# As Storage makes them: its own role's, behind row-level security, and open to all roles that pass it.
STORAGE = """
set role supabase_storage_admin;
create table storage.buckets (
    id text primary key, name text not null unique, owner uuid, owner_id text, public boolean default false,
    avif_autodetection boolean default false, file_size_limit bigint, allowed_mime_types text[],
    created_at timestamptz default now(), updated_at timestamptz default now()
);
create table storage.objects (
    id uuid primary key default gen_random_uuid(), bucket_id text references storage.buckets (id), name text,
    owner_id text, metadata jsonb, version text, created_at timestamptz default now(), unique (bucket_id, name)
);
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant all on storage.buckets, storage.objects to postgres, anon, authenticated, service_role;
reset role;
"""
PICTURES = ["image/jpeg", "image/png", "image/webp", "image/avif"]
POSTER = """
insert into copperplate.kinds (name, bucket, is_public, is_own_original, max_bytes, retention)
values ('poster', 'poster-images', false, true, 1000000, interval '7 days')
"""
BUCKETS = [
    ("generated-images", True, MAX_BODY_BYTES, PICTURES),
    ("memoji-images", True, 5 * 1024 * 1024, PICTURES),
    # Private: what is to be processed may be uploaded to it.
    ("processed-images", False, MAX_BODY_BYTES, [*PICTURES, "image/gif"]),
]


@pytest.fixture
def with_storage(cluster: Cluster) -> Iterator[str]:
    """The name of a database like a new Supabase project's: Storage is there, our migrations are not."""
    name = f"storage_{os.getpid()}"
    create_database(cluster.superuser_url, name, template="postgres")
    with psycopg.connect(cluster.superuser_url, dbname=name) as connection:
        connection.execute(STORAGE)
    yield name
    drop_database(cluster.superuser_url, name)


def buckets(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        query = "select id, public, file_size_limit, allowed_mime_types from storage.buckets order by id"
        return connection.execute(query).fetchall()


def run_again(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("select copperplate.make_buckets()")


def test_migrations_make_both_buckets_with_their_limits_and_a_repeat_changes_nothing(
    cluster: Cluster, with_storage: str
) -> None:
    url = cluster.url(database=with_storage)
    migrate(url, announce=ignore)
    assert buckets(url) == BUCKETS
    run_again(url)
    assert buckets(url) == BUCKETS


def test_a_bucket_that_was_deleted_is_made_again_by_migrate_which_says_so(cluster: Cluster, with_storage: str) -> None:
    url, told = cluster.url(database=with_storage), list[str]()
    migrate(url, announce=ignore)
    with psycopg.connect(cluster.superuser_url, dbname=with_storage) as connection:
        connection.execute("delete from storage.buckets where id = 'memoji-images'")
    migrate(url, announce=told.append)
    assert (buckets(url), told) == (BUCKETS, ["Made the bucket memoji-images again"])
    migrate(url, announce=told.append)
    assert len(told) == 1


def test_row_of_a_later_kind_makes_its_bucket(cluster: Cluster, with_storage: str) -> None:
    url = cluster.url(database=with_storage)
    migrate(url, announce=ignore)
    with psycopg.connect(url) as connection:
        connection.execute(POSTER)
    assert buckets(url) == sorted([*BUCKETS, ("poster-images", False, 1_000_000, [*PICTURES, "image/gif"])])


def test_private_bucket_of_that_name_stays_private(cluster: Cluster, with_storage: str) -> None:
    url = cluster.url(database=with_storage)
    with psycopg.connect(url) as connection:
        connection.execute("insert into storage.buckets (id, name) values ('generated-images', 'generated-images')")
    migrate(url, announce=ignore)
    assert buckets(url) == [("generated-images", False, None, None), *BUCKETS[1:]]


def test_no_role_of_the_api_but_service_role_sees_or_writes_objects(cluster: Cluster, with_storage: str) -> None:
    url = cluster.url(database=with_storage)
    migrate(url, announce=ignore)
    insert = "insert into storage.objects (bucket_id, name) values ('generated-images', %s)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set role service_role")
        connection.execute(insert, ["kept.png"])
        for role in ("anon", "authenticated"):
            connection.execute(f"set role {role}".encode())
            for table in ("objects", "buckets"):
                assert connection.execute(f"select * from storage.{table}".encode()).fetchall() == []
                assert connection.execute(f"delete from storage.{table}".encode()).rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                connection.execute(insert, [f"{role}.png"])
        connection.execute("set role service_role")
        assert connection.execute("select name from storage.objects").fetchall() == [("kept.png",)]


def test_database_without_storage_is_migrated_without_it(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("select to_regclass('storage.buckets')").fetchone() == (None,)
    run_again(owner_url)
    with psycopg.connect(owner_url) as connection:
        connection.execute(POSTER)
