"""Server processes that stand still for a while, and callers that send half a request."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.e2e.dev_server import DevServer, dev_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST = 40
# Longer than a process that serves used to be allowed to be silent (5 s), and within every lease.
STILL_SECONDS = 6.5
CALLERS = 20


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[DevServer]:
    with dev_server(
        folder / "dev", COPPERPLATE_MAX_CONNECTIONS=str(MOST), COPPERPLATE_PAINTER_SECONDS="2", CRON_SECRET="x" * 16
    ) as running:
        yield running


def submits_of(server: DevServer, text: str) -> int:
    with psycopg.connect(server.database_url) as connection:
        row = connection.execute(
            "select api_calls_made from public.generation_status where prompt = %s", (text,)
        ).fetchone()
    return row[0] if row else 0


def test_processes_that_stand_still_under_load_answer_everybody_and_pay_once(server: DevServer) -> None:
    path = "/256x256.jpg?text=stood%20still"
    before = server.workers()
    with ThreadPoolExecutor(CALLERS) as pool:
        asked = [pool.submit(server.get, path) for _ in range(CALLERS)]
        wait_until(lambda: submits_of(server, "stood still") == 1, seconds=60, what="the generation begins")
        try:
            for worker in before:
                os.kill(worker, signal.SIGSTOP)
            time.sleep(STILL_SECONDS)
        finally:
            for worker in before:
                os.kill(worker, signal.SIGCONT)
        answers = [each.result() for each in asked]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert submits_of(server, "stood still") == 1
    assert server.workers() == before
    assert "is gone" not in server.log.read_text()


def test_half_sent_requests_beyond_every_bound_cost_others_no_answer(server: DevServer) -> None:
    path = "/256x256.jpg?text=for%20others"
    assert server.get(path).status == 200
    with ExitStack() as held:
        for _ in range(6 * MOST):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(b"GET /256x256.jpg HTTP/1.1\r\nHost: x\r\n")
        assert {server.get(path).status for _ in range(20)} == {200}
    wait_until(
        lambda: f"{MOST} connections are open, the bound of this process" in server.log.read_text(),
        seconds=30,
        what="a line about the bound",
    )
