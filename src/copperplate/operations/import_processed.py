"""Imports the results of a processing cache: each is kept under the digest of the picture that it was made from.

Nothing is known of that picture itself but its digest, so nothing is written down of it. Whoever brings it finds its
results, and is noted then.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.operations.keep_pictures import ROWS_AT_ONCE, Ending, GivenPicture, PictureKeeping
from copperplate.operations.processing_caches import CachedResult, FaultyResult
from copperplate.ports.sources import SourceRefused
from copperplate.recipes.processed import processed_recipe, processed_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from copperplate.ports.sources import PictureSource
    from copperplate.processing_models import ProcessingModel
    from copperplate.source_pictures import Operation


@dataclass(slots=True, kw_only=True, eq=False)
class ProcessedImport(PictureKeeping[str]):
    """One import. `models` are who is taken to have made the results, with default parameters.

    Of the operations in `named` somebody said so: those results are known to be a model's.
    """

    models: Mapping[Operation, ProcessingModel]
    named: Collection[Operation]
    files: PictureSource

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`. A path as of a web page, with a `/` before it, lies below the root as well."""
        try:
            return await self.files.read(name)
        except SourceRefused:
            if not name.startswith("/"):
                raise
            return await self.files.read(name.lstrip("/"))

    async def run(self, results: Iterable[CachedResult | FaultyResult]) -> None:
        """Keep every result. A faulty one is told and passed over. Raises as `keep_all` does."""
        remaining = iter(results)
        while some := list(itertools.islice(remaining, ROWS_AT_ONCE)):
            for each in some:
                if isinstance(each, FaultyResult):
                    self.end(each.place, Ending.FAILED, each.fault)
            await self.keep_all([self._given(each) for each in some if isinstance(each, CachedResult)])

    def _given(self, result: CachedResult) -> GivenPicture[str]:
        recipe = processed_recipe(result.source, self.models[result.operation], {})
        return GivenPicture(
            place=result.place,
            request=processed_request(recipe),
            source=self,
            name=result.path,
            is_ai_made=result.operation in self.named,
        )
