"""Calls through PostgREST, the data API of Supabase: their time, their repeats."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from postgrest import AsyncPostgrestClient

from copperplate.adapters.ledger.postgrest_errors import Garbled, Refused, translate
from copperplate.adapters.ledger.sql_ledger import SqlLedger
from copperplate.adapters.ledger.transport import Json
from copperplate.adapters.notifier import Notifier
from copperplate.adapters.service_calls import call_service
from copperplate.adapters.supabase.http import key_headers

if TYPE_CHECKING:
    from typing import LiteralString

    import httpx

    from copperplate.adapters.ledger.transport import Arguments, Row

Answer = TypeVar("Answer")

# As over a direct connection: within this time in all there is an answer, or the caller gets a 503.
CALL_SECONDS: Final = 2.5
# Before the first, second and third repeat; PostgREST is back from a restart after the second.
PAUSES_SECONDS: Final = (0.1, 0.3, 0.9)
# PostgREST shows at most `max_rows` rows of an answer (1,000 unless a project lowers it) and drops the rest, which
# would then stay claimed.
PAGE_ROWS: Final = 100


class PostgrestTransport:
    """Calls functions of schema public as the role of `key`, each up to four times.

    Notifications do not come this way: `hints` announces nothing, and followers poll.
    """

    max_rows = PAGE_ROWS

    def __init__(self, client: httpx.AsyncClient, url: str, key: str) -> None:
        headers = {"Accept": "application/json", "Content-Type": "application/json", **key_headers(key)}
        session = cast("httpx.AsyncClient", _Session(client))
        self._postgrest = AsyncPostgrestClient(url, headers=headers, http_client=session, retry_enabled=False)
        self.hints = Notifier()

    async def row(self, function: LiteralString, arguments: Arguments) -> Row:
        """See `Transport.row`."""
        return await self.value(function, arguments, dict)

    async def rows(self, function: LiteralString, arguments: Arguments) -> list[dict[str, Any]]:
        """See `Transport.rows`."""
        return await self.value(function, arguments, list)

    async def value(self, function: LiteralString, arguments: Arguments, answer: type[Answer]) -> Answer:
        """See `Transport.value`."""
        parameters = {name: _plain(value) for name, value in arguments.items()}
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS

        async def send() -> Answer:
            async with asyncio.timeout_at(deadline):
                return await self._send(function, parameters, answer)

        return await call_service(send, translate=translate, pauses=PAUSES_SECONDS, within_seconds=CALL_SECONDS)

    def describe(self) -> Row:
        """See `Transport.describe`: a gateway hides what is behind it."""
        return {}

    async def open(self) -> None:
        """See `Transport.open`."""

    async def close(self) -> None:
        """See `Transport.close`: the client stays its owner's to close."""

    async def _send(self, function: str, parameters: dict[str, Any], answer: type[Answer]) -> Answer:
        response = await self._postgrest.rpc(function, parameters).execute()
        # Typed as rows, but it is whatever JSON came, or a text where none did.
        got: Any = response.data
        if not isinstance(got, answer):
            raise Garbled(f"{function} answered a {type(got).__name__}")
        return got


class PostgrestLedger(SqlLedger):
    """The ledger over HTTP. Followers poll: nothing tells this process what has changed.

    `url` is the data API's address, for a Supabase project its own with `/rest/v1`; `key` is a secret key or
    the legacy service_role key. The client stays its owner's to close.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, key: str) -> None:
        super().__init__(PostgrestTransport(client, url, key))


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


def _plain(value: Any) -> Any:
    """JSON as it is, durations and times as Postgres reads them; everything else is JSON already."""
    if isinstance(value, Json):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value.total_seconds()} seconds" if isinstance(value, timedelta) else value
