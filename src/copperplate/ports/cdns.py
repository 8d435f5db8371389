"""CDNs, and the outbox of what they are to forget."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import timedelta
    from uuid import UUID


# Copies of a scope that a CDN is told of at once: two calls to Vercel, which takes few a minute. More are everything.
MOST: Final = 32


class CdnScope(StrEnum):
    """How a CDN knows copies; spelled the same in SQL."""

    TAG = "tag"  # by the tags that pictures were answered with
    OBJECT = "object"  # by the names of objects in the store


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnCopies:
    """Copies that CDNs are to forget: those of generations, or of everything, and of objects as (bucket, path).

    Without a path it is the whole bucket. `discarded` are those of the objects that no row of the ledger needs, and
    that their stores may still have: they may be removed there. `dropped` counts purges that were given up.
    """

    generation_keys: tuple[str, ...] = ()
    is_everything: bool = False
    objects: tuple[tuple[str, str | None], ...] = ()
    discarded: tuple[tuple[str, str], ...] = ()
    dropped: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CdnCopies:
        """The answer of `take_cdn_purges`."""
        return cls(
            generation_keys=tuple(row["keys"]),
            is_everything=row["is_everything"],
            objects=tuple((bucket, path) for bucket, path in row["objects"]),
            discarded=tuple((bucket, path) for bucket, path in row["discarded"]),
            dropped=row["dropped"],
        )

    def has(self, scope: CdnScope) -> bool:
        """Whether there are some that a CDN of this scope knows."""
        if scope is CdnScope.OBJECT:
            return bool(self.objects)
        return self.is_everything or bool(self.generation_keys)


class Cdn(Protocol):
    """Copies of pictures outside of our reach, forgotten on request."""

    scope: CdnScope

    async def forget(self, copies: CdnCopies) -> None:
        """Drop these copies, those of its scope, `MOST` of them at most.

        May be repeated. Raises `CdnUnavailable`, `Misconfigured`.
        """


class CdnOutbox(Protocol):
    """CDN purges that wait in the ledger, from the transaction on that declared a picture wrong. Raises as `Ledger`."""

    async def take_cdn_purges(
        self, scopes: Collection[CdnScope], claim: UUID, *, limit: int, held_for: timedelta, lifetime: timedelta
    ) -> CdnCopies:
        """Take what is due, under a claim of the caller's own; for `held_for` nobody else takes it.

        More than `limit` of a scope are everything, or whole buckets. What was first taken longer ago than `lifetime`,
        after which copies have ended by themselves, is dropped and counted.
        """

    async def settle_cdn_purges(self, claim: UUID, scope: CdnScope, *, is_done: bool) -> int:
        """The CDN was told of what the claim took of a scope, or could not be; answers how much is due again later.

        What failed is due after a growing pause. What was told too soon after it was first taken, while processes could
        still answer it from a tier, is due once more.
        """
