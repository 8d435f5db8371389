"""Pictures by address: fetched for callers with a name, a few at a time."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from copperplate.access.owners import named_owner
from copperplate.denials import AddressNeedsName, TooManyFetches, TooManyFetchesOfCaller
from copperplate.ports.sources import SourceRefused
from copperplate.source_errors import SourceNotFetched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.access.caller import Caller
    from copperplate.ports.sources import PictureSource

# Each has room for the largest picture as long as it takes: slow hosts leave half of it to those who send theirs.
AT_ONCE: Final = 2
AT_ONCE_OF_CALLER: Final = 1


class Fetches:
    """What this process fetches at this moment. A stranger's address is never fetched: we are nobody's proxy."""

    def __init__(self, web: PictureSource) -> None:
        self._web = web
        self._under_way: Counter[str] = Counter()

    async def fetch(self, address: str) -> bytes:
        """The bytes at an address, by whoever has a place. Raises `SourceNotFetched` with the reason alone."""
        try:
            return await self._web.read(address)
        except SourceRefused as refused:
            message = f"The picture was not fetched: {refused}. Mend its address, or send the file itself."
            raise SourceNotFetched(message) from None

    @contextmanager
    def place_of(self, caller: Caller) -> Iterator[None]:
        """A place among the fetches, for a caller with a name.

        Raises `Unauthorized`, `AddressNeedsName`, `TooManyFetches`, `TooManyFetchesOfCaller`.
        """
        owner = named_owner(caller, what="A picture's address", denial=AddressNeedsName)
        if self._under_way[owner] >= AT_ONCE_OF_CALLER:
            raise TooManyFetchesOfCaller(AT_ONCE_OF_CALLER)
        if self._under_way.total() >= AT_ONCE:
            raise TooManyFetches
        self._under_way[owner] += 1
        try:
            yield
        finally:
            self._under_way[owner] -= 1
            # Nobody is remembered who waits for nothing.
            self._under_way += Counter()
