"""An object store in Supabase Storage, over `storage3` and one shared httpx client.

`storage3` is imported with the first write: a process that only serves hits never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import json
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from copperplate.adapters.bounded_stream import PLAIN, read_beginning
from copperplate.adapters.object_paths import check_body, check_object_path, is_month, is_object_path, is_year
from copperplate.adapters.service_calls import call_service
from copperplate.adapters.supabase.bucket import BucketTerms, Terms
from copperplate.adapters.supabase.faults import marks_of, refusal, trouble
from copperplate.adapters.supabase.http import key_headers
from copperplate.adapters.supabase.upload_tokens import expiry_in
from copperplate.errors import CopperplateError, ObjectConflict, ObjectMissing, StoreMisconfigured, StoreUnavailable
from copperplate.imaging.header import MAX_BODY_BYTES
from copperplate.model import Needs, Page, PictureFormat, StoredObject, UploadAddress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    import httpx
    from storage3 import AsyncStorageClient
    from storage3.types import FileOptions, ListBucketFilesOptions

CALL_SECONDS: Final = 15.0  # a put, a get or one batch of removals, repeats included
TRIES: Final = 3
PAUSE_SECONDS: Final = 0.2
CHECK_SECONDS: Final = 5.0  # a look at the bucket, repeats included
# What browsers and a CDN may keep after a purge: as long as what we answer ourselves.
MAX_AGE_SECONDS: Final = "3600"
# As long as a signed address is good that we hand out.
PRIVATE_MAX_AGE_SECONDS: Final = "600"
BATCH_PATHS: Final = 100  # Storage takes up to 1,000
PAGE_ROWS: Final = 1_000
REFUSAL_BYTES: Final = 16 * 1024  # a refusal is a short JSON object; a page of HTML need not be read

T = TypeVar("T")


class SupabaseStore:
    """Objects in a bucket of Supabase Storage.

    `client` is shared and stays open; whatever its own timeouts, no call takes longer than `seconds`. Where it is not
    to be public, it has no public addresses, whatever the bucket's settings say.
    `key` is the project's secret key, or the legacy one of service_role: any other sees only a part.
    Storage looks before it writes, not while: of two writers of other bytes at the same moment both
    may succeed, and the later one stays. Our names contain the digest, so there are no such two.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        supabase_url: str,
        key: str,
        bucket: str,
        *,
        is_public: bool = True,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self.bucket = bucket
        self._is_public = is_public
        self._max_age_seconds = MAX_AGE_SECONDS if is_public else PRIVATE_MAX_AGE_SECONDS
        self._secret = hmac.digest(key.encode(), b"copperplate addresses v1", "sha256")
        self._client = client
        self._url = f"{supabase_url.rstrip('/')}/storage/v1"
        self._headers = key_headers(key)
        self._seconds = seconds
        self._terms = BucketTerms(bucket, self._read_terms)
        # Whether it took the last object: what is in the way of writing cannot be read anywhere.
        self._is_proven = False
        self._proving = asyncio.Lock()

    async def check(self, needs: Needs) -> None:
        """See `ObjectStore.check`.

        The bucket's settings are at most some seconds old. Until it took an object of ours, and after it refused
        one, a small one is written and removed: a database that is read-only shows nowhere else.
        """
        await self._terms.require(needs)
        async with self._proving:
            if not self._is_proven:
                path = f"2000/01/{secrets.token_hex(32)}.{_ending(needs)}"
                await self.put(path, b"copperplate was here", media_type=_media_type(needs))
                await self._call(lambda: self._remove([path]))

    async def check_addresses(self) -> None:
        """See `ObjectStore.check_addresses`. The bucket's settings are at most some seconds old.

        Signed addresses are good whatever they are.
        """
        if not self._is_public:
            return
        await self._terms.require(Needs(address=True, media_types=frozenset(), min_bytes=0))

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """See `ObjectStore.put`. A reply that is lost is found out by sending the same bytes again."""
        check_object_path(path)
        kept = bytes(check_body(body))
        try:
            await self._put(path, kept, media_type)
        except (StoreMisconfigured, StoreUnavailable):
            self._is_proven = False
            self._terms.doubt()
            raise
        self._is_proven = True

    async def _put(self, path: str, kept: bytes, media_type: str) -> None:
        try:
            await self._call(lambda: self._upload(path, kept, media_type))
        except ObjectConflict:
            try:
                stored = await self._call(lambda: self._download(path, len(kept)))
            except ObjectMissing as error:
                raise StoreUnavailable(f"bucket {self.bucket} calls a path taken and has nothing there") from error
            if stored != kept:
                raise

    async def get(self, path: str) -> bytes:
        """See `ObjectStore.get`. Reads at most `MAX_BODY_BYTES`."""
        check_object_path(path)
        try:
            body = await self._call(lambda: self._download(path, MAX_BODY_BYTES))
        except ObjectMissing:
            await self._confirm_rights()
            raise
        if len(body) > MAX_BODY_BYTES:
            raise StoreUnavailable(f"bucket {self.bucket} has an object larger than any of ours")
        return body

    async def exists(self, path: str) -> bool:
        """See `ObjectStore.exists`. Its row in the database is asked for, which no CDN keeps a copy of."""
        if await self._has(check_object_path(path)):
            return True
        await self._confirm_rights()
        return False

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """See `ObjectStore.remove`.

        Storage answers what it removed. What it leaves out may be gone or out of its reach, so it is
        asked for each of those; only what it then calls missing counts as gone, and only while it shows us the
        bucket: it says the same of what we may not see.
        """
        asked = list(dict.fromkeys(map(check_object_path, paths)))
        removed_paths: set[str] = set()
        for start in range(0, len(asked), BATCH_PATHS):
            batch = asked[start : start + BATCH_PATHS]
            removed = await self._call(lambda batch=batch: self._remove(batch))  # type: ignore[misc]
            removed_paths |= removed & set(batch)
            absent = {path for path in batch if path not in removed and not await self._has(path)}
            if absent:
                await self._confirm_rights()
            removed_paths |= absent
        return frozenset(removed_paths)

    async def months(self) -> Sequence[str]:
        """See `ObjectStore.months`."""
        rows = await self._rows("", 0, PAGE_ROWS)
        if not rows:  # so does a bucket answer that is not there, or not to be seen
            await self._confirm_rights()
        years = [name for row in rows if is_year(name := str(row.get("name")))]
        found = [f"{year}/{row.get('name')}" for year in years for row in await self._rows(year, 0, PAGE_ROWS)]
        return [month for month in found if is_month(month)]

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """See `ObjectStore.list_month`. Storage takes offsets: what is removed meanwhile shifts the next page."""
        rows = await self._rows(month, offset, limit)
        objects = [stored for row in rows if (stored := _stored(month, row)) is not None]
        next_offset = offset + limit if len(rows) == limit else None
        return Page(objects=objects, next_offset=next_offset, odd=len(rows) - len(objects))

    def public_url(self, path: str) -> str | None:
        """See `ObjectStore.public_url`; None once the bucket is known to be private."""
        check_object_path(path)
        is_private = not self._is_public or (self._terms.known is not None and not self._terms.known.is_public)
        return None if is_private else f"{self._url}/object/public/{self.bucket}/{path}"

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        """See `ObjectStore.signed_url`: signed by Storage, at the project's address."""
        check_object_path(path)
        seconds = max(1, int(valid_for.total_seconds()))
        signed = await self._call(
            lambda: self._ask(lambda storage: storage.from_(self.bucket).create_signed_url(path, seconds))
        )
        return str(signed["signedURL"])

    async def is_open(self) -> bool:
        """See `ObjectStore.is_open`: its settings, at most some seconds old."""
        return (await self._terms.read()).is_public

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        """See `ObjectStore.upload_address`: signed by Storage, which says in its token until when it is good."""
        check_object_path(path)
        url, expires_at = await self._call(lambda: self._sign_upload(path))
        return UploadAddress(url=url, headers={"content-type": media_type}, expires_at=expires_at)

    async def address_secret(self) -> bytes:
        """Derived from the project's key, which every process has and nobody else."""
        return self._secret

    async def _confirm_rights(self) -> None:
        """Raise `StoreMisconfigured` unless Storage shows us the bucket: to others it calls every object missing."""
        await self._terms.read(fresh_seconds=0)

    async def _read_terms(self) -> Terms:
        return await self._call(self._ask_terms, seconds=min(CHECK_SECONDS, self._seconds))

    async def _ask_terms(self) -> Terms:
        async with self._client.stream(
            "GET", f"{self._url}/bucket/{self.bucket}", headers=self._headers | PLAIN
        ) as response:
            if response.status_code != 200:
                raise await self._refused(response)
            return Terms.of(json.loads(await response.aread()))

    async def _rows(self, folder: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """One page of a folder, by name: folders and objects."""
        options: ListBucketFilesOptions = {
            "limit": limit,
            "offset": offset,
            "sortBy": {"column": "name", "order": "asc"},
        }
        rows: object = await self._call(
            lambda: self._ask(lambda storage: storage.from_(self.bucket).list(folder, options))
        )
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def _has(self, path: str) -> bool:
        try:
            await self._call(lambda: self._info(path))
        except ObjectMissing:
            return False
        return True

    async def _upload(self, path: str, body: bytes, media_type: str) -> None:
        options: FileOptions = {"content-type": media_type, "cache-control": self._max_age_seconds, "x-upsert": "false"}
        await self._ask(lambda storage: storage.from_(self.bucket).upload(path, body, options))

    async def _sign_upload(self, path: str) -> tuple[str, datetime]:
        signed = await self._ask(lambda storage: storage.from_(self.bucket).create_signed_upload_url(path))
        return signed["signed_url"], expiry_in(signed["token"])

    async def _remove(self, paths: list[str]) -> frozenset[str]:
        rows = await self._ask(lambda storage: storage.from_(self.bucket).remove(paths))
        return frozenset(str(row.get("name")) for row in rows if isinstance(row, dict))

    async def _download(self, path: str, limit: int) -> bytes:
        """The object, or its first bytes where it has more than `limit`. storage3 would read all of it."""
        url = f"{self._url}/object/{self.bucket}/{path}"
        headers = self._headers | PLAIN
        async with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code != 200:
                raise await self._refused(response)
            if not _is_picture(response.headers):
                raise _Refused(*refusal(self.bucket))
            return await read_beginning(response, limit)

    async def _info(self, path: str) -> None:
        url = f"{self._url}/object/info/{self.bucket}/{path}"
        async with self._client.stream("GET", url, headers=self._headers | PLAIN) as response:
            if response.status_code != 200:
                raise await self._refused(response)
            await response.aread()  # a connection is kept for the next call once its answer is read

    async def _refused(self, response: httpx.Response) -> _Refused:
        body: object = None
        with contextlib.suppress(ValueError):
            body = json.loads(await read_beginning(response, REFUSAL_BYTES))
        marks = marks_of(response.status_code, body if isinstance(body, dict) else {})
        return _Refused(*refusal(self.bucket, *marks))

    async def _call(self, work: Callable[[], Awaitable[T]], *, seconds: float | None = None) -> T:
        """The answer, asked for up to three times while that may help and time is left; else our error."""
        seconds = self._seconds if seconds is None else seconds
        deadline = asyncio.get_running_loop().time() + seconds
        tries = itertools.count(1)

        async def ask() -> T:
            left = deadline - asyncio.get_running_loop().time()
            # One silent try must leave time for another, which may find that the first arrived.
            async with asyncio.timeout(left / 2 if next(tries) < TRIES else left):
                return await work()

        pauses = (PAUSE_SECONDS * number for number in range(1, TRIES))
        return await call_service(ask, translate=self._translate, pauses=pauses, within_seconds=seconds)

    def _translate(self, error: Exception) -> tuple[Exception, bool]:
        return (error.ours, error.may_help) if isinstance(error, _Refused) else trouble(self.bucket, error)

    async def _ask(self, question: Callable[[AsyncStorageClient], Awaitable[T]]) -> T:
        """The answer of storage3."""
        from storage3 import AsyncStorageClient
        from storage3.exceptions import StorageApiError
        from storage3.utils import StorageException

        storage = AsyncStorageClient(f"{self._url}/", self._headers, http_client=self._client)
        try:
            return await question(storage)
        except StorageApiError as error:
            raise _Refused(*refusal(self.bucket, error.code, error.status)) from error
        except StorageException as error:
            raise _Refused(*refusal(self.bucket)) from error


def _is_picture(headers: Mapping[str, str]) -> bool:
    """Whether this can be an object of ours: a page of something in between must not pass for an altered one."""
    return headers.get("content-type", "").startswith("image/") and "content-encoding" not in headers


def _stored(month: str, row: Mapping[str, Any]) -> StoredObject | None:
    """The object of a row; None for what is none of ours: a folder, another name, a row without its time."""
    path = f"{month}/{row.get('name')}"
    try:
        stored_at = datetime.fromisoformat(row["created_at"])
    except (LookupError, TypeError, ValueError):
        return None
    is_object = is_object_path(path) and row.get("id") is not None and stored_at.tzinfo is not None
    return StoredObject(path=path, stored_at=stored_at) if is_object else None


def _media_type(needs: Needs) -> str:
    """One of the types that will be stored."""
    return min(needs.media_types, default=PictureFormat.PNG.media_type)


def _ending(needs: Needs) -> str:
    return next(
        picture_format.value for picture_format in PictureFormat if picture_format.media_type == _media_type(needs)
    )


class _Refused(Exception):
    """An answer that is no object, as our error, and whether another try may help."""

    def __init__(self, ours: CopperplateError, may_help: bool) -> None:
        super().__init__(str(ours))
        self.ours = ours
        self.may_help = may_help
