"""The stand-in of Supabase Storage answers as the real service does where it matters to us (read in its source)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.recipes.kinds import BUCKETS
from tests.support.postgrest_server import make_jwt
from tests.support.real_storage import KEY, URL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

BUCKET, NAME = "generated-images", "2026/07/a.png"


@pytest.fixture
def client(storage: Supabase) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{storage.url}/storage/v1", headers={"apikey": storage.secret_key}) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """HTTP's status, and status and word of the body."""
    body: dict[str, Any] = answer.json()
    return answer.status_code, body["statusCode"], body["error"]


def test_a_bucket_that_is_not_there_lists_and_removes_as_an_empty_one(
    client: httpx.Client, storage_state: StorageState
) -> None:
    storage_state.buckets.clear()
    listed = client.post(f"/object/list/{BUCKET}", json={"prefix": ""})
    removed = client.request("DELETE", f"/object/{BUCKET}", json={"prefixes": [NAME]})
    assert (listed.status_code, listed.json(), removed.status_code, removed.json()) == (200, [], 200, [])
    assert said(client.get(f"/object/{BUCKET}/{NAME}")) == (400, "404", "Bucket not found")


def test_a_token_that_has_expired_is_refused_by_all_that_asks_for_one(
    client: httpx.Client, storage_state: StorageState
) -> None:
    expired = bearer(make_jwt("service_role", exp=int(time.time()) - 1))
    storage_state.put(BUCKET, NAME, b"bytes")
    answers = [
        client.post(f"/object/list/{BUCKET}", json={"prefix": ""}, headers=expired),
        client.get(f"/object/info/{BUCKET}/{NAME}", headers=expired),
        client.post(f"/object/{BUCKET}/b.png", content=b"x", headers={**expired, "content-type": "image/png"}),
    ]
    assert [said(answer) for answer in answers] == [(400, "403", "Unauthorized")] * 3


def test_of_a_public_bucket_no_token_is_looked_at(client: httpx.Client, storage_state: StorageState) -> None:
    storage_state.put(BUCKET, NAME, b"bytes")
    assert client.get(f"/object/{BUCKET}/{NAME}", headers=bearer("no.token.atall")).content == b"bytes"


def test_a_private_bucket_is_not_there_for_a_bad_token_and_empty_for_anon(
    client: httpx.Client, storage_state: StorageState
) -> None:
    storage_state.put(BUCKET, NAME, b"bytes")
    storage_state.buckets[BUCKET].public = False
    path = f"/object/{BUCKET}/{NAME}"
    assert said(client.get(path, headers=bearer("no.token.atall"))) == (400, "404", "Bucket not found")
    assert said(client.get(path, headers=bearer(make_jwt("anon")))) == (400, "404", "not_found")
    assert client.get(path).content == b"bytes"


def test_the_type_is_judged_before_the_right(client: httpx.Client) -> None:
    anon = bearer(make_jwt("anon"))
    for kind, expected in (("text/plain", "415"), ("image/png", "403")):
        answer = client.post(f"/object/{BUCKET}/x.png", content=b"x", headers={**anon, "content-type": kind})
        assert said(answer)[1] == expected


@pytest.mark.parametrize(
    ("asked", "body", "place"),
    [
        ("bytes=1-2", b"yt", "1-2"),
        ("bytes=3-", b"es", "3-4"),
        ("bytes=-2", b"es", "3-4"),
        ("bytes=0-99", b"bytes", "0-4"),
    ],
)
def test_a_range_is_a_part(
    client: httpx.Client, storage_state: StorageState, asked: str, body: bytes, place: str
) -> None:
    storage_state.put(BUCKET, NAME, b"bytes")
    answer = client.get(f"/object/public/{BUCKET}/{NAME}", headers={"range": asked})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, body, f"bytes {place}/5")


def test_what_was_not_changed_is_not_sent_and_a_download_has_a_name(
    client: httpx.Client, storage_state: StorageState
) -> None:
    storage_state.put(BUCKET, NAME, b"bytes")
    path = f"/object/public/{BUCKET}/{NAME}"
    first = client.get(path, params={"download": "red fox.png"})
    assert "filename=red%20fox.png" in first.headers["content-disposition"]
    assert client.get(path, headers={"if-modified-since": first.headers["last-modified"]}).status_code == 304
    assert client.get(path, headers={"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_code == 200


def test_a_bucket_that_holds_something_is_not_deleted(client: httpx.Client, storage_state: StorageState) -> None:
    storage_state.put(BUCKET, NAME, b"bytes")
    assert said(client.delete(f"/bucket/{BUCKET}"))[:2] == (400, "409")
    client.post(f"/bucket/{BUCKET}/empty")
    assert client.delete(f"/bucket/{BUCKET}").status_code == 200


def test_overload_is_429(client: httpx.Client, storage_state: StorageState) -> None:
    storage_state.tell("get", "says=SlowDown")
    assert said(client.get(f"/object/{BUCKET}/{NAME}")) == (429, "429", "too_many_connections")


def test_a_purge_of_the_cdn_needs_the_role_and_the_plan(client: httpx.Client, storage_state: StorageState) -> None:
    path = f"/cdn/{BUCKET}/{NAME}"
    assert client.delete(path, headers=bearer(make_jwt("anon"))).status_code == 400
    assert client.delete(path).json()["message"] == "success"
    assert storage_state.purged == [f"{BUCKET}/{NAME}"]
    storage_state.has_cdn = False
    assert said(client.delete(path)) == (403, "403", "FeatureNotEnabled")


def test_the_contract_can_be_pointed_at_a_service_by_its_address(
    storage: Supabase, storage_state: StorageState
) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_real_storage.py"]
    named = {**os.environ, URL: storage.url, KEY: storage.secret_key}
    ended = subprocess.run(
        [*command, "-k", "over_the_limit or anyone or page_by_page or signed_address_opens"],
        env=named,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in ended.stdout, ended.stdout + ended.stderr
    assert set(storage_state.buckets) == set(BUCKETS), "what it made is gone"
