"""The object store contract over Supabase Storage, and what only a service over the network can do to us.

Over real sockets to a STAND-IN that answers as the recorded service does.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

from copperplate.adapters.supabase import storage as supabase_storage
from copperplate.adapters.supabase.cdn import StorageCdn
from copperplate.adapters.supabase.faults import ERRORS, REFUSALS, refusal, trouble
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.errors import (
    CdnUnavailable,
    Misconfigured,
    ObjectConflict,
    ObjectMissing,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.model import Needs
from copperplate.ports.cdns import CdnCopies
from tests.contract.object_store import PNG, ObjectStoreContract, path_of
from tests.support.postgrest_server import make_jwt
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

BUCKET = "generated-images"
SECONDS = 1.0  # what a call may take in tests whose service is silent


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client() as opened:
        yield opened


@pytest.fixture
def store(storage: Supabase, client: httpx.AsyncClient) -> SupabaseStore:
    return SupabaseStore(client, storage.url, storage.secret_key, BUCKET)


@pytest.fixture
def hurried(storage: Supabase, client: httpx.AsyncClient) -> SupabaseStore:
    return SupabaseStore(client, storage.url, storage.secret_key, BUCKET, seconds=SECONDS)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supabase_storage, "PAUSE_SECONDS", 0.01)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < wall(seconds)


class TestSupabaseStore(ObjectStoreContract):
    """With a secret key."""


class TestSupabaseStoreWithALegacyKey(ObjectStoreContract):
    @pytest.fixture
    def store(self, storage: Supabase, client: httpx.AsyncClient) -> SupabaseStore:
        return SupabaseStore(client, storage.url, storage.service_role_key, BUCKET)


# --- what is stored, and who may load it -----------------------------------------------------------


async def test_an_object_is_kept_as_a_picture_that_never_changes(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    await store.put(path_of("kept", "webp"), b"bytes", media_type="image/webp")
    (stored,) = storage_state.buckets[BUCKET].objects.values()
    assert (stored.name, stored.body) == (path_of("kept", "webp"), b"bytes")
    assert (stored.media_type, stored.cache_control) == ("image/webp", "max-age=3600")


async def test_anyone_can_load_an_object_at_its_public_address(store: SupabaseStore) -> None:
    await store.put(path_of("public"), b"bytes", media_type=PNG)
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(store.public_url(path_of("public")) or "")
    assert (answer.status_code, answer.content) == (200, b"bytes")
    assert answer.headers["cache-control"] == "max-age=3600"


async def test_a_private_bucket_has_no_public_address(
    storage: Supabase, storage_state: StorageState, client: httpx.AsyncClient
) -> None:
    storage_state.buckets[BUCKET].public = False
    store = SupabaseStore(client, storage.url, storage.secret_key, BUCKET)
    await store.put(path_of("private"), b"bytes", media_type=PNG)
    with pytest.raises(StoreMisconfigured, match=f"{BUCKET} is private"):
        await store.check_addresses()
    assert store.public_url(path_of("private")) is None
    assert await store.get(path_of("private")) == b"bytes"


async def test_a_hit_is_one_request(store: SupabaseStore, storage: Supabase) -> None:
    await store.put(path_of("hit"), b"bytes", media_type=PNG)
    storage.requests.clear()
    await store.get(path_of("hit"))
    assert storage.requests == [f"GET /storage/v1/object/{BUCKET}/{path_of('hit')}"]


async def test_buckets_do_not_share_objects(store: SupabaseStore, storage: Supabase, client: httpx.AsyncClient) -> None:
    await store.put(path_of("one"), b"bytes", media_type=PNG)
    with pytest.raises(ObjectMissing):
        await SupabaseStore(client, storage.url, storage.secret_key, "memoji-images").get(path_of("one"))


# --- removal ---------------------------------------------------------------------------------------


async def test_many_objects_are_removed_in_batches(store: SupabaseStore, storage_state: StorageState) -> None:
    paths = [path_of(f"many {number}") for number in range(230)]
    for path in paths:
        storage_state.put(BUCKET, path, b"bytes")
    assert await store.remove(paths) == set(paths)
    assert storage_state.asked["remove"] == 3
    assert not storage_state.buckets[BUCKET].objects


async def test_what_storage_says_it_removed_is_not_asked_about_again(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.put(BUCKET, path_of("removed"), b"bytes")
    await store.remove([path_of("removed")])
    assert (storage_state.asked["remove"], storage_state.asked["info"]) == (1, 0)


async def test_an_object_that_storage_silently_keeps_is_not_called_gone(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    kept, removed = path_of("kept in silence"), path_of("removed")
    storage_state.put(BUCKET, kept, b"bytes")
    storage_state.put(BUCKET, removed, b"bytes")
    storage_state.immovable = {kept}
    assert await store.remove([kept, removed, path_of("absent")]) == {removed, path_of("absent")}


async def test_removal_whose_answer_was_lost_is_found_out(store: SupabaseStore, storage_state: StorageState) -> None:
    storage_state.put(BUCKET, path_of("lost"), b"bytes")
    storage_state.tell("remove", "lost", "ok")
    assert await store.remove([path_of("lost")]) == {path_of("lost")}
    assert (storage_state.asked["remove"], storage_state.asked["info"]) == (2, 1)


# --- what is hidden is not gone ---------------------------------------------------------------------


@pytest.mark.parametrize("is_public", [False, True])
async def test_what_a_key_without_rights_is_not_shown_is_not_called_gone(
    storage: Supabase, storage_state: StorageState, client: httpx.AsyncClient, *, is_public: bool
) -> None:
    storage_state.buckets[BUCKET].public = is_public
    storage_state.put(BUCKET, path_of("kept"), b"bytes")
    hidden = SupabaseStore(client, storage.url, storage.anon_key, BUCKET)
    for call in (hidden.get(path_of("absent")), hidden.remove([path_of("kept"), path_of("absent")]), hidden.months()):
        with pytest.raises(StoreMisconfigured):
            await call
    assert path_of("kept") in storage_state.buckets[BUCKET].objects
    seeing = SupabaseStore(client, storage.url, storage.secret_key, BUCKET)
    with pytest.raises(ObjectMissing):
        await seeing.get(path_of("absent"))


@pytest.mark.parametrize("is_public", [False, True])
async def test_a_token_that_has_expired_loses_nothing(
    storage: Supabase,
    storage_state: StorageState,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_public: bool,
) -> None:
    storage_state.buckets[BUCKET].public = is_public
    expired = make_jwt("service_role", exp=int(time.time()) - 1)
    monkeypatch.setattr(storage, "service_role_key", expired)  # the gateway knows it; Storage believes it no more
    store = SupabaseStore(client, storage.url, expired, BUCKET)
    for call in (store.get(path_of("absent")), store.remove([path_of("absent")])):
        with pytest.raises(StoreMisconfigured):
            await call


async def test_storage_that_cannot_say_whether_we_have_rights_loses_nothing(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.tell("bucket", "http_503")
    with pytest.raises(StoreUnavailable):
        await store.get(path_of("absent"))


# --- what would be refused is known before ------------------------------------------------------------

PICTURE = Needs(min_bytes=1_000)


@pytest.mark.parametrize(
    ("change", "needs", "said"),
    [
        ({"file_size_limit": 999}, PICTURE, "takes at most 999 bytes"),
        ({"allowed_mime_types": ["image/png", "text/plain"]}, PICTURE, "does not take image/jpeg, image/webp: allow"),
        ({"public": False}, Needs(address=True), "is private, so the addresses of its objects answer 400"),
    ],
)
async def test_what_the_bucket_would_refuse_is_known_without_a_picture(
    store: SupabaseStore, storage_state: StorageState, change: dict[str, Any], needs: Needs, said: str
) -> None:
    storage_state.buckets[BUCKET].change(change)
    with pytest.raises(StoreMisconfigured, match=f"bucket {BUCKET} {said}"):
        await store.check(needs)
    assert (storage_state.asked["bucket"], storage_state.asked["put"]) == (1, 0)


@pytest.mark.parametrize("types", [None, [], ["image/*"], ["image/jpeg", "image/png", "image/webp"]])
async def test_a_bucket_that_takes_pictures_is_asked_once_in_a_while(
    store: SupabaseStore, storage_state: StorageState, types: list[str] | None
) -> None:
    storage_state.buckets[BUCKET].change({"allowed_mime_types": types, "file_size_limit": None, "public": False})
    await asyncio.gather(*(store.check(Needs()) for _ in range(20)))
    await store.put(path_of("picture"), b"bytes", media_type=PNG)
    await store.check(Needs())
    assert storage_state.asked["bucket"] == 1
    assert set(storage_state.buckets[BUCKET].objects) == {path_of("picture")}, "what it tried with is gone"


@pytest.mark.parametrize("trouble", ["says=DatabaseReadOnly", "http_503"])
async def test_a_store_that_takes_no_writes_is_found_out_by_trying(
    hurried: SupabaseStore, storage_state: StorageState, trouble: str
) -> None:
    storage_state.tell("put", trouble)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await hurried.check(Needs())
    storage_state.tell("put", "ok")
    await hurried.check(Needs())
    asked = storage_state.asked["put"]
    await hurried.check(Needs())
    assert storage_state.asked["put"] == asked, "it took one, so it is not tried again"
    storage_state.tell("put", trouble)
    with pytest.raises(StoreUnavailable):
        await hurried.put(path_of("late"), b"bytes", media_type=PNG)
    with pytest.raises(StoreUnavailable):
        await hurried.check(Needs())


async def test_a_bucket_that_is_mended_is_believed_at_once(store: SupabaseStore, storage_state: StorageState) -> None:
    await store.check(Needs(address=True))
    storage_state.buckets[BUCKET].change({"file_size_limit": 10})
    await store.check(Needs())  # known for some seconds
    store._terms.doubt()
    with pytest.raises(StoreMisconfigured):
        await store.check(PICTURE)
    storage_state.buckets[BUCKET].change({"file_size_limit": None})
    await store.check(PICTURE)


async def test_that_a_bucket_was_made_private_is_seen_within_a_second(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    await store.check(Needs(address=True))
    storage_state.buckets[BUCKET].public = False
    store._terms._asked_at -= 1.0  # a second is over
    await store.check(Needs())  # pictures that are not handed out as addresses need not know
    with pytest.raises(StoreMisconfigured, match="is private"):
        await store.check(Needs(address=True))


async def test_after_a_refusal_the_bucket_is_looked_at_anew(store: SupabaseStore, storage_state: StorageState) -> None:
    await store.check(Needs())
    del storage_state.buckets[BUCKET]
    await store.check(Needs())  # known for some seconds
    with pytest.raises(StoreMisconfigured):
        await store.put(path_of("late"), b"bytes", media_type=PNG)
    with pytest.raises(StoreMisconfigured):
        await store.check(Needs())


# --- what lies among the objects ----------------------------------------------------------------------


async def test_one_odd_row_is_counted_and_ends_nothing(store: SupabaseStore, storage_state: StorageState) -> None:
    ours = path_of("ours")
    month = ours.rpartition("/")[0]
    for name in (ours, f"{month}/notes.txt", f"{path_of('a folder')}/x.png", f"{month}/.hidden", "stray/07/x.png"):
        storage_state.put(BUCKET, name, b"bytes")
    assert await store.months() == [month]
    page = await store.list_month(month, offset=0, limit=100)
    assert ([each.path for each in page.objects], page.odd) == ([ours], 3)


@pytest.mark.parametrize(
    "row",
    [
        {"name": path_of("x").rpartition("/")[2], "id": None, "created_at": None},
        {"name": path_of("x").rpartition("/")[2], "id": None, "created_at": "2026-07-01T00:00:00Z"},
        {"name": path_of("x").rpartition("/")[2], "id": "1"},
        {"name": path_of("x").rpartition("/")[2], "id": "1", "created_at": 5},
        {"name": path_of("x").rpartition("/")[2], "id": "1", "created_at": "yesterday"},
        {"name": path_of("x").rpartition("/")[2], "id": "1", "created_at": "2026-07-01T00:00:00"},
        {"name": None, "id": "1", "created_at": "2026-07-01T00:00:00Z"},
        {"id": "1", "created_at": "2026-07-01T00:00:00Z"},
        {"name": 7, "id": "1", "created_at": "2026-07-01T00:00:00Z"},
    ],
)
async def test_a_row_of_any_shape_is_judged_by_itself(row: dict[str, Any]) -> None:
    good = {"name": path_of("good").rpartition("/")[2], "id": "2", "created_at": "2026-07-01T00:00:00.000Z"}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[row, good])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        page = await SupabaseStore(client, "https://project.example.com", "sb_secret_x", BUCKET).list_month(
            "2026/07", offset=0, limit=100
        )
    assert ([each.path for each in page.objects], page.odd) == ([path_of("good")], 1)


# --- writing, when the service fails ----------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["http_500", "http_503", "says=SlowDown", "says=DatabaseTimeout", "drop", "lost"])
async def test_storage_that_fails_once_costs_nobody_a_picture(
    store: SupabaseStore, storage_state: StorageState, trouble: str
) -> None:
    storage_state.tell("put", trouble, "ok")
    await store.put(path_of("once"), b"bytes", media_type=PNG)
    assert storage_state.buckets[BUCKET].objects[path_of("once")].body == b"bytes"
    storage_state.tell("get", trouble, "ok")
    assert await store.get(path_of("once")) == b"bytes"


@pytest.mark.parametrize("trouble", ["http_500", "http_502_html", "says=LockTimeout", "says=InternalError", "drop"])
async def test_storage_that_stays_down_is_asked_three_times_and_said_to_be_down(
    store: SupabaseStore, storage_state: StorageState, trouble: str
) -> None:
    storage_state.tell("put", trouble)
    with pytest.raises(StoreUnavailable, match=BUCKET):
        await store.put(path_of("down"), b"bytes", media_type=PNG)
    storage_state.tell("get", trouble)
    with pytest.raises(StoreUnavailable, match=BUCKET):
        await store.get(path_of("down"))
    # aiohttp by itself asks again for what only reads, where a kept connection breaks.
    assert (storage_state.asked["put"], storage_state.asked["get"]) == (3, 6 if trouble == "drop" else 3)


@pytest.mark.parametrize("trouble", ["lost", "late=5"])
async def test_write_whose_answer_never_came_is_found_by_its_bytes(
    hurried: SupabaseStore, storage_state: StorageState, trouble: str
) -> None:
    storage_state.tell("put", trouble, "ok")
    with within(SECONDS):
        await hurried.put(path_of("unheard"), b"bytes", media_type=PNG)
    assert storage_state.buckets[BUCKET].objects[path_of("unheard")].body == b"bytes"
    assert (storage_state.asked["put"], storage_state.asked["get"]) == (2, 1)


async def test_answer_that_never_comes_holds_nobody_longer_than_promised(
    hurried: SupabaseStore, storage_state: StorageState
) -> None:
    for operation in ("put", "get", "remove"):
        storage_state.tell(operation, "slow=30")
    for call in (
        hurried.put(path_of("silent"), b"bytes", media_type=PNG),
        hurried.get(path_of("silent")),
        hurried.remove([path_of("silent")]),
    ):
        with within(SECONDS * 1.5), pytest.raises(StoreUnavailable):
            await call


async def test_of_two_writers_at_the_same_moment_storage_keeps_the_later_and_tells_neither(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    # Why names contain the digest of the bytes: the service looks first and writes later.
    storage_state.tell("put", "meet=2")
    path, bodies = path_of("race"), (b"one", b"other")
    await asyncio.gather(*(store.put(path, body, media_type=PNG) for body in bodies))
    assert await store.get(path) in bodies


async def test_path_that_is_taken_by_nothing_is_an_outage(store: SupabaseStore, storage_state: StorageState) -> None:
    storage_state.tell("put", "says=KeyAlreadyExists")
    with pytest.raises(StoreUnavailable, match="has nothing there"):
        await store.put(path_of("ghost"), b"bytes", media_type=PNG)


# --- reading, when the service fails ----------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["truncated", "trickle", "html_answer", "http_404", "empty_answer"])
async def test_object_that_does_not_arrive_whole_is_an_outage_and_not_a_loss(
    hurried: SupabaseStore, storage_state: StorageState, trouble: str
) -> None:
    storage_state.put(BUCKET, path_of("whole"), b"bytes" * 1_000)
    storage_state.tell("get", trouble)
    with within(SECONDS * 1.5), pytest.raises(StoreUnavailable):
        await hurried.get(path_of("whole"))
    storage_state.tell("get", trouble, "ok")
    if trouble == "truncated":
        assert await hurried.get(path_of("whole")) == b"bytes" * 1_000


async def test_object_larger_than_any_of_ours_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supabase_storage, "MAX_BODY_BYTES", 1_000)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 100_000:
            read += 500
            yield b"x" * 500

    async with answering({"content-type": PNG}, endless) as store:
        with pytest.raises(StoreUnavailable, match="larger"):
            await store.get(path_of("large"))
    assert read == 1_500


async def test_object_as_large_as_ours_may_be_is_read(
    store: SupabaseStore, storage_state: StorageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_storage, "MAX_BODY_BYTES", 1_000)
    storage_state.put(BUCKET, path_of("fits"), b"x" * 1_000)
    assert await store.get(path_of("fits")) == b"x" * 1_000


async def test_compressed_answer_is_not_taken_for_an_altered_object() -> None:
    async def squeezed() -> AsyncIterator[bytes]:
        yield b"squeezed"

    async with answering({"content-type": PNG, "content-encoding": "br"}, squeezed) as store:
        with pytest.raises(StoreUnavailable, match="do not know"):
            await store.get(path_of("br"))


@asynccontextmanager
async def answering(headers: dict[str, str], body: Callable[[], AsyncIterator[bytes]]) -> AsyncIterator[SupabaseStore]:
    """A store whose every GET is answered so."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx.Response(200, headers=headers, content=body())

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        yield SupabaseStore(client, "https://project.example.com", "sb_secret_x", BUCKET)


# --- settings that are wrong -------------------------------------------------------------------------


async def test_bucket_that_does_not_exist_names_the_command_that_makes_it(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.buckets.clear()
    for call in (
        store.put(path_of("nowhere"), b"bytes", media_type=PNG),
        store.get(path_of("nowhere")),
        store.remove([path_of("nowhere")]),
        store.months(),
        store.check(Needs()),
    ):
        with pytest.raises(
            StoreMisconfigured, match=f"{BUCKET} does not exist: run `copperplate migrate` with DATABASE_URL"
        ):
            await call


async def test_object_over_the_buckets_limit_names_the_limit(store: SupabaseStore, storage_state: StorageState) -> None:
    storage_state.buckets[BUCKET].file_size_limit = 10
    with pytest.raises(StoreMisconfigured, match="size limit"):
        await store.put(path_of("large"), b"more than ten", media_type=PNG)
    assert storage_state.asked["put"] == 1


async def test_body_that_a_gateway_finds_too_large_names_the_limit_too(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.tell("put", "http_413")
    with pytest.raises(StoreMisconfigured, match="size limit"):
        await store.put(path_of("large"), b"bytes", media_type=PNG)


async def test_type_that_the_bucket_does_not_take_names_the_types(
    store: SupabaseStore, storage_state: StorageState
) -> None:
    storage_state.buckets[BUCKET].allowed_mime_types = ["text/plain"]
    with pytest.raises(StoreMisconfigured, match="image/webp"):
        await store.put(path_of("type"), b"bytes", media_type=PNG)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda project: project.publishable_key,
        lambda project: project.anon_key,
        lambda project: "sb_secret_of-another-project",
        lambda project: f"{project.service_role_key}x",
    ],
    ids=["publishable", "anon", "unknown", "forged"],
)
async def test_key_that_may_not_write_is_named_and_never_shown(
    storage: Supabase, storage_state: StorageState, client: httpx.AsyncClient, wrong: Callable[[Supabase], str]
) -> None:
    key = wrong(storage)
    store = SupabaseStore(client, storage.url, key, BUCKET)
    with pytest.raises(StoreMisconfigured, match="SUPABASE_SECRET_KEY") as refused:
        await store.put(path_of("rights"), b"bytes", media_type=PNG)
    assert key not in str(refused.value)
    assert not storage_state.buckets[BUCKET].objects


@pytest.mark.parametrize(("key", "authorization"), [("sb_secret_x", None), ("eyJ.eyJ.x", "Bearer eyJ.eyJ.x")])
async def test_secret_key_goes_into_apikey_alone_and_a_legacy_key_into_both(
    key: str, authorization: str | None
) -> None:
    # The stand-in's gateway forgives what Storage itself would not.
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[] if request.method == "DELETE" else {"Key": "x", "Id": "x"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        store = SupabaseStore(client, "https://project.example.com", key, BUCKET)
        await store.put(path_of("key"), b"bytes", media_type=PNG)
        await store.remove([path_of("key")])
        with pytest.raises(StoreUnavailable):
            await store.get(path_of("key"))
    assert [each.method for each in asked] == ["POST", "DELETE", "GET", "GET"]
    assert {(each.headers["apikey"], each.headers.get("authorization")) for each in asked} == {(key, authorization)}


async def test_address_where_nothing_listens_is_an_outage(client: httpx.AsyncClient) -> None:
    store = SupabaseStore(client, "http://127.0.0.1:9", "sb_secret_x", BUCKET)
    with pytest.raises(StoreUnavailable, match=BUCKET):
        await store.get(path_of("nobody"))


# --- the CDN before it ---------------------------------------------------------------------------------


async def test_objects_are_forgotten_by_the_cdn_one_by_one_or_with_their_buckets(
    storage: Supabase, storage_state: StorageState
) -> None:
    async with make_client() as client:
        cdn = StorageCdn(client, storage.url, storage.secret_key)
        await cdn.forget(CdnCopies(objects=tuple((BUCKET, path_of(str(number))) for number in range(2))))
        assert sorted(storage_state.purged) == sorted(f"{BUCKET}/{path_of(str(number))}" for number in range(2))
        storage_state.purged.clear()
        await cdn.forget(CdnCopies(objects=((BUCKET, None), (BUCKET, path_of("1")), ("memoji-images", path_of("2")))))
        assert sorted(storage_state.purged) == [BUCKET, f"memoji-images/{path_of('2')}"]
        one = CdnCopies(objects=((BUCKET, path_of("x")),))
        with pytest.raises(Misconfigured, match="SUPABASE_SECRET_KEY"):
            await StorageCdn(client, storage.url, storage.anon_key).forget(one)
        with pytest.raises(CdnUnavailable, match="ends within the hour"):
            await StorageCdn(client, "http://127.0.0.1:9", "sb_secret_x").forget(one)


# --- the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "ours", "again"),
    [
        (("Duplicate", "409"), ObjectConflict, False),
        (("KeyAlreadyExists", 409), ObjectConflict, False),
        (("not_found", "404"), ObjectMissing, False),
        (("NoSuchKey", 404), ObjectMissing, False),
        (("Bucket not found", "404"), StoreMisconfigured, False),
        (("InternalError", 404), StoreUnavailable, False),
        (("Payload too large", "413"), StoreMisconfigured, False),
        (("InternalError", 413), StoreMisconfigured, False),
        (("invalid_mime_type", "415"), StoreMisconfigured, False),
        (("Unauthorized", "403"), StoreMisconfigured, False),
        (("InvalidJWT", "400"), StoreMisconfigured, False),
        (("InternalError", 401), StoreMisconfigured, False),
        (("TransactionError", "409"), StoreUnavailable, True),
        (("ResourceLocked", "423"), StoreUnavailable, True),
        (("InternalError", 429), StoreUnavailable, True),
        (("InternalError", "500"), StoreUnavailable, True),
        (("acquiring_lock_timeout", "503"), StoreUnavailable, True),
        (("DatabaseTimeout", "544"), StoreUnavailable, True),
        (("InvalidKey", "400"), StoreUnavailable, False),
        (("InternalError", 302), StoreUnavailable, False),
        (("a word nobody thought of", "not a number"), StoreUnavailable, False),
    ],
)
def test_a_refusal_means_the_same_as_a_string_and_as_a_number(
    marks: tuple[str, str | int], ours: type[Exception], again: bool
) -> None:
    for status in (marks[1], str(marks[1])):
        error, resend = refusal(BUCKET, marks[0], status)
        assert (type(error), resend) == (ours, again)


def test_every_row_of_the_table_is_reached() -> None:
    for known, ours, again, meaning in REFUSALS:
        for mark in known:
            error, resend = refusal(BUCKET, mark)
            assert (type(error), resend, str(error)) == (ours, again, f"bucket {BUCKET} {meaning}")
    assert not REFUSALS[-1][0], "the last row takes the rest"


def test_every_error_of_the_transport_becomes_ours() -> None:
    def descendants(parent: type[Exception]) -> Iterator[type[Exception]]:
        yield parent
        for child in parent.__subclasses__():
            yield from descendants(child)

    roots = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError)
    foreign = [each for root in roots for each in descendants(root)]
    assert len(foreign) > 35
    every: list[type[Exception]] = [*foreign, TimeoutError, ValueError, KeyError, TypeError]
    for each in every:
        ours, _ = trouble(BUCKET, each.__new__(each))
        assert isinstance(ours, StoreUnavailable)
        assert each.__name__ in str(ours)
    assert {each for each, _, _ in ERRORS} <= {*foreign, TimeoutError, ValueError, LookupError, TypeError}


def test_error_of_our_own_making_is_not_hidden() -> None:
    with pytest.raises(AssertionError):
        trouble(BUCKET, AssertionError("a bug"))
