"""Keeps pictures that exist already as if they had been generated: verified, stored, and never paid for.

Each goes the way of a generation, from `acquire` to `complete`, with its bytes in place of a submit: a crash at any
step leaves what the next import, or the next request, goes on from.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError, Misconfigured, ProviderFailed, Unavailable
from copperplate.generation.lookup import LookupOptions
from copperplate.generation.verified import Verified
from copperplate.model import Outcome
from copperplate.operations.import_lists import FaultyRow, ImportRow
from copperplate.ports.sources import SourceRefused
from copperplate.recipes.image import image_request
from copperplate.recipes.models import model_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from copperplate.access.gate import Gate
    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import PictureRequest
    from copperplate.ports import Images, Provider, Wishes
    from copperplate.ports.sources import PictureSource

# What is asked of the ledger at once.
ROWS_AT_ONCE: Final = 100
# Each holds one picture in memory, as it came and decoded.
PICTURES_AT_ONCE: Final = 4


class Ending(StrEnum):
    """How a row of the list ended."""

    KEPT = "kept"
    SKIPPED = "skipped"  # stored before, or made by somebody else meanwhile
    FAILED = "failed"


@dataclass(slots=True, kw_only=True, eq=False)
class PictureImport:
    """One import. `files` and `web` are where pictures are read; `done` is told of each row, faults with their line."""

    coordinator: Coordinator
    ledger: Wishes
    images: Images
    provider: Provider
    gate: Gate
    files: PictureSource
    web: PictureSource
    done: Callable[[int, str | None], None]
    is_dry_run: bool = False
    endings: Counter[Ending] = field(default_factory=Counter)
    kept_bytes: int = 0
    # By a dry run: what would be stored when the list comes to the same picture again.
    would_keep: set[str] = field(default_factory=set)

    async def run(self, rows: Iterable[ImportRow | FaultyRow]) -> None:
        """Keep every picture of the list. A faulty row is told and passed over.

        Raises `Unavailable` and `Misconfigured` where the ledger or the store fails: what is kept by then is kept.
        """
        remaining = iter(rows)
        while some := list(itertools.islice(remaining, ROWS_AT_ONCE)):
            await self._keep_all(self._read_all(some))

    def _read_all(self, rows: Sequence[ImportRow | FaultyRow]) -> list[tuple[ImportRow, PictureRequest]]:
        """The rows that can be read, with what they ask for."""
        read = []
        for row in rows:
            if isinstance(row, FaultyRow):
                self._end(row.line, Ending.FAILED, row.fault)
                continue
            try:
                read.append((row, self._request_of(row)))
            except CopperplateError as error:
                self._end(row.line, Ending.FAILED, f"{error} [{error.code}]")
        return read

    def _request_of(self, row: ImportRow) -> PictureRequest:
        model = row.model or self.provider.models[0]
        return image_request(
            prompt=row.prompt,
            width=row.width,
            height=row.height,
            format=row.format,
            model=model,
            seed=row.seed,
            settings=model_parameters(self.provider, model),
        )

    async def _keep_all(self, rows: Sequence[tuple[ImportRow, PictureRequest]]) -> None:
        stored = await self.ledger.stored_keys({request.generation_key for _, request in rows})
        places = asyncio.Semaphore(PICTURES_AT_ONCE)

        async def keep(row: ImportRow, request: PictureRequest) -> None:
            async with places:
                await self._keep_or_tell(row, request)

        try:
            async with asyncio.TaskGroup() as keeping:
                for row, request in rows:
                    if request.generation_key in stored:
                        self._end(row.line, Ending.SKIPPED)
                    else:
                        keeping.create_task(keep(row, request))
        except* (Unavailable, Misconfigured) as failed:
            raise failed.exceptions[0] from None

    async def _keep_or_tell(self, row: ImportRow, request: PictureRequest) -> None:
        try:
            ending = await self._keep(row, request)
        except (Unavailable, Misconfigured):
            raise
        except (SourceRefused, ProviderFailed) as error:
            self._end(row.line, Ending.FAILED, str(error))
        except CopperplateError as error:
            self._end(row.line, Ending.FAILED, f"{error} [{error.code}]")
        else:
            self._end(row.line, ending)

    async def _keep(self, row: ImportRow, request: PictureRequest) -> Ending:
        body = await (self.web if row.is_on_web else self.files).read(row.source)
        # Before anything is led: a faulty picture is no failure of its prompt.
        facts = await self.images.verify(body, covers=request.canvas, begin=_begin_at_once)
        given = Verified(body=body, usage={}, facts=facts, is_ai_made=row.model is not None)
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

    def _end(self, line: int, ending: Ending, fault: str | None = None) -> None:
        self.endings[ending] += 1
        self.done(line, fault)


async def _begin_at_once() -> None:
    """Nobody has to be told that a picture of ours is decoded."""
