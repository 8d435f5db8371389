"""What Supabase Storage says of a bucket: whether everybody may read it, and what it takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import StoreMisconfigured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from copperplate.model import Needs

# How long a change in the dashboard may stay unseen by a process that makes pictures.
FRESH_SECONDS: Final = 15.0
ADDRESS_FRESH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings of one bucket; a limit or types that are None are the project's."""

    is_public: bool
    max_bytes: int | None
    media_types: tuple[str, ...] | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Terms:
        """As Storage writes them; raises LookupError, TypeError or ValueError where it is no bucket."""
        limit, types = row["file_size_limit"], row["allowed_mime_types"]
        if not isinstance(row["public"], bool):
            raise TypeError("not a bucket")
        return cls(
            is_public=row["public"],
            max_bytes=None if limit is None else int(limit),
            media_types=tuple(map(str, types)) if types else None,
        )

    def fault(self, needs: Needs) -> str | None:
        """What is in the way of objects like those, and what to do; None where nothing is."""
        if needs.address and not self.is_public:
            return PRIVATE
        if self.max_bytes is not None and self.max_bytes < needs.min_bytes:
            return (
                f"takes at most {self.max_bytes} bytes an object, and the picture that was asked for needs more: "
                "raise its size limit in the Supabase dashboard"
            )
        if refused := sorted(media_type for media_type in needs.media_types if not self._takes(media_type)):
            return f"does not take {', '.join(refused)}: allow them in the Supabase dashboard"
        return None

    def _takes(self, media_type: str) -> bool:
        family = f"{media_type.partition('/')[0]}/*"
        return self.media_types is None or bool({media_type, family, "*/*"} & set(self.media_types))


PRIVATE: Final = (
    "is private, so the addresses of its objects answer 400 to everybody: make it public in the Supabase dashboard"
)


class BucketTerms:
    """The terms of one bucket, asked at most once at a time and kept for some seconds.

    Only somebody with rights is answered: who sees the bucket would see its objects.
    """

    def __init__(self, bucket: str, ask: Callable[[], Awaitable[Terms]]) -> None:
        self._bucket = bucket
        self._ask = ask
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self.known: Terms | None = None

    async def read(self, *, fresh_seconds: float = FRESH_SECONDS) -> Terms:
        """The terms, not older than that. Raises `StoreUnavailable`, `StoreMisconfigured`."""
        wanted_at = asyncio.get_running_loop().time() - fresh_seconds
        async with self._lock:
            # Who waited here is answered by what was asked meanwhile.
            if self.known is None or self._asked_at < wanted_at:
                asked_at = asyncio.get_running_loop().time()
                self.known = await self._ask()
                self._asked_at = asked_at
            return self.known

    async def require(self, needs: Needs) -> None:
        """Raise `StoreMisconfigured` where such objects would be refused, or could not be opened.

        An upload tells when the bucket takes no more, not when it was made private: that is asked nearly every time.
        """
        asked_at = self._asked_at
        terms = await self.read(fresh_seconds=ADDRESS_FRESH_SECONDS if needs.address else FRESH_SECONDS)
        if terms.fault(needs) is not None and self._asked_at == asked_at:
            terms = await self.read(fresh_seconds=0)  # it may have been mended since
        if (fault := terms.fault(needs)) is not None:
            raise StoreMisconfigured(f"bucket {self._bucket} {fault}")

    def doubt(self) -> None:
        """Ask anew before the next use: something was refused."""
        self._asked_at = float("-inf")
