"""Vercel's CDN: copies of pictures are forgotten by the tags they were answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import httpx

from copperplate.adapters.certificates import authorities
from copperplate.errors import CdnUnavailable, Misconfigured
from copperplate.ports.cdns import CdnScope
from copperplate.recipes.objects import ALL_TAG, tag_of

if TYPE_CHECKING:
    from copperplate.ports.cdns import CdnCopies

SECONDS: Final = 10.0
MAX_TAGS: Final = 16  # one call takes no more
# Deleted, not invalidated: a wrong picture must not be shown once more while it is made anew.
PATH: Final = "/v1/edge-cache/dangerously-delete-by-tags"


class VercelCdn:
    """Asks Vercel's API, with a token that may purge the cache of the project."""

    scope = CdnScope.TAG

    def __init__(self, api_url: str, *, token: str, project_id: str, team_id: str | None = None) -> None:
        self._params = {"projectIdOrName": project_id} | ({"teamId": team_id} if team_id else {})
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(base_url=api_url, headers=headers, verify=authorities(), timeout=SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def forget(self, copies: CdnCopies) -> None:
        """See `Cdn.forget`."""
        tags = [ALL_TAG] if copies.is_everything else [tag_of(key) for key in copies.generation_keys]
        for first in range(0, len(tags), MAX_TAGS):
            await self._delete(tags[first : first + MAX_TAGS])

    async def _delete(self, tags: list[str]) -> None:
        try:
            answer = await self._client.post(PATH, params=self._params, json={"tags": tags, "target": "production"})
        except httpx.HTTPError as error:
            raise CdnUnavailable(_advise("does not answer", tags)) from error
        if answer.status_code in (401, 403, 404):
            raise Misconfigured(
                f"Vercel refuses the purge ({answer.status_code}): check COPPERPLATE_VERCEL_TOKEN, VERCEL_PROJECT_ID "
                "and VERCEL_TEAM_ID. Its copies end by themselves after "
                "COPPERPLATE_CDN_SECONDS."
            )
        if not answer.is_success:
            raise CdnUnavailable(_advise(f"answers {answer.status_code}", tags))


def _advise(what: str, tags: list[str]) -> str:
    command = " ".join(f"--tag {tag}" for tag in tags)
    return (
        f"Vercel's API {what}: its copies end by themselves after COPPERPLATE_CDN_SECONDS, or run "
        f"`vercel cache dangerously-delete {command}`."
    )
