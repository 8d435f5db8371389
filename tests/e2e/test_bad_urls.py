"""No URL makes a 500, and no error is ever kept: every family through ASGI, then over real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import pytest

from copperplate.http.app import create_app
from tests.e2e.memory_server import memory_server
from tests.support.bad_urls import PLAIN, Case, all_cases
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

CASES = all_cases()
PICTURES = {"image/jpeg", "image/png", "image/webp"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


# --- through ASGI --------------------------------------------------------------------------------


def hosts_of(case: Case) -> tuple[tuple[bytes, bytes], ...]:
    """The Host that a case does not bring itself."""
    return () if any(name == b"host" for name, _ in case.headers) else ((b"host", b"pictures.test"),)


async def ask(app: FastAPI, case: Case) -> Answer:
    """Send one case as uvicorn would have read it."""
    raw_path, _, query = case.target.partition(b"#")[0].partition(b"?")
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": case.method.decode(),
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [*hosts_of(case), *case.headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    assert len({name for name, _ in sent[0]["headers"]}) == len(sent[0]["headers"]), "a header twice"
    headers = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def check(case: Case, answer: Answer, plain_key: str) -> None:
    """What holds for every answer of ours, whatever was asked."""
    assert answer.status in case.statuses, (str(case), answer)
    kind = answer.headers.get("content-type")
    if answer.status >= 400:
        assert kind == "application/problem+json", str(case)
        assert answer.headers["cache-control"] == "no-store", str(case)
        assert answer.headers["x-content-type-options"] == "nosniff", str(case)
        assert not {"etag", "last-modified", "expires", "vercel-cdn-cache-control"} & set(answer.headers), str(case)
        if case.method != b"HEAD":
            assert json.loads(answer.body)["status"] == answer.status, str(case)
            assert len(answer.body) < 1_500, "an error repeats little of what was asked"
    elif answer.status == 200:
        assert kind in PICTURES, str(case)
        assert answer.headers["cache-control"] == "public, max-age=3600, immutable", str(case)
        assert not {"set-cookie", "vary", "location"} & set(answer.headers), str(case)
    if case.same_as_plain:
        assert answer.headers["x-copperplate-key"] == plain_key, str(case)


def test_there_are_enough_cases_and_none_twice() -> None:
    assert len(CASES) >= 420
    twice = [case for case, count in Counter(CASES).items() if count > 1]
    assert twice == []


async def test_every_family_through_asgi() -> None:
    services = memory_services()
    app = create_app(services=services)
    plain_key = (await ask(app, PLAIN)).headers["x-copperplate-key"]
    keys: dict[str, list[str]] = {}
    for case in CASES:
        answer = await ask(app, case)
        check(case, answer, plain_key)
        keys.setdefault(case.family, []).append(answer.headers.get("x-copperplate-key", ""))
    assert plain_key not in keys["other picture"]
    assert len(set(keys["other picture"])) == len(keys["other picture"])
    assert len(set(keys["normal forms"])) == len(keys["normal forms"]) / 2
    await services.request_meter.close()


# --- over sockets --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A real uvicorn with httptools, over memory; its port and its log."""
    with memory_server(tmp_path_factory.mktemp("uvicorn") / "log") as running:
        yield running


def exchange(port: int, request: bytes, *, timeout: float = 30) -> Answer | None:
    """Send bytes, read one answer; None where the server said nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        received = bytearray()
        with suppress(ConnectionError, TimeoutError):
            while chunk := connection.recv(65_536):
                received += chunk
    if not received:
        return None
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":")[::2] for line in lines]
    return Answer(int(first.split()[1]), {name.lower(): value.strip() for name, value in pairs}, body)


def provider_input_of(case: Case) -> bytes:
    hosts = hosts_of(case)
    lines = [b"%b: %b\r\n" % pair for pair in (*hosts, *case.headers, (b"connection", b"close"))]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (case.method, case.target, b"".join(lines))


def test_every_family_over_a_socket(server: tuple[int, Path]) -> None:
    port, log = server
    plain = exchange(port, provider_input_of(PLAIN))
    assert plain is not None
    for case in CASES:
        answer = exchange(port, provider_input_of(case))
        assert answer is not None, str(case)
        if answer.headers.get("content-type", "").startswith("text/plain"):
            # uvicorn's own refusal of what is no HTTP; nothing of ours saw it.
            assert (answer.status, answer.body) == (400, b"Invalid HTTP request received."), str(case)
            continue
        check(case, answer, plain.headers["x-copperplate-key"])
    assert "Traceback" not in log.read_text()


RAW = {
    "absolute form": b"GET http://evil.test/256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "authority form": b"CONNECT evil.test:443 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "no host": b"GET /256x256.jpg?text=a HTTP/1.1\r\nconnection: close\r\n\r\n",
    "two hosts": b"GET /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /256x256.jpg?text=a HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /256x256.jpg?text=a\r\n\r\n",
    "lower case method": b"get /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\n\r\n",
    "space in target": b"GET /256x256.jpg?text=a b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "raw utf-8": "GET /256x256.jpg?text=é HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode(),
    "raw utf-8 path": "GET /256×256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode(),
    "raw latin-1": b"GET /256x256.jpg?text=\xe9 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "raw NUL": b"GET /256x256.jpg?text=\0 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "backslashes": b"GET \\256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "fragment": b"GET /256x256.jpg?text=a#b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "body": b"GET /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
    "body missing": b"GET /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\n",
    "smuggling": b"GET /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "split": b"GET /256x256.jpg?text=a\r\nX: y HTTP/1.1\r\nhost: a\r\n\r\n",
    "64 KB": b"GET /64x64.png?text=" + b"a" * 65_536 + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "1 MB": b"GET /64x64.png?text=" + b"a" * 1_048_576 + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "upgrade": b"GET /256x256.jpg?text=a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_requests_that_are_hardly_http(server: tuple[int, Path], name: str) -> None:
    port, log = server
    answer = exchange(port, RAW[name], timeout=1)
    if answer is not None:
        assert answer.status in {200, 204, 400, 403, 404, 405}, answer
        if answer.status >= 400:
            assert "max-age" not in answer.headers.get("cache-control", "")
            assert "etag" not in answer.headers
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("after_seconds", [0.0, 0.2])
def test_a_caller_that_hangs_up_stops_nothing(server: tuple[int, Path], after_seconds: float) -> None:
    port, log = server
    request = (
        b"GET /64x64.png?text=slow+%b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % str(after_seconds).encode()
    )
    for length in (1, 10, len(request)):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request[:length])
            time.sleep(after_seconds)
    time.sleep(1)
    answer = exchange(port, request)
    assert answer is not None
    assert answer.status == 200
    assert "stored" not in answer.headers["cache-status"], "it was made, or is being made, for the one who left"
    assert "Traceback" not in log.read_text()
    assert "ERROR" not in log.read_text()
