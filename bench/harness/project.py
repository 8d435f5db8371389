"""A Supabase project in a process of its own: `python -m bench.harness.project DATABASE_URL`.

Behind its gateway are a real PostgREST and the stand-in of Storage. It says its address and its key in one line; then
it reads `stop`, after which Storage answers nobody, and `go`, and answers each with what it did.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tests.standin.storage import make_storage
from tests.standin.storage_state import StorageState
from tests.standin.supabase import Supabase
from tests.support.postgrest_server import PostgrestServer, find_binary

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HANGING_SECONDS = 600.0


class Stoppable:
    """ASGI: hands requests on until it is stopped; then they wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.is_stopped = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it wait."""
        if self.is_stopped:
            await asyncio.sleep(HANGING_SECONDS)
        await self._app(scope, receive, send)


def main() -> None:
    """Run until the input ends."""
    storage = Stoppable(make_storage(StorageState()))
    with PostgrestServer(find_binary(), sys.argv[1]) as postgrest, Supabase(postgrest.url, storage=storage) as project:
        print(project.url, project.secret_key, flush=True)
        for line in sys.stdin:
            storage.is_stopped = line.strip() == "stop"
            print("stopped" if storage.is_stopped else "goes on", flush=True)


if __name__ == "__main__":
    main()
