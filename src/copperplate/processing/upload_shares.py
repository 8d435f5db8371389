"""How much of what a process has for uploads one caller may take: one keeps nobody else out."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from copperplate.access.owners import asker_of
from copperplate.denials import TooManyUploadsOfCaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from copperplate.access.caller import Caller
    from copperplate.errors import CopperplateError
    from copperplate.processing.held_pictures import HeldPicture

# The part of the places and of the bytes of a process that is one caller's.
PART: Final = 4
# Of a caller who may have nothing made: only what is stored already can be answered.
MAX_READ_WITHOUT_SPENDING: Final = 4
# So long an upload waits for another one of its caller, and so many wait for each place.
SHARE_SECONDS: Final = 30.0
MAX_WAITING: Final = 8
LOOK_SECONDS: Final = 0.02
RETRY_SECONDS: Final = 5
_TOO_MANY: Final = "{most} of your uploads are read at once, others wait for them. Send this one after Retry-After."


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploader:
    """Who uploads, by the names under which it is counted: each has a share."""

    names: Sequence[str]
    may_spend: bool

    @classmethod
    def of(cls, caller: Caller, *, may_spend: bool) -> Uploader:
        """An API key is counted by itself, as the owner gave it; all others by their address, and by their sign-in."""
        own = () if caller.key is None and caller.user is None else (asker_of(caller),)
        return cls(names=own if caller.key is not None else (f"address:{caller.address}", *own), may_spend=may_spend)


@dataclass(slots=True, eq=False)
class _Share:
    """What one name has at this moment. `expected_bytes` are those of the uploads that are read."""

    places: int = 0
    expected_bytes: int = 0
    waiting: int = 0
    pictures: WeakSet[HeldPicture] = field(default_factory=WeakSet)

    @property
    def held_bytes(self) -> int:
        return sum(picture.size_bytes for picture in self.pictures)

    def has_room_for(self, picture: HeldPicture, max_bytes: int) -> bool:
        """Whether it fits, or less than half of the share is taken: then one more of any size is let in."""
        held_bytes = self.held_bytes
        is_held = picture in self.pictures
        return is_held or held_bytes * 2 < max_bytes or held_bytes + picture.size_bytes <= max_bytes

    @property
    def is_empty(self) -> bool:
        return not (self.places or self.waiting or self.pictures)

    @contextmanager
    def wait(self, most: int) -> Iterator[None]:
        if self.waiting >= most * MAX_WAITING:
            raise _too_many(most)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def take(self, size_bytes: int) -> Iterator[None]:
        self.places += 1
        self.expected_bytes += size_bytes
        try:
            yield
        finally:
            self.places -= 1
            self.expected_bytes -= size_bytes


class Place:
    """An upload that is read, in the shares of its caller."""

    def __init__(self, shares: Sequence[_Share], most: int, max_bytes: int) -> None:
        self._shares = shares
        self._most = most
        self._max_bytes = max_bytes

    async def hold(self, picture: HeldPicture) -> None:
        """It came: it counts as its caller's for as long as anybody holds it, and the same bytes count once.

        Waits for room in the share. Raises `TooManyUploadsOfCaller` after half a minute.
        """
        await _wait_in_share(
            lambda: all(share.has_room_for(picture, self._max_bytes) for share in self._shares), self._most
        )
        for share in self._shares:
            share.pictures.add(picture)


class Shares:
    """What each caller has. Nothing is kept of who has nothing."""

    def __init__(self, *, max_places: int, max_bytes: int) -> None:
        self._max_places = max_places
        self._max_bytes = max_bytes
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def place(self, uploader: Uploader, size_bytes: int) -> AsyncIterator[Place]:
        """A place for an upload of so many bytes, waited for. Raises `TooManyUploadsOfCaller` after half a minute."""
        most = self._max_places if uploader.may_spend else min(self._max_places, MAX_READ_WITHOUT_SPENDING)
        shares = [self._shares.setdefault(name, _Share()) for name in uploader.names]
        try:
            with ExitStack() as waiting:
                for share in shares:
                    waiting.enter_context(share.wait(most))
                await _wait_in_share(lambda: all(self._fits(share, most, size_bytes) for share in shares), most)
                taken = ExitStack()
                for share in shares:
                    taken.enter_context(share.take(size_bytes))
            with taken:
                yield Place(shares, most, self._max_bytes)
        finally:
            self._shares = {name: share for name, share in self._shares.items() if not share.is_empty}

    def _fits(self, share: _Share, most: int, size_bytes: int) -> bool:
        # One is read always: it may be what is held already.
        if share.places == 0:
            return True
        return share.places < most and share.expected_bytes + share.held_bytes + size_bytes <= self._max_bytes


async def wait_until(
    condition: Callable[[], bool], *, within_seconds: float, refusal: Callable[[], CopperplateError]
) -> float:
    """Look until it holds; answers how many seconds that took. Raises the refusal once the time is over.

    Nothing signals it: room is made where the last holder lets a picture go.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        if loop.time() - began >= within_seconds:
            raise refusal()
        await asyncio.sleep(LOOK_SECONDS)
    return loop.time() - began


async def _wait_in_share(condition: Callable[[], bool], most: int) -> None:
    await wait_until(condition, within_seconds=SHARE_SECONDS, refusal=lambda: _too_many(most))


def _too_many(most: int) -> TooManyUploadsOfCaller:
    return TooManyUploadsOfCaller(most, RETRY_SECONDS, _TOO_MANY)
