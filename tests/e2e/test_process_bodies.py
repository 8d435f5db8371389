"""Bodies that bring a picture, over a real server: what is announced, what is sent, and who hangs up."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.memory_server import memory_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UP = "/api/process/upscale"
MOST = 32 * 1024 * 1024
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    with memory_server(tmp_path_factory.mktemp("bodies") / "server.log") as running:
        yield running


@contextlib.contextmanager
def head_sent(port: int, *headers: str) -> Iterator[socket.socket]:
    """A connection over which the head of a request was sent, and nothing of its body."""
    head = "\r\n".join((f"POST {UP} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: image/png", *headers))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        yield connection


def test_what_says_it_is_too_large_is_refused_before_a_byte_was_sent(server: tuple[int, Path]) -> None:
    for expect in ((), ("Expect: 100-continue",)):
        with head_sent(server[0], f"Content-Length: {MOST + 1}", *expect) as connection:
            answer = b""
            while not answer.endswith(b"}"):
                piece = connection.recv(65_536)
                assert piece, answer
                answer += piece
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"33,554,432 bytes" in answer


def test_a_body_that_is_waited_for_is_asked_for(server: tuple[int, Path]) -> None:
    with head_sent(server[0], "Content-Length: 9", "Expect: 100-continue", "Connection: close") as connection:
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"a picture")
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"operation":"upscale"' in answer


def test_the_largest_file_is_taken_and_a_byte_more_is_not(server: tuple[int, Path]) -> None:
    def chunks(size_bytes: int) -> Iterator[bytes]:
        """Without Content-Length."""
        for _ in range(size_bytes // 1024):
            yield b"x" * 1024
        yield b"x" * (size_bytes % 1024)

    with httpx.Client(base_url=f"http://127.0.0.1:{server[0]}", timeout=60) as client:
        assert client.post(UP, content=chunks(MOST), headers=PNG).status_code == 200
        assert client.post(UP, files={"file": ("a.png", b"x" * MOST)}).json()["cached"] is True
        for refused in (
            client.post(UP, content=chunks(MOST + 1), headers=PNG),
            client.post(UP, files={"file": ("a.png", b"x" * (MOST + 1))}),
        ):
            assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


def test_who_hangs_up_leaves_nothing_behind(server: tuple[int, Path]) -> None:
    port, log = server
    for _ in range(3):
        with head_sent(port, "Content-Length: 1000") as connection:
            connection.sendall(b"half of it")
    with head_sent(port, "Transfer-Encoding: chunked") as connection:
        connection.sendall(b"5\r\nsecre\r\n")
    time.sleep(0.2)
    answer = httpx.post(f"http://127.0.0.1:{port}{UP}", content=b"after that", headers=PNG)
    assert answer.status_code == 200
    said = log.read_text()
    assert "Traceback" not in said
    assert "secre" not in said
