"""Parameters that are not known: refused where something is changed, named where it is not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.http.app import create_app
from copperplate.http.parameters import MAX_NAMES, MAX_QUERY_BYTES, ignored_header
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

SECRET, CRON = "a secret of at least thirty-two characters", "a secret of the cron"
ALICE = UUID(int=0xA11CE)
CLEANUP = "/api/cache/cleanup"
IGNORED = "x-copperplate-ignored"
OPERATOR = {"authorization": f"Bearer {CRON}"}
# Reading is what all other methods do, and GET too, but for what Vercel's cron can only ask with GET.
CHANGES_BY_GET = {CLEANUP}
WORK = "/api/work"


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "CRON_SECRET": CRON})
    await made.ledger.grant_credits(ALICE, 10, "g")
    yield made
    await made.request_meter.close()


@pytest.fixture
def cleanups(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was really cleaned up."""
    seen: list[Any] = []

    async def clean(*arguments: Any, **_: Any) -> None:
        seen.append(arguments)
        raise AssertionError("nothing may be removed")

    monkeypatch.setattr("copperplate.http.routes.operations.clean", clean)
    return seen


def changing_routes() -> list[tuple[str, str]]:
    """Every route that changes something, so that a new one has to be among them."""
    paths = create_app().openapi()["paths"]
    pairs = [(method.upper(), path) for path, operations in paths.items() for method in operations]
    changes = [pair for pair in pairs if pair[0] in ("POST", "PUT", "PATCH", "DELETE") or pair[1] in CHANGES_BY_GET]
    return sorted(changes)


def test_those_that_change_something_are_known() -> None:
    assert changing_routes() == [
        ("DELETE", "/api/batches/{batch_id}"),
        ("GET", CLEANUP),
        ("POST", "/api/batches/{batch_id}/cancel"),
        ("POST", CLEANUP),
        ("POST", "/api/cache/warm"),
        ("POST", "/api/generate"),
        ("POST", "/api/generate-memoji"),
        *(("POST", f"/api/process/{name}") for name in ("face-detail", "remove-background", "uploads", "upscale")),
        ("POST", WORK),
    ]


@pytest.mark.parametrize(("method", "path"), changing_routes())
@pytest.mark.parametrize(
    "query", ["preview=1", "Dry_Run=true", "dry-run=true", "utm_source=x", "=", "%64ryrun=1", "a;b"]
)
async def test_what_changes_something_refuses_a_parameter_it_does_not_know(
    client: httpx.AsyncClient, services: MemoryServices, cleanups: list[Any], method: str, path: str, query: str
) -> None:
    token = CRON if path in (CLEANUP, WORK) else make_local_token(ALICE, SECRET, seconds=60)
    headers = {"authorization": f"Bearer {token}"}
    answer = await client.request(method, f"{path}?{query}", headers=headers, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")
    assert IGNORED not in answer.headers
    assert "Nothing was done" in answer.json()["detail"]
    assert (cleanups, services.image_provider.submits) == ([], 0)


async def test_a_refusal_names_what_is_not_known_and_what_is(client: httpx.AsyncClient, cleanups: list[Any]) -> None:
    told = (await client.post(f"{CLEANUP}?preview=1&max_age=3", headers=OPERATOR)).json()["detail"]
    assert told == "Not known: parameter preview, max_age. Nothing was done. Known: dry_run."
    told = (await client.post(CLEANUP, json={"dry_run": True}, headers=OPERATOR)).json()
    assert (told["code"], "dry_run" in told["detail"], cleanups) == ("unknown_parameter", True, [])


@pytest.mark.parametrize(("method", "path"), changing_routes())
async def test_what_changes_something_refuses_a_query_longer_than_it_reads(
    client: httpx.AsyncClient, services: MemoryServices, cleanups: list[Any], method: str, path: str
) -> None:
    """The second value of a parameter, or an unknown one, would stand behind what is looked at."""
    token = CRON if path in (CLEANUP, WORK) else make_local_token(ALICE, SECRET, seconds=60)
    headers = {"authorization": f"Bearer {token}"}
    query = f"dry_run=true{'&' * MAX_QUERY_BYTES}dry_run=false&preview=1"
    answer = await client.request(method, f"{path}?{query}", headers=headers, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert (cleanups, services.image_provider.submits) == ([], 0)


@pytest.mark.parametrize("query", ["dry_run=false&dry_run=true", "dry_run=perhaps", "dry_run=", "dry_run"])
async def test_a_parameter_that_says_nothing_clear_is_refused(
    client: httpx.AsyncClient, cleanups: list[Any], query: str
) -> None:
    assert (await client.post(f"{CLEANUP}?{query}", headers=OPERATOR)).status_code == 400
    assert cleanups == []


@pytest.mark.parametrize("body", [b"dry_run=true", b"true", b"[]", b'{"dry_run": true'])
async def test_a_body_that_is_not_understood_is_refused(
    client: httpx.AsyncClient, cleanups: list[Any], body: bytes
) -> None:
    headers = {**OPERATOR, "content-type": "application/x-www-form-urlencoded"}
    assert (await client.post(CLEANUP, content=body, headers=headers)).status_code == 415
    headers["content-type"] = "application/json"
    assert (await client.post(CLEANUP, content=body, headers=headers)).status_code == 400
    assert cleanups == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_dry_run_of_the_cleanup_counts_and_removes_nothing(
    client: httpx.AsyncClient, cleanups: list[Any], method: str
) -> None:
    for wanted in ("true", "1"):
        answer = await client.request(method, f"{CLEANUP}?dry_run={wanted}", headers=OPERATOR)
        assert (answer.status_code, answer.json()["dry_run"], answer.json()["images"]) == (200, True, 0)
    assert cleanups == []


async def test_without_its_secret_nothing_is_told_of_parameters(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{CLEANUP}?preview=1")).status_code == 401


# --- reads ---------------------------------------------------------------------------------------


async def test_a_picture_names_what_made_no_difference(client: httpx.AsyncClient, services: MemoryServices) -> None:
    plain = await client.get("/64x64.jpg?text=a")
    assert IGNORED not in plain.headers
    assert "X-Copperplate-Ignored" in plain.headers["access-control-expose-headers"]
    etag = {"if-none-match": plain.headers["etag"]}
    for method, headers, status in (("GET", {}, 200), ("HEAD", {}, 200), ("GET", etag, 304)):
        answer = await client.request(method, "/64x64.jpg?text=a&zoom=256&utm_source=x&zoom=1", headers=headers)
        assert (answer.status_code, answer.headers[IGNORED]) == (status, "zoom, utm_source")
    assert services.image_provider.submits == 1


async def test_what_says_who_asks_is_named_nowhere(
    client: httpx.AsyncClient, services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    signature = "kid=kid-of-mine&exp=1796043600&sig=sig-of-mine"
    assert (await client.get("/64x64.jpg?text=a")).status_code == 200
    with caplog.at_level(logging.DEBUG, "copperplate.requests"):
        for text, status in (("a", 200), ("b", 403)):
            answer = await client.get(f"/64x64.jpg?text={text}&{signature}&utm_source=x")
            assert (answer.status_code, answer.headers[IGNORED]) == (status, "utm_source")
            assert "of-mine" not in f"{answer.headers} {answer.content!r}"
    for path in ("/healthz", "/api/cache/stats", "/nowhere"):
        assert IGNORED not in (await client.get(f"{path}?{signature}")).headers
    assert services.image_provider.submits == 1
    assert "copperplate.requests" in {record.name for record in caplog.records}
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("copperplate")]
    assert not any("of-mine" in line or "1796043600" in line for line in logged)


def test_no_header_names_what_says_who_asks() -> None:
    assert ignored_header(["kid", "exp", "a", "sig", "key"]) == [(IGNORED.encode(), b"a")]


@pytest.mark.parametrize("name", ["kid", "exp", "sig"])
async def test_a_part_of_a_signature_that_is_given_twice_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/64x64.jpg?text=a&{name}=1&{name}=1")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/api/cache/stats", "/api/generation/stats", "/readyz", "/", "/docs", "/robots.txt", "/metrics"],
)
async def test_every_other_read_names_them_too(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{path}?utm_source=x&days=3")
    assert answer.headers[IGNORED] == "utm_source, days"
    assert IGNORED not in (await client.get(path)).headers


@pytest.mark.parametrize("path", ["/healthz", "/api/cache/stats", "/api/generation/stats", "/docs", "/robots.txt"])
async def test_reads_of_no_picture_name_display_parameters(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{path}?w=0&h=x&fit=fill&q=&thumb=1&format=auto&placeholder")
    assert (answer.status_code, answer.headers[IGNORED]) == (200, "w, h, fit, q, thumb, format, placeholder")


@pytest.mark.parametrize("name", ["w", "h", "fit", "q", "thumb", "format"])
async def test_the_cleanup_refuses_display_parameters(
    client: httpx.AsyncClient, cleanups: list[Any], name: str
) -> None:
    answer = await client.post(f"{CLEANUP}?{name}=64", headers=OPERATOR)
    assert (answer.status_code, answer.json()["code"], cleanups) == (400, "unknown_parameter", [])


async def test_what_a_route_knows_is_not_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/explain?text=a&width=64&height=64&format=jpg&thumb=3&zoom=3")
    assert (answer.status_code, answer.headers[IGNORED]) == (200, "zoom")
    assert "X-Copperplate-Ignored" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (["a"], b"a"),
        (["a", "b", "a"], b"a, b"),
        (["x\r\nset-cookie: a=b"], b"x%0D%0Aset-cookie%3A%20a%3Db"),
        (["//a/b"], b"%2F%2Fa%2Fb"),
        (["größe", "\ufffd", "\ud800", ""], b"gr%C3%B6%C3%9Fe, %EF%BF%BD, %3F, "),
        (["n" * 49], b"n" * 45 + b"..."),
        ([f"n{number}" for number in range(MAX_NAMES + 1)], b"n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, ..."),
    ],
)
def test_the_header_is_bounded_and_plain(names: list[str], value: bytes) -> None:
    assert ignored_header(names) == [(IGNORED.encode(), value)]


def test_nothing_ignored_is_no_header() -> None:
    assert ignored_header(()) == []
