"""One version of the program, timed by its processor time: `version_worker FOLDER`, run inside a checkout.

It starts a database of that version in FOLDER, opens `functions.app` in this process and answers each line of its
standard input with a line of JSON: `hits N`, `misses N`, `acquires N` are the processor seconds of N such calls, of
this process and of the database's processes. `stop` ends it. It uses only what every version has: the entry
point, the URL of a picture, and `acquire_generation`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

PICTURE = "/64x64.jpg"
LEASE = "20 seconds"
# The arguments of `acquire_generation` that some version has, each with its value.
ARGUMENTS = {
    "p_recipe": "%(recipe)s::jsonb",
    "p_generation_key": "%(key)s",
    "p_rendition_key": "%(rendition)s",
    "p_leader": "%(leader)s",
    "p_lease": "%(lease)s::interval",
    "p_may_lead": "true",
    "p_services": "%(services)s",
}
RECIPE = {
    "v": 1,
    "kind": "image",
    "width": 64,
    "height": 64,
    "model": "copperplate/painter-1",
    "seed": "",
    "settings": [],
}


class Version:
    """The application in this process, and its database."""

    def __init__(self, app: Any, url: str) -> None:
        self._app = app
        self._count = 0
        self._watcher = psycopg.connect(url, autocommit=True)
        self._caller = psycopg.connect(url, autocommit=True, options="-c synchronous_commit=off")
        self._pids: list[int] = []
        self._acquire = self._acquire_statement()

    def _acquire_statement(self) -> str:
        """With the arguments that the function of this version takes."""
        row = self._watcher.execute("select proargnames from pg_proc where proname = 'acquire_generation'").fetchone()
        assert row is not None
        taken = ", ".join(f"{name} => {value}" for name, value in ARGUMENTS.items() if name in row[0])
        return f"select outcome from public.acquire_generation({taken})"

    async def hits(self, count: int) -> None:
        """So many pictures that are kept."""
        for _ in range(count):
            await self._get("text=a%20kept%20picture")

    async def misses(self, count: int) -> None:
        """So many pictures that nobody asked for before."""
        for _ in range(count):
            self._count += 1
            await self._get(f"text=picture%20{self._count}%20of%20{os.getpid()}")

    async def acquires(self, count: int) -> None:
        """So many leads, in the database alone."""
        for _ in range(count):
            self._count += 1
            recipe = json.dumps({**RECIPE, "prompt": f"lead {self._count} of {os.getpid()}"})
            row = self._caller.execute("select public.cache_key(%s::jsonb)", [recipe]).fetchone()
            assert row is not None
            arguments = {
                "recipe": recipe,
                "key": row[0],
                "rendition": f"{self._count:064x}",
                "leader": uuid4(),
                "lease": LEASE,
                "services": ["painter", "painter/copperplate/painter-1", "storage:generated-images"],
            }
            assert self._caller.execute(self._acquire.encode(), arguments).fetchone() == ("lead",)

    async def timed(self, work: str, count: int) -> dict[str, float]:
        """Processor seconds of this process, and of the backends that served it."""
        rows = self._watcher.execute(
            "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
        self._pids = [pid for (pid,) in rows.fetchall()]
        database, began = self._database_seconds(), time.process_time()
        await getattr(self, work)(count)
        own = time.process_time() - began
        return {"process": own, "database": self._database_seconds() - database}

    async def _get(self, query: str) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": PICTURE,
            "raw_path": PICTURE.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "root_path": "",
            "state": {},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        assert sent[0]["status"] == 200, sent

    def _database_seconds(self) -> float:
        # Nanoseconds on a processor; the ticks of /proc/PID/stat are too coarse.
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self._pids) / 1e9


async def _serve(folder: Path) -> None:
    from copperplate.local.cluster import Cluster, ignore
    from copperplate.local.stack import prepare

    with Cluster.start(folder / "data", is_durable=False) as cluster:
        prepare(cluster, ignore)
        os.environ.update(
            DATABASE_URL=cluster.owner_url, COPPERPLATE_DATA_DIR=str(folder / "data"), COPPERPLATE_PROVIDER="painter"
        )
        await _answer_lines(cluster.owner_url)


async def _answer_lines(url: str) -> None:
    _paint_once()
    from functions.app import app

    started, stopping = asyncio.Event(), asyncio.Event()
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> dict[str, Any]:
        message = next(messages)
        if message["type"] == "lifespan.shutdown":
            await stopping.wait()
        return message

    async def send(message: Any) -> None:
        assert message["type"].endswith(".complete"), message
        started.set()

    life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    await started.wait()
    version = Version(app, url)
    await version.hits(1)
    _say({"url": url})
    while (line := await asyncio.to_thread(sys.stdin.readline)).strip() not in ("", "stop"):
        work, count = line.split()
        _say(await version.timed(work, int(count)))
    stopping.set()
    await life


def _paint_once() -> None:
    """The same picture for every prompt: what the painter costs is no part of a miss."""
    from copperplate.adapters.painter import Painter

    painted: list[Any] = []
    paint = Painter.submit

    async def submit(self: Any, *arguments: Any, **named: Any) -> Any:
        if not painted:
            painted.append(await paint(self, *arguments, **named))
        return painted[0]

    Painter.submit = submit  # type: ignore[method-assign]


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
