"""The CDN before Supabase Storage: copies of objects are forgotten by the objects' own paths."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.supabase.http import TRANSPORT_ERRORS, key_headers
from copperplate.errors import CdnUnavailable, Misconfigured
from copperplate.ports.cdns import CdnScope

if TYPE_CHECKING:
    import httpx

    from copperplate.ports.cdns import CdnCopies

logger = logging.getLogger(__name__)

SECONDS: Final = 10.0
AT_ONCE: Final = 8
ENDS: Final = "What it holds ends within the hour"
# What Storage answers where there is no CDN to purge: a plan without it, or Storage on a machine of one's own.
WITHOUT: Final = frozenset({"FeatureNotEnabled", "MissingParameter", "Not Found"})


class StorageCdn:
    """Asks Storage, with the project's secret key, to have its CDN forget objects.

    A plan without purges is no failure: that is logged, with what it means.
    """

    scope = CdnScope.OBJECT

    def __init__(self, client: httpx.AsyncClient, supabase_url: str, key: str) -> None:
        self._client = client
        self._url = f"{supabase_url.rstrip('/')}/storage/v1/cdn"
        self._headers = key_headers(key)

    async def forget(self, copies: CdnCopies) -> None:
        """See `Cdn.forget`. One call an object, or a whole bucket."""
        buckets = {bucket for bucket, path in copies.objects if path is None}
        targets = sorted(buckets) + [f"{bucket}/{path}" for bucket, path in copies.objects if bucket not in buckets]
        turns = asyncio.Semaphore(AT_ONCE)
        ends = await asyncio.gather(*(self._purge(turns, target) for target in targets), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        if False in ends:
            logger.warning("purge: this project's Storage has no CDN that can be purged. %s of its last answer", ENDS)

    async def _purge(self, turns: asyncio.Semaphore, target: str) -> bool:
        """Whether there was a CDN to ask."""
        async with turns:
            try:
                answer = await self._client.delete(f"{self._url}/{target}", headers=self._headers, timeout=SECONDS)
            except TRANSPORT_ERRORS as error:
                raise CdnUnavailable(f"Storage's CDN cannot be purged, Storage does not answer. {ENDS}.") from error
        if answer.is_success:
            return True
        words = _words_of(answer)
        if words & WITHOUT:
            return False
        if {"403", "401"} & words:
            raise Misconfigured(f"Storage refuses to purge its CDN: check SUPABASE_SECRET_KEY. {ENDS}.")
        raise CdnUnavailable(f"Storage answers {answer.status_code} to a purge of its CDN. {ENDS}.")


def _words_of(answer: httpx.Response) -> set[str]:
    """Code, error and status of a refusal, the body's and HTTP's."""
    words = {str(answer.status_code)}
    try:
        body: Any = answer.json()
        words |= {str(body.get(name)) for name in ("code", "error", "statusCode")}
    except (ValueError, AttributeError):
        pass
    return words
