"""Pictures that were brought to be processed: who had their bytes, what was made of them, where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.source_pictures import KeptInput, KnownSource, LineageNode, ProcessedResult, SourcePicture


class SourcePictures(Protocol):
    """What is known of source pictures. All raise as `Ledger` does; an `owner` is named as budgets name payers."""

    async def note_source(self, picture: SourcePicture, *, owner: str | None) -> KnownSource:
        """Note a source picture, and that `owner` had its bytes; nobody is noted for None. Repeated, it is used again.

        Where no parent is known yet, one is noted: the kept picture whose very bytes these are, or the one that they
        are said to be a rectangle of. That is believed only of bytes that are new here, or that nobody but `owner` had,
        and never of a picture that was itself made from them. Answers what is known then.
        """

    async def find_source(self, digest: str, *, owner: str | None) -> KnownSource | None:
        """What is known of the picture with these bytes, and whether `owner` had them; None where it is unknown."""

    async def keep_input(self, digest: str, kept: KeptInput) -> bool:
        """Note that a clean copy of a source picture lies in the store; False of one that is unknown or taken down.

        Nothing else names the object: a cleanup removes it once it is a day old, and a takedown at once.
        """

    async def find_results(self, digest: str) -> Sequence[ProcessedResult]:
        """Every stored result of a source picture, the newest first."""

    async def may_see_processed(self, generation_key: str, owner: str) -> bool:
        """Whether `owner` had the bytes that this processed picture is made from."""

    async def lineage(
        self, key: str, *, with_descendants: bool = True, owner: str | None = None
    ) -> Sequence[LineageNode]:
        """The picture of that generation, with its ancestors and descendants, the farthest ancestor first.

        `key` is a generation's or that of a stored form. Those that are no longer kept are left out; the walk goes on
        beyond them, for 32 steps and 1,000 nodes at most. Empty where there is none. Each says whether `owner` had the
        bytes it was made from.
        """
