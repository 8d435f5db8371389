"""How long until a picture is made that was promised by a process which was killed, and that nobody asks for again?"""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from bench.harness.deployments import deployed
from bench.harness.figures import Figure, Run, median_figure
from bench.harness.processes import dev, family
from copperplate.adapters.supabase.users import make_local_token
from copperplate.local.cluster import find_running
from copperplate.recipes.memoji_words import HAIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deployment.build import Deployment
    from tests.deployment.function import Function

WITHIN_SECONDS = 60.0
PAINTING_SECONDS = 3.0
POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 180.0
ORDER = "/api/generate-memoji"
# Kept before the promise: a hit, whose write of usage is told that work is due.
HIT = "/64x64.jpg?text=kept"
SERVED = (
    f"`copperplate dev --workers 2`, lease 20 s; the painter takes {PAINTING_SECONDS:.0f} s. A memoji is answered 202; "
    "then both server processes are killed by SIGKILL, and replaced. From the kill until the wish is completed; nobody "
    "asks again."
)
DEPLOYED = (
    "Two instances of the built function under Vercel's runtime, over a real PostgREST and the stand-in of Storage; "
    "lease 20 s. One answers a memoji 202 and is killed; once the wish is due, the other answers a hit."
)
OPEN = "from copperplate.wishes where status = 'open'"


def measure(run: Run) -> list[Figure]:
    """A 202 whose leader is killed: seconds until made on `serve`, and at the next call on Vercel's shape."""
    return [*_served(run), *_deployed(run)]


def _served(run: Run) -> Iterator[Figure]:
    folder = run.folder / "dev"
    seconds, left = [], 0
    with dev(folder, workers=2, COPPERPLATE_PAINTER_SECONDS=str(PAINTING_SECONDS)) as server:
        running = find_running(folder)
        assert running is not None
        token = make_local_token(uuid4(), running.passwords.jwt_secret, seconds=36_000)
        port = urlsplit(server.address).port or 0
        for number in range(run.pick(10, 1)):
            key = _order(port, {"authorization": f"Bearer {token}"}, list(HAIR)[number])
            killed_at = time.monotonic()
            for pid in _workers(server.pid):
                os.kill(pid, signal.SIGKILL)
            is_made = _wait_until(running.owner_url, f"{OPEN} and generation_key = '{key}'", 0)
            seconds.append(time.monotonic() - killed_at)
            left += not is_made
            run.say(f"round {number + 1}: made after {seconds[-1]:.1f} s")
    yield median_figure(seconds, what="serve: made after", unit="s", how=SERVED, at_most=WITHIN_SECONDS)
    yield Figure(what="serve: slowest of all rounds", value=max(seconds), unit="s", how=SERVED, at_most=WITHIN_SECONDS)
    yield Figure(what="serve: promises that were not kept", value=left, unit="", how=SERVED, exactly=0)


def _deployed(run: Run) -> Iterator[Figure]:
    from tests.support.tokens import SECRET, Tokens

    with deployed(run) as built:
        environ = {
            **built.environ,
            "SUPABASE_JWT_SECRET": SECRET,
            "COPPERPLATE_PAINTER_SECONDS": str(PAINTING_SECONDS),
        }
        token = Tokens(f"{environ['SUPABASE_URL']}/auth/v1", datetime.now(UTC)).hs()
        rounds = [
            _kill_and_call(run, built.deployment, environ, token, built.owner_url, hair)
            for hair in list(HAIR)[: run.pick(5, 1)]
        ]
    due, open_for, left = ([each[place] for each in rounds] for place in range(3))
    yield median_figure(due, what="Vercel: due after", unit="s", how=DEPLOYED, at_most=WITHIN_SECONDS)
    yield median_figure(open_for, what="Vercel: the next call stays open for", unit="s", how=DEPLOYED)
    yield Figure(what="Vercel: promises that this call did not keep", value=sum(left), unit="", how=DEPLOYED, exactly=0)


def _kill_and_call(
    run: Run, deployment: Deployment, environ: dict[str, str], token: str, database_url: str, hair: str
) -> tuple[float, float, int]:
    """Seconds from the kill until the wish is due, seconds of the next call, and wishes that it left open."""
    from tests.deployment.function import running

    task = run.folder / "task"
    with (
        running(task, deployment.python, deployment.function, **environ) as killed,
        running(task, deployment.python, deployment.function, **environ) as successor,
    ):
        _open_for(successor)
        headers: dict[str, Any] = {**_order_headers(token), "body": json.dumps({"hair": hair})}
        with killed.calling(ORDER, method="POST", **headers) as (connection, _):
            assert connection.getresponse().status == 202
            killed.process.kill()
            killed_at = time.monotonic()
        assert _wait_until(database_url, "where public.is_work_due()", 1), "the wish is never due"
        due = time.monotonic() - killed_at
        open_for = _open_for(successor)
    left = _count(database_url, OPEN)
    run.say(f"due after {due:.1f} s, a call of {open_for:.1f} s, {left} left")
    return due, open_for, left


def _open_for(function: Function) -> float:
    """Seconds from a hit's request to the end of its call."""
    began = time.monotonic()
    assert function.call(HIT, timeout=GIVE_UP_SECONDS).status == 200, function.log
    return time.monotonic() - began


def _order(port: int, authorization: dict[str, str], hair: str) -> str:
    """Ask for a memoji without waiting; the key of its generation."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            headers = {"content-type": "application/json", "prefer": "respond-async", **authorization}
            connection.request("POST", ORDER, json.dumps({"hair": hair}), headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 202, response.status
            return str(response.headers["location"]).rpartition("/")[2]
        except OSError:  # the processes are being replaced
            assert time.monotonic() < give_up_at
            time.sleep(POLL_SECONDS)
        finally:
            connection.close()


def _order_headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "prefer": "respond-async", "content_type": "application/json"}


def _workers(pid: int) -> list[int]:
    """The server processes under a supervisor."""
    return [each for each in family(pid) if _is_worker(each)]


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _count(database_url: str, clause: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(f"select count(*) {clause}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def _wait_until(database_url: str, clause: str, count: int) -> bool:
    """Whether so many rows are there in time."""
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < give_up_at:
        if _count(database_url, clause) == count:
            return True
        time.sleep(POLL_SECONDS)
    return False
