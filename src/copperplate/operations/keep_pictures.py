"""Keeps pictures that exist already as if they had been made here: verified, stored, and never paid for.

Each goes the way of a generation, from `acquire` to `complete`, with its bytes in place of a submit: a crash at any
step leaves what the next import, or the next request, goes on from.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from copperplate.errors import CopperplateError, Misconfigured, ProviderFailed, Unavailable
from copperplate.generation.lookup import LookupOptions
from copperplate.generation.verified import Verified
from copperplate.model import Outcome
from copperplate.ports.sources import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.access.gate import Gate
    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import PictureRequest
    from copperplate.ports import Images, Wishes
    from copperplate.ports.sources import PictureSource

# What is asked of the ledger at once.
ROWS_AT_ONCE: Final = 100
# Each holds one picture in memory, as it came and decoded.
PICTURES_AT_ONCE: Final = 4

Place = TypeVar("Place")


class Ending(StrEnum):
    """How a row of the list ended."""

    KEPT = "kept"
    SKIPPED = "skipped"  # stored before, or made by somebody else meanwhile
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPicture(Generic[Place]):
    """A picture that exists: `place` is where the list names it, `name` how its `source` calls it.

    `is_ai_made` is False where nobody says that a model made it.
    """

    place: Place
    request: PictureRequest
    source: PictureSource
    name: str = field(repr=False)
    is_ai_made: bool


@dataclass(slots=True, kw_only=True, eq=False)
class PictureKeeping(Generic[Place]):
    """Keeps what is given. `done` is told of each picture by its place in the list, and of its fault."""

    coordinator: Coordinator
    ledger: Wishes
    images: Images
    gate: Gate
    done: Callable[[Place, str | None], None]
    is_dry_run: bool = False
    endings: Counter[Ending] = field(default_factory=Counter)
    kept_bytes: int = 0
    # By a dry run: what would be stored when the list comes to the same picture again.
    would_keep: set[str] = field(default_factory=set)

    async def keep_all(self, pictures: Sequence[GivenPicture[Place]]) -> None:
        """Keep each of some pictures that is not stored; a fault is told and passed over.

        Raises `Unavailable` and `Misconfigured` where the ledger or the store fails: what is kept by then is kept.
        """
        stored = await self.ledger.stored_keys({each.request.generation_key for each in pictures})
        places = asyncio.Semaphore(PICTURES_AT_ONCE)

        async def keep(picture: GivenPicture[Place]) -> None:
            async with places:
                await self._keep_or_tell(picture)

        try:
            async with asyncio.TaskGroup() as keeping:
                for picture in pictures:
                    if picture.request.generation_key in stored:
                        self.end(picture.place, Ending.SKIPPED)
                    else:
                        keeping.create_task(keep(picture))
        except* (Unavailable, Misconfigured) as failed:
            raise failed.exceptions[0] from None

    def end(self, place: Place, ending: Ending, fault: str | None = None) -> None:
        """Count an ending, and tell it."""
        self.endings[ending] += 1
        self.done(place, fault)

    async def _keep_or_tell(self, picture: GivenPicture[Place]) -> None:
        try:
            ending = await self._keep(picture)
        except (Unavailable, Misconfigured):
            raise
        except (SourceRefused, ProviderFailed) as error:
            self.end(picture.place, Ending.FAILED, str(error))
        except CopperplateError as error:
            self.end(picture.place, Ending.FAILED, f"{error} [{error.code}]")
        else:
            self.end(picture.place, ending)

    async def _keep(self, picture: GivenPicture[Place]) -> Ending:
        body, request = await picture.source.read(picture.name), picture.request
        # Before anything is led: a faulty picture is no failure of its prompt.
        facts = await self.images.verify(body, covers=request.canvas, begin=_begin_at_once)
        given = Verified(body=body, usage={}, facts=facts, is_ai_made=picture.is_ai_made)
        if not await (self._would_keep(request) if self.is_dry_run else self._store(request, given)):
            return Ending.SKIPPED
        self.kept_bytes += len(body)
        return Ending.KEPT

    async def _store(self, request: PictureRequest, given: Verified) -> bool:
        options = LookupOptions(permit=self.gate.permit_to_import(), given=given)
        return (await self.coordinator.find(request, options)).outcome is Outcome.GENERATED

    async def _would_keep(self, request: PictureRequest) -> bool:
        is_first = request.generation_key not in self.would_keep
        self.would_keep.add(request.generation_key)
        return is_first


async def _begin_at_once() -> None:
    """Nobody has to be told that a picture of ours is decoded."""
