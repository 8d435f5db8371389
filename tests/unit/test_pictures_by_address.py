"""Pictures that callers name by an address: for whom they are fetched, how many at once, and what is said."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from copperplate.access.caller import Caller
from copperplate.api_keys import ApiKey
from copperplate.denials import AddressNeedsName, TooManyFetches, TooManyFetchesOfCaller
from copperplate.errors import Unauthorized
from copperplate.model import MAX_PICTURE_BYTES, Size, User
from copperplate.ports.sources import SourceRefused
from copperplate.processing.fetches import AT_ONCE, AT_ONCE_OF_CALLER, Fetches
from copperplate.processing.sources import Sources
from copperplate.processing.upload_budget import MAX_HELD_BYTES
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import SourceNotFetched
from copperplate.source_pictures import KnownSource, SourcePicture
from copperplate.testing import FakeClock, MemoryStore

if TYPE_CHECKING:
    from copperplate.processing.sources import SourceLedger

URL = "https://pictures.example/a.png?token=secret"
PICTURE = b"a picture"


def person(number: int) -> Caller:
    return Caller(user=User(id=UUID(int=number)))


KEY = Caller(key=ApiKey(id=UUID(int=9), prefix="cp_test", tier="default", scopes=frozenset()))
STRANGER = Caller(address="198.51.100.7")
ANONYMOUS = Caller(user=User(id=UUID(int=1), is_anonymous=True))


class Web:
    """Answers once `goes_on` is set, and counts who asked."""

    def __init__(self, refusal: str | None = None) -> None:
        self.asked: list[str] = []
        self.goes_on = asyncio.Event()
        self.refusal = refusal

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`."""
        self.asked.append(name)
        await self.goes_on.wait()
        if self.refusal is not None:
            raise SourceRefused(self.refusal)
        return PICTURE


def answering(refusal: str | None = None) -> Web:
    web = Web(refusal)
    web.goes_on.set()
    return web


class KnowingLedger:
    """Knows one picture, whoever asks, and notes which digest was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find_source(self, digest: str, *, owner: str | None) -> KnownSource:
        """See `SourcePictures.find_source`."""
        self.asked.append(digest)
        picture = SourcePicture(digest=digest, format="png", size=Size(width=64, height=64), size_bytes=len(PICTURE))
        return KnownSource(picture=picture, is_owned=owner == "user:none", is_taken_down=False)

    async def note_source(self, picture: SourcePicture, *, owner: str | None) -> KnownSource:
        """See `SourcePictures.note_source`: nobody asks for its bytes here."""
        raise AssertionError("it was noted")


class Unasked:
    """A cleaner of pictures that nobody asks: they are known."""

    async def clean(self, body: bytes) -> None:
        """See `Cleaner.clean`."""
        raise AssertionError("it was asked")


def sources(web: Web | None) -> tuple[Sources, KnowingLedger]:
    ledger, clock = KnowingLedger(), FakeClock()
    stores = {PROCESSED.bucket: MemoryStore(PROCESSED.bucket, clock)}
    brought = Sources(
        ledger=cast("SourceLedger", ledger), cleaner=cast("Any", Unasked()), stores=stores, clock=clock, web=web
    )
    return brought, ledger


async def test_a_picture_by_address_is_the_picture_of_its_bytes() -> None:
    brought, ledger = sources(answering())
    source = await brought.of_url(URL, KEY)
    digest = hashlib.sha256(PICTURE).hexdigest()
    assert source.picture.digest == digest
    assert ledger.asked == [digest]


async def test_nothing_is_fetched_where_the_owner_did_not_say_so() -> None:
    brought, ledger = sources(None)
    with pytest.raises(SourceNotFetched, match="COPPERPLATE_PROCESS_URLS"):
        await brought.of_url(URL, KEY)
    assert ledger.asked == []


@pytest.mark.parametrize(("caller", "denial"), [(STRANGER, Unauthorized), (ANONYMOUS, AddressNeedsName)])
async def test_nothing_is_fetched_for_a_caller_without_a_name(caller: Caller, denial: type[Exception]) -> None:
    web = answering()
    brought, ledger = sources(web)
    with pytest.raises(denial):
        await brought.of_url(URL, caller)
    assert (web.asked, ledger.asked) == ([], [])


async def test_the_reason_is_told_and_the_address_is_not() -> None:
    fetches = Fetches(answering("the address answers 404"))
    with pytest.raises(SourceNotFetched, match=r"the address answers 404.*send the file itself") as told:
        await fetched(fetches)
    assert "secret" not in str(told.value)


async def fetched(fetches: Fetches, caller: Caller = KEY) -> bytes:
    with fetches.place_of(caller):
        return await fetches.fetch(URL)


async def fetching(fetches: Fetches, callers: list[Caller]) -> list[asyncio.Task[bytes]]:
    """One fetch for each, all under way."""
    tasks = [asyncio.create_task(fetched(fetches, caller)) for caller in callers]
    await asyncio.sleep(0)
    return tasks


async def test_one_caller_has_one_picture_fetched_at_once() -> None:
    web = Web()
    fetches = Fetches(web)
    tasks = await fetching(fetches, [KEY] * AT_ONCE_OF_CALLER)
    with pytest.raises(TooManyFetchesOfCaller):
        await fetched(fetches)
    (other,) = await fetching(fetches, [person(2)])
    assert len(web.asked) == AT_ONCE_OF_CALLER + 1 == AT_ONCE
    web.goes_on.set()
    assert await asyncio.gather(*tasks, other) == [PICTURE] * (AT_ONCE_OF_CALLER + 1)
    assert await fetched(fetches) == PICTURE


async def test_a_process_fetches_two_pictures_at_once() -> None:
    web = Web()
    fetches = Fetches(web)
    tasks = await fetching(fetches, [person(number) for number in range(AT_ONCE)])
    with pytest.raises(TooManyFetches):
        await fetched(fetches)
    assert len(web.asked) == AT_ONCE
    web.goes_on.set()
    await asyncio.gather(*tasks)


def test_fetches_from_slow_hosts_leave_room_to_those_who_send_their_files() -> None:
    assert AT_ONCE * MAX_PICTURE_BYTES <= MAX_HELD_BYTES // 2


@pytest.mark.parametrize("ending", ["refused", "canceled"])
async def test_a_fetch_that_failed_makes_room_for_the_next(ending: str) -> None:
    web = Web("no")
    fetches = Fetches(web)
    tasks = await fetching(fetches, [KEY] * AT_ONCE_OF_CALLER)
    if ending == "refused":
        web.goes_on.set()
    else:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    web.goes_on.set()
    web.refusal = None
    assert await fetched(fetches) == PICTURE
    assert fetches._under_way == {}
