"""The object store contract over a real Supabase Storage, where COPPERPLATE_TEST_STORAGE_URL names its project.

Each test makes a bucket of its own and deletes it afterwards; nothing else of the project is touched.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from copperplate.adapters.supabase.http import key_headers, make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.errors import ObjectMissing, StoreMisconfigured
from copperplate.model import Needs
from tests.contract.object_store import PNG, ObjectStoreContract, path_of
from tests.support.real_storage import KEY, URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TYPES = ["image/jpeg", "image/png", "image/webp"]
LIMIT_BYTES = 5_000_000


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client() as opened:
        yield opened


@pytest.fixture
async def store(client: httpx.AsyncClient) -> AsyncIterator[SupabaseStore]:
    project, key = os.environ[URL].rstrip("/"), os.environ[KEY]
    bucket = f"copperplate-test-{uuid4().hex[:12]}"
    settings = {"public": True, "file_size_limit": LIMIT_BYTES, "allowed_mime_types": TYPES}
    async with httpx.AsyncClient(base_url=f"{project}/storage/v1", headers=key_headers(key), timeout=30) as owner:
        (await owner.post("/bucket", json={"id": bucket, "name": bucket, **settings})).raise_for_status()
        store = SupabaseStore(client, project, key, bucket)
        yield store
        for month in await store.months():
            page = await store.list_month(month, offset=0, limit=1_000)
            await store.remove([each.path for each in page.objects])
        await owner.delete(f"/bucket/{bucket}")


class TestRealStorage(ObjectStoreContract):
    """The same promises as everywhere."""

    async def test_an_object_over_the_limit_names_the_limit(self, store: SupabaseStore) -> None:
        with pytest.raises(StoreMisconfigured, match="size limit"):
            await store.put(path_of("large"), b"x" * (LIMIT_BYTES + 1), media_type=PNG)

    async def test_anyone_can_load_it_and_the_bucket_says_so(self, store: SupabaseStore) -> None:
        await store.put(path_of("public"), b"bytes", media_type=PNG)
        await store.check(Needs(address=True))
        async with httpx.AsyncClient() as anyone:
            assert (await anyone.get(store.public_url(path_of("public")) or "")).content == b"bytes"

    async def test_a_signed_address_opens_a_private_bucket_and_one_to_upload_to_takes_a_file_once(
        self, store: SupabaseStore
    ) -> None:
        project, key = os.environ[URL].rstrip("/"), os.environ[KEY]
        private = {"public": False, "file_size_limit": LIMIT_BYTES, "allowed_mime_types": TYPES}
        async with httpx.AsyncClient(base_url=f"{project}/storage/v1", headers=key_headers(key), timeout=30) as owner:
            (await owner.put(f"/bucket/{store.bucket}", json=private)).raise_for_status()
        path, public = path_of("uploaded"), store.public_url(path_of("uploaded")) or ""
        address = await store.upload_address(path, media_type=PNG)
        assert address is not None
        async with httpx.AsyncClient() as anyone:
            sent = [await anyone.put(address.url, content=b"bytes", headers=address.headers) for _ in range(2)]
            assert [answer.status_code for answer in sent] == [200, 400]
            url = await store.signed_url(path, valid_for=timedelta(minutes=1)) or ""
            assert (await anyone.get(url)).content == b"bytes"
            assert (await anyone.get(public)).status_code == 400
            assert (await anyone.get(f"{url[:-3]}AAA")).status_code == 400
        with pytest.raises(ObjectMissing):
            await store.signed_url(path_of("nothing"), valid_for=timedelta(minutes=1))
