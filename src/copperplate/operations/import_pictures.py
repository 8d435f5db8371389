"""Imports pictures that exist already, by a list of what they are pictures of (`import_lists`)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.errors import CopperplateError
from copperplate.operations.import_lists import FaultyRow, ImportRow
from copperplate.operations.keep_pictures import ROWS_AT_ONCE, Ending, GivenPicture, PictureKeeping
from copperplate.recipes.image import image_request
from copperplate.recipes.models import model_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from copperplate.model import PictureRequest
    from copperplate.ports import Provider
    from copperplate.ports.sources import PictureSource


@dataclass(slots=True, kw_only=True, eq=False)
class PictureImport(PictureKeeping[int]):
    """One import. `files` and `web` are where pictures are read; `done` is told of each row by its line."""

    provider: Provider
    files: PictureSource
    web: PictureSource

    async def run(self, rows: Iterable[ImportRow | FaultyRow]) -> None:
        """Keep every picture of the list. A faulty row is told and passed over.

        Raises `Unavailable` and `Misconfigured` where the ledger or the store fails: what is kept by then is kept.
        """
        remaining = iter(rows)
        while some := list(itertools.islice(remaining, ROWS_AT_ONCE)):
            await self.keep_all(self._read_all(some))

    def _read_all(self, rows: Sequence[ImportRow | FaultyRow]) -> list[GivenPicture[int]]:
        """The rows that can be read, with what they ask for."""
        read = []
        for row in rows:
            if isinstance(row, FaultyRow):
                self.end(row.line, Ending.FAILED, row.fault)
                continue
            try:
                read.append(self._given(row))
            except CopperplateError as error:
                self.end(row.line, Ending.FAILED, f"{error} [{error.code}]")
        return read

    def _given(self, row: ImportRow) -> GivenPicture[int]:
        return GivenPicture(
            place=row.line,
            request=self._request_of(row),
            source=self.web if row.is_on_web else self.files,
            name=row.source,
            is_ai_made=row.model is not None,
        )

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
