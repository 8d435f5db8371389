"""The Python package `supabase`, used as its documentation says, over a real PostgREST and Storage's stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.recipes.kinds import IMAGE
from supabase import Client, PostgrestAPIError, StorageException, create_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.model import Entry
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

# The package makes its own client of Storage in a way that it calls deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(timeout|verify|proxy)' parameter is deprecated:DeprecationWarning"
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "client.py"
COLUMNS = "access_count, file_size, created_at"
PNG = b"\x89PNG\r\n\x1a\n"
KEYS: dict[str, Callable[[Supabase], str]] = {
    "publishable key": lambda project: project.publishable_key,
    "legacy anon key": lambda project: project.anon_key,
    "secret key": lambda project: project.secret_key,
    "legacy service_role key": lambda project: project.service_role_key,
}
PUBLIC, SERVER = list(KEYS)[:2], list(KEYS)[2:]


@pytest.fixture
def client(project: Supabase, kind: str) -> Iterator[Client]:
    """The package's client with the key of this kind."""
    made = create_client(project.url, KEYS[kind](project))
    yield made
    for session in (made.postgrest.session, made.storage.session):
        session.close()
    made.auth.close()


def most_used(client: Client) -> list[Any]:
    query = client.from_("image_cache").select(COLUMNS).order("access_count", desc=True).limit(100)
    return list(query.execute().data)


@pytest.mark.parametrize("kind", KEYS)
def test_statistics_are_read_with_any_key(client: Client, entry: Entry) -> None:
    made: Any = client.rpc("get_generation_stats").execute().data
    assert [(each["total_requests"], each["total_api_calls_made"]) for each in made] == [(2, 1)]
    kept: Any = client.rpc("get_cache_stats").execute().data
    # With the WebP that was made ahead.
    assert [each["total_cached_images"] for each in kept] == [2]
    assert kept[0]["total_size_bytes"] > entry.size_bytes


@pytest.mark.parametrize("kind", SERVER)
def test_pictures_are_listed_with_a_servers_key(client: Client, entry: Entry) -> None:
    row, ahead = most_used(client)
    assert set(row) == set(COLUMNS.split(", "))
    assert (row["access_count"], row["file_size"], ahead["access_count"]) == (2, entry.size_bytes, 0)


@pytest.mark.parametrize("kind", PUBLIC)
def test_list_is_refused_with_a_public_key(client: Client, entry: Entry) -> None:
    with pytest.raises(PostgrestAPIError) as refused:
        most_used(client)
    assert (refused.value.code, refused.value.message) == ("42501", "permission denied for view image_cache")


@pytest.mark.parametrize("kind", PUBLIC)
def test_upload_is_refused_with_a_public_key(
    client: Client, storage_state_of_project: StorageState, entry: Entry
) -> None:
    before = set(storage_state_of_project.buckets[IMAGE.bucket].objects)
    bucket = client.storage.from_(IMAGE.bucket)
    with pytest.raises(StorageException) as refused:
        bucket.upload("2026/11/mine.png", PNG, {"content-type": "image/png"})
    assert "row-level security" in str(refused.value)
    # Without a type the package sends text/plain, which the bucket takes from nobody.
    with pytest.raises(StorageException) as untyped:
        bucket.upload("2026/11/mine.png", PNG)
    assert "text/plain" in str(untyped.value)
    assert set(storage_state_of_project.buckets[IMAGE.bucket].objects) == before


@pytest.mark.parametrize("kind", PUBLIC)
def test_picture_is_loaded_at_its_public_address(client: Client, entry: Entry) -> None:
    address = client.storage.from_(IMAGE.bucket).get_public_url(entry.path)
    answer = httpx.get(address)
    assert (answer.status_code, len(answer.content)) == (200, entry.size_bytes)


@pytest.mark.parametrize("kind", ["secret key", "publishable key"])
def test_example_says_what_was_saved_and_what_is_kept(project: Supabase, entry: Entry, kind: str) -> None:
    variables = {**os.environ, "SUPABASE_URL": project.url, "SUPABASE_KEY": KEYS[kind](project)}
    done = subprocess.run(
        [sys.executable, EXAMPLE], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    requests, pictures, listed, *ahead = done.stdout.splitlines()
    assert requests == "2 requests, 1 calls to providers saved"
    assert re.fullmatch(r"2 pictures kept, \d+ bytes", pictures)
    if kind in PUBLIC:
        assert listed == "The list of pictures needs a secret key: permission denied for view image_cache [42501]"
        return
    found = re.fullmatch(rf"2 times, {entry.size_bytes} bytes: (http\S+)", listed)
    assert found, listed
    assert [line.partition(",")[0] for line in ahead] == ["0 times"]
    assert len(httpx.get(found[1]).content) == entry.size_bytes
