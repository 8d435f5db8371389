"""Private buckets of Supabase Storage: signed addresses, uploads to them, and nothing for anybody else.

Over real sockets to a STAND-IN that answers as the recorded service does.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from storage3 import AsyncStorageClient

from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.doctor import PUBLIC_BUCKET, _examine_store
from copperplate.errors import ObjectMissing, StoreMisconfigured, StoreUnavailable
from copperplate.model import Needs
from copperplate.settings import Settings
from scripts import npm
from tests.contract.object_store import PNG, ObjectStoreContract, path_of
from tests.support.supabase_js import SupabaseJs, check_installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.ports import ObjectStore
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client() as opened:
        yield opened


PRIVATE = "processed-images"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def private(storage: Supabase, client: httpx.AsyncClient) -> SupabaseStore:
    return SupabaseStore(client, storage.url, storage.secret_key, PRIVATE, is_public=False)


class TestSupabaseStoreOfAPrivateBucket(ObjectStoreContract):
    @pytest.fixture
    def store(self, private: SupabaseStore) -> ObjectStore:
        return private


async def test_a_private_object_is_loaded_at_its_signed_address_and_at_no_other(
    private: SupabaseStore, storage: Supabase, storage_state: StorageState
) -> None:
    path = path_of("secret")
    await private.put(path, b"bytes", media_type=PNG)
    assert storage_state.buckets[PRIVATE].objects[path].cache_control == "max-age=600"
    url = await private.signed_url(path, valid_for=TEN_MINUTES) or ""
    token = url.partition("?token=")[2]
    assert url == f"{storage.url}/storage/v1/object/sign/{PRIVATE}/{path}?token={token}"
    other = path_of("another secret")
    await private.put(other, b"other", media_type=PNG)
    tries = {
        f"object/sign/{PRIVATE}/{path}?token={token}": (200, b"bytes"),
        f"object/sign/{PRIVATE}/{other}?token={token}": (400, b"InvalidSignature"),
        f"object/sign/{PRIVATE}/{path}?token={token[:-2]}": (400, b"InvalidJWT"),
        f"object/sign/{PRIVATE}/{path}": (400, b"InvalidJWT"),
        f"object/public/{PRIVATE}/{path}": (400, b"NoSuchBucket"),
        f"object/{PRIVATE}/{path}": (401, b"No API key"),
    }
    async with httpx.AsyncClient(base_url=f"{storage.url}/storage/v1") as anyone:
        for address, (status, said) in tries.items():
            answer = await anyone.get(address)
            assert (answer.status_code, said in answer.content) == (status, True), address


async def test_a_signed_address_ends(private: SupabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await private.put(path_of("brief"), b"bytes", media_type=PNG)
    url = await private.signed_url(path_of("brief"), valid_for=TEN_MINUTES) or ""
    later = time.time() + 601
    monkeypatch.setattr("tests.standin.storage.time", lambda: later)
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(url)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidJWT")


async def test_no_address_is_signed_for_an_object_that_is_not_there(private: SupabaseStore) -> None:
    with pytest.raises(ObjectMissing):
        await private.signed_url(path_of("never stored"), valid_for=TEN_MINUTES)


async def test_a_private_store_has_no_public_address_whatever_the_bucket_says(
    private: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.buckets[PRIVATE].public = True
    await private.check(Needs())
    assert private.public_url(path_of("hidden")) is None


async def test_a_file_is_uploaded_once_to_a_signed_address_and_read_back(private: SupabaseStore) -> None:
    path = path_of("brought", "gif")
    address = await private.upload_address(path, media_type="image/gif")
    assert address is not None
    assert timedelta(hours=1) < address.expires_at - datetime.now(UTC) < timedelta(hours=3)
    async with httpx.AsyncClient() as anyone:
        page = await anyone.put(address.url, content=b"<html>", headers={"content-type": "text/html"})
        first = await anyone.put(address.url, content=b"GIF89a", headers=address.headers)
        again = await anyone.put(address.url, content=b"GIF87a", headers=address.headers)
        elsewhere = await anyone.put(address.url.replace(path, path_of("taken", "gif")), content=b"GIF")
    assert [answer.status_code for answer in (page, first, again, elsewhere)] == [400, 200, 400, 400]
    assert await private.get(path) == b"GIF89a"


async def test_storage3_uploads_to_a_signed_address_too(private: SupabaseStore, storage: Supabase) -> None:
    path = path_of("by storage3")
    address = await private.upload_address(path, media_type=PNG)
    assert address is not None
    async with httpx.AsyncClient() as anyone:
        bucket = AsyncStorageClient(f"{storage.url}/storage/v1/", {}, http_client=anyone).from_(PRIVATE)
        token = address.url.partition("token=")[2]
        await bucket.upload_to_signed_url(path, token, b"bytes", {"content-type": PNG})
    assert await private.get(path) == b"bytes"


async def test_supabase_js_uploads_to_a_signed_address_and_sees_nothing_else(
    private: SupabaseStore, storage: Supabase
) -> None:
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(f"no supabase-js: {error}")
    path, stored = path_of("by supabase-js"), path_of("of somebody else")
    await private.put(stored, b"bytes", media_type=PNG)
    address = await private.upload_address(path, media_type=PNG)
    assert address is not None
    token = address.url.partition("token=")[2]
    front_end = SupabaseJs(url=storage.url, key=storage.publishable_key)
    asked = [("list", PRIVATE), ("info", PRIVATE, stored), ("sign", PRIVATE, stored), ("remove", PRIVATE, stored)]
    uploaded, again, listed, *others = await asyncio.to_thread(
        front_end.ask, *[("uploadSigned", PRIVATE, path, token)] * 2, *asked
    )
    assert (uploaded.code, again.code) == (None, "409")
    assert await private.get(path) == b"not from us"
    assert listed.data == []
    assert [answer.code for answer in others[:2]] == ["404", "404"]
    assert await private.get(stored) == b"bytes"


@pytest.mark.parametrize("said", [{}, {"url": "/object/upload/sign/x"}, {"url": "/a?token=none"}, []])
async def test_an_answer_without_a_token_is_one_we_do_not_know(
    private: SupabaseStore, storage: Supabase, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = httpx.AsyncClient.request

    async def answered(self: httpx.AsyncClient, method: str, url: Any, **options: Any) -> httpx.Response:
        if "/upload/sign/" in str(url):
            return httpx.Response(200, json=said, request=httpx.Request(method, str(url)))
        return await real(self, method, url, **options)

    monkeypatch.setattr(httpx.AsyncClient, "request", answered)
    with pytest.raises(StoreUnavailable):
        await private.upload_address(path_of("odd"), media_type=PNG)


async def test_the_secret_of_addresses_is_not_the_key_and_differs_by_project(
    storage: Supabase, client: httpx.AsyncClient
) -> None:
    keys = (storage.secret_key, storage.service_role_key)
    secrets = {await SupabaseStore(client, storage.url, key, PRIVATE).address_secret() for key in keys}
    assert len(secrets) == 2
    assert not secrets & {key.encode() for key in keys}


async def test_the_addresses_of_a_private_store_are_good_while_its_bucket_is_private(private: SupabaseStore) -> None:
    await private.check_addresses()


async def test_the_doctor_warns_of_a_private_bucket_that_is_public_or_gone(
    private: SupabaseStore, storage: Supabase, storage_state: StorageState
) -> None:
    settings = Settings.from_env({"SUPABASE_URL": storage.url, "SUPABASE_SECRET_KEY": storage.secret_key})

    async def said(store: SupabaseStore) -> tuple[str, str]:
        finding = await _examine_store(settings, SystemClock(), store)
        return finding.level.value, finding.detail

    assert (await said(private))[1] == "written, read and removed"
    storage_state.buckets[PRIVATE].public = True
    reread = SupabaseStore(private._client, storage.url, storage.secret_key, PRIVATE, is_public=False)
    assert (await said(reread)) == ("warning", PUBLIC_BUCKET)
    del storage_state.buckets[PRIVATE]
    gone = SupabaseStore(private._client, storage.url, storage.secret_key, PRIVATE, is_public=False)
    level, detail = await said(gone)
    assert (level, "copperplate migrate" in detail) == ("failed", True)
    with pytest.raises(StoreMisconfigured):
        await gone.is_open()
