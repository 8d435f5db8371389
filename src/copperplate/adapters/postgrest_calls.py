"""One call of a database function through PostgREST: its time, its repeats, its errors."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from postgrest import AsyncPostgrestClient

from copperplate.adapters.postgrest_errors import Garbled, Refused, translate
from copperplate.adapters.supabase_http import TRANSPORT_ERRORS, key_headers
from copperplate.errors import LedgerUnavailable

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")

# As over a direct connection: within this time in all there is an answer, or the caller gets a 503.
CALL_SECONDS: Final = 2.5
# Before the first, second and third repeat; PostgREST is back from a restart after the second.
PAUSES_SECONDS: Final = (0.1, 0.3, 0.9)


class Calls:
    """Calls functions of schema public as the role of `key`."""

    def __init__(self, client: httpx.AsyncClient, url: str, key: str) -> None:
        headers = {"Accept": "application/json", "Content-Type": "application/json", **key_headers(key)}
        session = cast("httpx.AsyncClient", _Session(client))
        self._postgrest = AsyncPostgrestClient(url, headers=headers, http_client=session, retry_enabled=False)

    async def call(self, function: str, arguments: dict[str, Any], answer: type[Answer]) -> Answer:
        """What the function answers, which must be a `answer`. It may be sent up to four times.

        Raises `LedgerUnavailable`, `Misconfigured`.
        """
        parameters = {name: _interval(value) for name, value in arguments.items()}
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS
        pauses = iter(PAUSES_SECONDS)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._send(function, parameters, answer)
            except TimeoutError as error:
                raise LedgerUnavailable("the database does not answer in time") from error
            except (*TRANSPORT_ERRORS, Refused, Garbled) as error:
                ours, resend = translate(error)
                pause = next(pauses, None)
                if resend == "never" or pause is None:
                    raise ours from error
            # Past the deadline the wait above ends this; jitter, not a secret.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _send(self, function: str, parameters: dict[str, Any], answer: type[Answer]) -> Answer:
        response = await self._postgrest.rpc(function, parameters).execute()
        # Typed as rows, but it is whatever JSON came, or a text where none did.
        got: Any = response.data
        if not isinstance(got, answer):
            raise Garbled(f"{function} answered a {type(got).__name__}")
        return got


class _Session:
    """What the postgrest package sends through; it hears of refusals here, where they still have their status."""

    auth = None

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        response = await self._client.request(method, url, **options)
        if not response.is_success:
            raise Refused.of(response)
        return response


def _interval(value: Any) -> Any:
    """Durations as Postgres reads them; everything else is JSON already."""
    return f"{value.total_seconds()} seconds" if isinstance(value, timedelta) else value
