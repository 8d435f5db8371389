"""`POST /api/process/uploads`, and pictures that were uploaded past this server: each for who asked for it alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import httpx
import pytest

from copperplate.access.caller import Caller
from copperplate.access.object_tokens import is_upload_of, name_upload
from copperplate.access.owners import owner_of
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import ApiKey, Scope
from copperplate.http.app import create_app
from copperplate.model import UploadAddress
from copperplate.operations.cleanup import clean
from copperplate.processing.upload_offers import MAX_OFFERS, WITHIN_SECONDS, UploadOffers
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import SourceUnknown
from tests.support.api_keys import keep_key
from tests.support.memory_services import memory_services
from tests.support.tokens import SECRET, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.processing.held_pictures import HeldPicture
    from tests.support.memory_services import MemoryServices

DAY_SECONDS: Final = 86_400
ADDRESS: Final = "/api/process/uploads"
WISH: Final = {"content_type": "image/jpeg", "size_bytes": 9_000_000}
NAME: Final = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9a-f]{64}\.[a-z]{3,4}")
NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
async def services(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": "keys"})
    store = made.stores[PROCESSED.bucket]

    async def upload_address(path: str, *, media_type: str) -> UploadAddress:
        return UploadAddress(url=f"https://s.test/{path}", headers={"content-type": media_type}, expires_at=NOW)

    monkeypatch.setattr(store, "upload_address", upload_address)
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        yield client


async def credentials(services: MemoryServices, who: str) -> dict[str, str]:
    tokens = Tokens(LOCAL_ISSUER, SystemClock().now())
    if who == "key":
        return {"authorization": f"Bearer {(await keep_key(services.ledger)).text}"}
    if who == "purger":
        return {"authorization": f"Bearer {(await keep_key(services.ledger, Scope.PURGE)).text}"}
    if who == "nobody":
        return {}
    return {"authorization": f"Bearer {tokens.hs(is_anonymous=who == 'stranger')}"}


def caller(number: int) -> Caller:
    return Caller(address="a", key=ApiKey(id=UUID(int=number), prefix="p", tier="standard", scopes=frozenset()))


@pytest.mark.parametrize("who", ["key", "user"])
async def test_a_caller_with_a_name_is_told_where_to_upload_to(
    services: MemoryServices, client: httpx.AsyncClient, who: str
) -> None:
    answer = await client.post(ADDRESS, json=WISH, headers=await credentials(services, who))
    told = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert NAME.fullmatch(told["upload"])
    assert told == {
        "upload": told["upload"],
        "url": f"https://s.test/{told['upload']}",
        "method": "PUT",
        "headers": {"content-type": "image/jpeg"},
        "expires_at": "2026-11-30T12:00:00Z",
        "max_bytes": 32 * 1024 * 1024,
    }


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("nobody", 401, "unauthorized"),
        ("stranger", 403, "upload_needs_name"),
        ("purger", 403, "missing_scope"),
    ],
)
async def test_everybody_else_is_told_why_not(
    services: MemoryServices, client: httpx.AsyncClient, who: str, status: int, code: str
) -> None:
    answer = await client.post(ADDRESS, json=WISH, headers=await credentials(services, who))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"content_type": "image/heic"}, 415, "unsupported_picture"),
        ({"content_type": "text/html"}, 415, "unsupported_picture"),
        ({"content_type": None}, 400, "invalid_body"),
        ({"content_type": ["image/png"]}, 400, "invalid_body"),
        ({"size_bytes": 0}, 400, "invalid_body"),
        ({"size_bytes": True}, 400, "invalid_body"),
        ({"size_bytes": 1.5}, 400, "invalid_body"),
        ({"size_bytes": "9"}, 400, "invalid_body"),
        ({"size_bytes": 32 * 1024 * 1024 + 1}, 413, "picture_too_large"),
        ({"path": "2026/11/x.png"}, 400, "unknown_parameter"),
    ],
)
async def test_a_wish_that_cannot_be_met_names_what_is_wrong(
    services: MemoryServices, client: httpx.AsyncClient, changed: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.post(ADDRESS, json=WISH | changed, headers=await credentials(services, "key"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_one_caller_is_offered_so_many_uploads_and_another_one_for_each_that_was_long_ago(
    services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, others = [await credentials(services, "key") for _ in range(2)]
    clock = FakeClock()

    async def ask(headers: dict[str, str], **changed: str) -> httpx.Response:
        return await client.post(ADDRESS, json=WISH | changed, headers=headers)

    monkeypatch.setattr(UploadOffers, "_now", lambda _: clock.monotonic())
    assert (await ask(mine, content_type="text/html")).status_code == 415  # what is not offered does not count
    for number in range(MAX_OFFERS):
        await clock.advance(60 if number == 1 else 0)
        assert (await ask(mine)).status_code == 200
    for _ in range(2):
        answer = await ask(mine)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads_of_caller")
        assert answer.headers["retry-after"] == f"{WITHIN_SECONDS - 60:.0f}"
    assert (await ask(others)).status_code == 200
    await clock.advance(WITHIN_SECONDS - 60)
    assert [(await ask(mine)).status_code for _ in range(2)] == [200, 429]


async def test_a_gif_may_be_uploaded(services: MemoryServices, client: httpx.AsyncClient) -> None:
    wish = {"content_type": "Image/GIF; x=1", "size_bytes": 1}
    answer = await client.post(ADDRESS, json=wish, headers=await credentials(services, "key"))
    assert answer.json()["upload"].endswith(".gif")


async def test_where_pictures_lie_in_a_folder_the_file_itself_is_sent() -> None:
    services = memory_services()
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        answer = await client.post(ADDRESS, json=WISH, headers=await credentials(services, "key"))
    assert (answer.status_code, answer.json()["code"]) == (400, "no_direct_uploads")
    assert "32 MB" in answer.json()["detail"]
    await services.request_meter.close()


async def test_an_upload_is_read_for_its_owner_and_is_unknown_to_everybody_else(services: MemoryServices) -> None:
    store, sources = services.stores[PROCESSED.bucket], services.processing.sources
    owner, other = caller(1), caller(2)
    secret = await store.address_secret()
    path = name_upload(secret, owner_of(owner) or "", now=NOW, ending="png")
    body = b"no picture, and judged as if it were sent"
    judged: list[bytes | None] = []

    async def of_held(held: HeldPicture, caller: Caller, **_: Any) -> Any:
        assert caller is owner
        judged.append(held.body)

    sources.of_held = of_held  # type: ignore[method-assign]
    with pytest.raises(SourceUnknown) as absent:
        await sources.of_upload(path, owner)
    await store.put(path, body, media_type="image/png")
    await sources.of_upload(path, owner)
    assert judged == [body]
    reads = store.gets
    stored = f"2026/11/{'ab' * 32}.png"  # a result, or a clean copy, of somebody
    await store.put(stored, body, media_type="image/png")
    for name, who in [
        (path, other),
        (path, Caller(address="a")),
        (stored, owner),
        (path.replace("png", "jpg"), owner),
        (path.replace("2026/11", "2026/10"), owner),
        ("../../etc/passwd", owner),
        ("", owner),
    ]:
        with pytest.raises(SourceUnknown) as refused:
            await sources.of_upload(name, who)
        assert str(refused.value) == str(absent.value)
    assert store.gets == reads, "nothing is read for a name that is another's"


def test_a_name_is_good_for_its_owner_and_cannot_be_made_without_the_secret() -> None:
    names = {name_upload(b"k" * 32, "key:1", now=NOW, ending="png") for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert is_upload_of("key:1", name, b"k" * 32)
        assert not is_upload_of("key:2", name, b"k" * 32)
        assert not is_upload_of("key:1", name, b"l" * 32)
        half = len("2026/11/") + 32
        changed = name[:half] + ("0" if name[half] != "0" else "1") + name[half + 1 :]
        assert not is_upload_of("key:1", changed, b"k" * 32)
        assert name.startswith(f"{NOW - timedelta():%Y/%m}/")


async def test_what_is_never_processed_is_removed_after_a_day() -> None:
    clock = FakeClock()
    services = memory_services(clock=clock)
    store = services.stores[PROCESSED.bucket]
    path = name_upload(await store.address_secret(), "key:1", now=clock.now(), ending="gif")
    await store.put(path, b"GIF89a", media_type="image/gif")
    await clock.advance(DAY_SECONDS + 1)
    assert (await clean(services.ledger, [store], clock=clock)).orphans == 1
    await clock.advance(3_601)
    assert (await clean(services.ledger, [store], clock=clock)).objects == 1
    assert not await store.exists(path)
    await services.request_meter.close()
