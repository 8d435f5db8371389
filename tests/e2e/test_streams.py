"""Streams as browsers and servers see them: real EventSources, killed workers, callers that read nothing."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.adapters.ledger.wish_rows import wish_row
from copperplate.adapters.supabase.users import make_local_token
from copperplate.testing import GENERATE
from copperplate.work.promises import new_wish
from tests.e2e.dev_server import DevServer, dev_server, wait_until
from tests.support.clusters import open_folder
from tests.support.cutting_proxy import cutting_proxy
from tests.support.pictures import picture_request
from tests.support.streams import events_in
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.browsing import Browser, Site
    from tests.support.streams import Event

ROOT = Path(__file__).parents[2]
# Leases scaled down, so that a takeover takes seconds.
SCALED = {"COPPERPLATE_LEASE_SECONDS": "2", "COPPERPLATE_HEARTBEAT_SECONDS": "0.5"}
PAINTER_SECONDS = 1.5
LEADING = re.compile(r"^\S+ \S+ (\d+) \S+ \S+ generation key=(\w+) status=generating", re.MULTILINE)
# What docs/progress.md tells to do, and a list of what happened.
PAGE = """<!doctype html><title>Progress</title><ul></ul><script>
const note = (textContent) =>
  document.querySelector("ul").append(Object.assign(document.createElement("li"), {textContent}));
const source = new EventSource("EVENTS");
source.onopen = () => note("open");
source.onerror = () => source.readyState === EventSource.CLOSED && note("closed for good");
for (const name of ["progress", "completed", "failed"])
  source.addEventListener(name, (event) => note(`${name}: ${JSON.parse(event.data).status}`));
</script>"""
# The snippet of the page, and what it is told.
FOLLOW = re.search(r"```js\n(// Calls `tell`.*?)```", (ROOT / "docs" / "progress.md").read_text(), re.DOTALL)
SCRIPT = """
const [address, token] = process.argv.slice(1);
follow(address, {authorization: `Bearer ${token}`}, (name, data) => console.log(`${name} ${data.key}`));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with (
        open_folder() as folder,
        dev_server(folder / "dev", workers=2, COPPERPLATE_PAINTER_SECONDS=str(PAINTER_SECONDS), **SCALED) as running,
    ):
        yield running


def promise(server: DevServer, text: str) -> None:
    """Keep a wish for a picture that nobody makes for an hour."""
    wish = new_wish(picture_request(text), GENERATE, owner="anonymous")
    with psycopg.connect(server.database_url) as connection:
        connection.execute("select public.make_wish(%s, interval '1 hour')", [Jsonb(wish_row(wish))])


def test_an_event_source_survives_a_cut_and_does_not_come_back_for_ever(
    server: DevServer, browser: Browser, site: Site
) -> None:
    text = "cut off"
    promise(server, text)
    path = f"/api/generations/{picture_request(text).generation_key}/events"
    with cutting_proxy(server.port) as proxy, ThreadPoolExecutor(1) as pool:
        (site.folder / "index.html").write_text(PAGE.replace("EVENTS", f"http://127.0.0.1:{proxy.port}{path}"))
        visit = pool.submit(browser.visit, f"{site.url}/index.html", ("waitForText", "closed for good"), ("outline",))
        assert proxy.was_cut.wait(wall(60))
        assert server.get(f"/64x64.jpg?text={quote(text)}").status == 200
        told = visit.result()
    seen = [line.strip('"') for line in re.findall(r"- listitem: (.*)", told["seen"][1])]
    assert seen[:2] == ["open", "progress: pending"]
    assert seen[-2:] == ["completed: completed", "closed for good"]
    assert (seen.count("open"), seen.count("completed: completed")) == (2, 1)
    # One that was cut, one that told the end, and one that was answered 204.
    last_ids = [re.search(r"(?im)^last-event-id: (\S+)", head) for head in proxy.streams]
    assert [found and found[1].startswith("final-") for found in last_ids] == [None, False, True]


class Reader(threading.Thread):
    """Follows a stream as an EventSource does, without its pause between two connections."""

    def __init__(self, server: DevServer, path: str, token: str) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self.connections = 0
        self._port, self._path, self._token = server.port, path, token
        self.start()

    def run(self) -> None:
        """Come back until it was told the end."""
        while not self.events or not self.events[-1].id.startswith("final-"):
            try:
                self._follow()
            except (OSError, http.client.HTTPException):
                continue

    def _follow(self) -> None:
        headers = {"authorization": f"Bearer {self._token}"}
        if self.events:
            headers["last-event-id"] = self.events[-1].id
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request("GET", self._path, headers=headers)
            with connection.getresponse() as response:
                self.connections += 1
                assert response.status == 200, response.read()
                block = b""
                while line := response.readline():
                    block += line
                    if line == b"\n":
                        self.events += events_in(block)
                        block = b""


def order(server: DevServer, hair: str) -> tuple[str, str]:
    """Ask for a memoji without waiting for it; the key of its generation, and a token of who asked."""
    token = make_local_token(uuid4(), server.jwt_secret, seconds=3_600)
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/api/generate-memoji",
        json={"hair": hair},
        headers={"authorization": f"Bearer {token}", "prefer": "respond-async"},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].rpartition("/")[2], token


def test_a_batch_is_followed_to_its_end(server: DevServer) -> None:
    token = make_local_token(uuid4(), server.jwt_secret, seconds=3_600)
    items = [
        {"prompt": f"followed {number}", "width": 64, "height": 64, "title": f"No {number}"} for number in range(3)
    ]
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/api/generate",
        json={"items": items, "thread_id": "t"},
        headers={"authorization": f"Bearer {token}"},
        timeout=60,
    )
    reader = Reader(server, f"/api/batches/{answer.json()['id']}/events", token)
    reader.join(wall(60))
    assert reader.events[0].name == "progress"
    changed = {event.data["member"]["position"] for event in reader.events if event.name == "concept_progress"}
    assert changed == {0, 1, 2}
    last = reader.events[-1]
    assert (last.name, last.data["thread_id"], last.data["counts"]["completed"]) == ("concepts_generated", "t", 3)
    assert [member["title"] for member in last.data["members"]] == ["No 0", "No 1", "No 2"]
    assert server.get(last.data["members"][0]["url"].partition(str(server.port))[2]).headers["x-cache"] == "HIT"


def test_streams_outlive_the_worker_that_makes_the_picture(server: DevServer) -> None:
    assert FOLLOW is not None
    key, token = order(server, "locs")
    path = f"/api/generations/{key}/events"
    readers = [Reader(server, path, token) for _ in range(8)]
    node = ["node", "-e", FOLLOW[1] + SCRIPT, f"http://127.0.0.1:{server.port}{path}", token]
    with subprocess.Popen(node, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        told = [program.stdout.readline()]
        wait_until(lambda: all(reader.events for reader in readers), seconds=30, what="all are told something")
        [leader] = {int(pid) for pid, known in LEADING.findall(server.log.read_text()) if key.startswith(known)}
        assert leader in server.workers()
        os.kill(leader, signal.SIGKILL)
        for reader in readers:
            reader.join(wall(60))
            assert reader.events, "nothing was told"
            assert reader.events[-1].name == "completed"
            assert [event.name for event in reader.events].count("completed") == 1
        told += program.stdout.readlines()
    assert (told[0], told[-1]) == (f"progress {key}\n", f"completed {key}\n")
    # Those whose worker was killed came back; the others never noticed.
    assert {reader.connections for reader in readers} <= {1, 2}
