"""Give fal a picture to work on: fal's own storage, with an expiry and an access list on the upload itself.

As fal-client uploads (a token, then one POST to the CDN), and where that fails as fal's JavaScript client does (an
address, then one PUT). fal-client itself has its hosts built in, and falls back to a storage without access lists.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx

from copperplate.adapters.bounded_stream import PLAIN, Unreadable
from copperplate.adapters.certificates import authorities
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.counted import count
from copperplate.adapters.fal.faults import read_json, refused_upload
from copperplate.errors import ProviderFailed, Uncollected
from copperplate.failure_classes import FailureClass

if TYPE_CHECKING:
    from copperplate.model import CleanPicture
    from copperplate.ports import Clock

# fal's queue drops what did not begin within ten minutes; the rest is for the model.
EXPIRES: Final = timedelta(hours=1)
AUTHORIZE_PATH: Final = "/storage/auth/token?storage_type=fal-cdn-v3"
INITIATE_PATH: Final = "/storage/upload/initiate?storage_type=fal-cdn-v3"
_TOKEN_MARGIN: Final = timedelta(minutes=1)


class Uploads:
    """fal's storage for one key. Nothing here is billed, and no address is in a message: whoever has one can read."""

    def __init__(self, *, key: str, clock: Clock, queue_url: str, rest_url: str, acl: str, seconds: float) -> None:
        self.addresses = Addresses(queue_url=queue_url, rest_url=rest_url)
        self._key = key
        self._clock = clock
        self._seconds = seconds
        keep = json.dumps(
            {"expiration_duration_seconds": int(EXPIRES.total_seconds()), "initial_acl": {"default": acl}}
        )
        # As fal-client sends it: the CDN reads the first, the storage's own service the second.
        self._lifecycle = {"X-Fal-Object-Lifecycle": keep, "X-Fal-Object-Lifecycle-Preference": keep}
        self._token: tuple[dict[str, Any], datetime] | None = None
        self._http = httpx.AsyncClient(
            headers=PLAIN,
            verify=authorities(),
            timeout=httpx.Timeout(seconds, connect=5),
            event_hooks={"response": [count]},
        )

    async def put(self, picture: CleanPicture) -> str:
        """The address of the picture at fal, for an hour. Raises `ProviderFailed`, not billed."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._put(picture)
        except TimeoutError:
            raise _not_taken(f"not within {self._seconds} s") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _put(self, picture: CleanPicture) -> str:
        try:
            return await self._through_cdn(picture)
        except ProviderFailed as failed:
            self._token = None
            if failed.failure_class is not FailureClass.TRANSIENT:
                raise
            return await self._through_storage(picture)

    async def _through_cdn(self, picture: CleanPicture) -> str:
        token = await self._fresh_token()
        url = self._checked(f"{token.get('base_url')}/files/upload")
        headers = {
            **self._lifecycle,
            "Authorization": f"{token.get('token_type')} {token.get('token')}",
            "Content-Type": picture.format.media_type,
            # Never the caller's name for it.
            "X-Fal-File-Name": f"input.{picture.format}",
        }
        answer = await self._give("POST", url, content=picture.body, headers=headers)
        return str(self._checked(read_json(answer).get("access_url")))

    async def _through_storage(self, picture: CleanPicture) -> str:
        media_type = picture.format.media_type
        asked = {"file_name": f"input.{picture.format}", "content_type": media_type}
        answer = await self._ask_rest(INITIATE_PATH, asked, self._lifecycle)
        to, at = self._checked(answer.get("upload_url")), self._checked(answer.get("file_url"))
        await self._give("PUT", to, content=picture.body, headers={"Content-Type": media_type})
        return str(at)

    async def _fresh_token(self) -> dict[str, Any]:
        if self._token is None or self._clock.now() >= self._token[1]:
            token = await self._ask_rest(AUTHORIZE_PATH, {}, {})
            self._token = (token, _expiry_of(token, self._clock.now()) - _TOKEN_MARGIN)
        return self._token[0]

    async def _ask_rest(self, path: str, asked: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
        own = {**headers, "Authorization": f"Key {self._key}"}
        response = await self._send("POST", f"{self.addresses.rest_url}{path}", json=asked, headers=own)
        if not response.is_success:
            raise refused_upload(response, now=self._clock.now(), secrets=(self._key,))
        return read_json(response)

    async def _give(self, method: str, url: httpx.URL, **options: Any) -> httpx.Response:
        """Send the bytes. Our key is not at stake there: whatever is refused may be taken another way."""
        response = await self._send(method, url, **options)
        if not response.is_success:
            raise _not_taken(str(response.status_code))
        return response

    async def _send(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, url, **options)
        except (httpx.HTTPError, httpx.InvalidURL, Unreadable) as error:
            raise _not_taken(type(error).__name__) from None

    def _checked(self, url: object) -> httpx.URL:
        try:
            return self.addresses.of_upload(url)
        except Uncollected as error:
            raise _not_taken(str(error)) from None


def _expiry_of(token: dict[str, Any], now: datetime) -> datetime:
    """When a token ends; one that does not say so is used once."""
    try:
        expires_at = datetime.fromisoformat(str(token.get("expires_at")))
    except ValueError:
        return now
    return expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)


def _not_taken(why: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.TRANSIENT, f"fal did not take the input: {why}", billed=False)
