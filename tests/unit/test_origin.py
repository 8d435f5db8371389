"""What is believed of a request: its scheme, its host, its caller's address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.errors import InvalidHost
from copperplate.http.app import create_app
from copperplate.http.origin import base_url_of, has_one_host, origin_of, parse_address
from copperplate.settings import Settings
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from starlette.types import Scope

PROXIES = "10.0.0.0/8, 127.0.0.1,fd00::/8"
VERCEL = {
    "VERCEL": "1",
    "VERCEL_URL": "pictures-abc.vercel.app",
    "VERCEL_PROJECT_PRODUCTION_URL": "pictures.example.com",
}
SECRET = "a secret of at least thirty-two characters"


def request(host: str | None = None, *, peer: str | None = "198.51.100.7", **headers: str) -> Scope:
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    if host is not None:
        sent.append((b"host", host.encode("latin-1")))
    client = None if peer is None else (peer, 4711)
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "headers": sent, "client": client}
    return {**scope, "server": ("192.0.2.1", 8000), "http_version": "1.1"}


def settings(**environ: str) -> Settings:
    return Settings.from_env(environ)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8000", None),  # the caller is on another machine
        ("127.0.0.1:8000", None),
        ("192.0.2.1:8000", "http://192.0.2.1:8000"),  # where the connection was accepted
        ("pictures.example.com", "http://pictures.example.com"),
        ("PICTURES.example.com.", "http://pictures.example.com"),
        ("pictures.example.com:80", "http://pictures.example.com:80"),
        ("pictures.example.com:8000", "http://pictures.example.com:8000"),  # listened on
        ("pictures.example.com:8443", None),
        ("pictures.example.com:0", None),
        ("other.example.com:8443", "http://other.example.com:8443"),
        ("other.example.com", None),
        ("other.example.com:9", None),
        ("evil.example", None),
        ("pictures.example.com.evil.example", None),
        ("evil.example#pictures.example.com", None),
        ("evil.example/pictures.example.com", None),
        ("user@pictures.example.com", None),
        ("pictures.example.com:99999", None),
        ("pictures.example.com:", None),
        ("pictures.example.com, evil.example", None),
        ("192.0.2.2", None),
        ("192.0.2.1:1", None),
        ("", None),
        (" ", None),
        ("[::1", None),
        ("[fe80::1%25eth0]", None),
        ("pícture", None),
        ("a" * 300, None),
    ],
)
def test_only_a_host_that_is_ours_makes_an_address(host: str, expected: str | None) -> None:
    ours = settings(COPPERPLATE_ALLOWED_HOSTS="Pictures.example.com, other.example.com:8443")
    if expected is not None:
        assert base_url_of(request(host), ours) == expected
        return
    with pytest.raises(InvalidHost) as refused:
        base_url_of(request(host), ours)
    assert "COPPERPLATE_PUBLIC_BASE_URL" in str(refused.value)
    assert host.strip() in ("", "localhost") or host not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "peer", "is_ours"),
    [
        ("localhost:8000", "127.0.0.1", True),
        ("LocalHost", "127.0.0.1", True),
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("localhost:9000", "::ffff:127.0.0.1", True),  # a tunnel of the caller's own
        ("192.0.2.1:8000", "127.0.0.1", True),
        ("localhost:1", "198.51.100.7", False),
        ("127.9.9.9", "198.51.100.7", False),
        ("[::1]", "192.0.2.1", False),
        ("localhost", None, False),
        ("evil.example", "127.0.0.1", False),
    ],
)
def test_a_loopback_host_is_ours_for_callers_on_this_machine_alone(host: str, peer: str | None, is_ours: bool) -> None:
    assert origin_of(request(host, peer=peer), settings()).host == (host.lower() if is_ours else None)


@pytest.mark.parametrize("server", ["127.0.0.1", "192.0.2.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "192.0.2.1:8000"])
def test_where_a_trusted_proxy_finds_this_server_is_no_address_for_its_callers(host: str, server: str) -> None:
    """What nginx sends without `proxy_set_header Host`."""
    scope = {**request(host, peer="127.0.0.1", x_forwarded_proto="https"), "server": (server, 8000)}
    with pytest.raises(InvalidHost, match="COPPERPLATE_ALLOWED_HOSTS"):
        base_url_of(scope, settings(COPPERPLATE_TRUSTED_PROXIES=PROXIES))


@pytest.mark.parametrize(
    ("server", "host"),
    [("::ffff:192.0.2.1", "192.0.2.1:8000"), ("2001:db8::1", "[2001:db8:0::1]:8000"), ("127.0.0.1", "127.0.0.1:8000")],
)
def test_the_address_that_was_connected_to_is_ours_in_any_spelling(server: str, host: str) -> None:
    peer = "127.0.0.1" if server == "127.0.0.1" else "198.51.100.7"
    assert origin_of({**request(host, peer=peer), "server": (server, 8000)}, settings()).host == host


def test_the_address_that_is_set_is_the_one_whatever_is_asked() -> None:
    ours = settings(COPPERPLATE_PUBLIC_BASE_URL="https://pictures.example.com/")
    assert base_url_of(request("evil.example"), ours) == "https://pictures.example.com"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("pictures-abc.vercel.app", True),
        ("pictures.example.com", True),
        ("localhost", False),
        ("192.0.2.1", False),
        ("evil.example", False),
    ],
)
def test_on_vercel_the_deployments_own_names_count(host: str, is_ours: bool) -> None:
    scope = request(host, x_forwarded_host=host, x_forwarded_proto="https", x_real_ip="203.0.113.9")
    told = origin_of(scope, settings(**VERCEL))
    assert (told.scheme, told.host) == ("https", host if is_ours else None)
    assert str(told.client) == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.1.2.3", "https", "https"),
        ("10.1.2.3", "HTTPS", "https"),
        ("127.0.0.1", "http, https", "https"),
        ("::ffff:10.1.2.3", "https", "https"),
        ("fd00::1", "https", "https"),
        ("fd00::1%eth0", "https", "https"),
        ("10.1.2.3", "https, http", "http"),
        ("10.1.2.3", "gopher", "http"),
        ("10.1.2.3", "", "http"),
        ("11.1.2.3", "https", "http"),
        ("::1", "https", "http"),
        (None, "https", "http"),
        ("not an address", "https", "http"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(peer: str | None, proto: str, scheme: str) -> None:
    scope = request("localhost", peer=peer, x_forwarded_proto=proto)
    assert origin_of(scope, settings(COPPERPLATE_TRUSTED_PROXIES=PROXIES)).scheme == scheme


def test_without_a_proxy_nothing_forwarded_counts() -> None:
    scope = request(
        "192.0.2.1", x_forwarded_proto="https", x_forwarded_host="evil.example", x_forwarded_for="203.0.113.9"
    )
    told = origin_of(scope, settings())
    assert (told.scheme, told.host, str(told.client)) == ("http", "192.0.2.1", "198.51.100.7")


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("pictures.example.org", "pictures.example.org"),
        ("evil.example, pictures.example.org", "pictures.example.org"),
        ("evil.example/", None),
        ("", None),
    ],
)
def test_a_trusted_proxy_says_under_which_name_it_was_asked(forwarded: str, expected: str | None) -> None:
    scope = request("localhost", peer="10.0.0.1", x_forwarded_host=forwarded)
    assert origin_of(scope, settings(COPPERPLATE_TRUSTED_PROXIES=PROXIES)).host == expected


@pytest.mark.parametrize(
    ("forwarded", "is_ours"),
    [
        ("pics.example.com", True),
        ("pics.example.com:443", True),
        ("pics.example.com:99", False),
        ("evil.com:99", False),
        ("evil.com, pics.example.com", True),
        ("pics.example.com, evil.com", False),
        ("127.0.0.1:8000", False),
        ("", True),  # then the Host that it passes on
    ],
)
def test_hosts_that_are_named_hold_for_what_a_trusted_proxy_passes_on(forwarded: str, is_ours: bool) -> None:
    """nginx passes a caller's own X-Forwarded-Host on where it sets none."""
    ours = settings(COPPERPLATE_TRUSTED_PROXIES="127.0.0.1", COPPERPLATE_ALLOWED_HOSTS="pics.example.com")
    sent = {"x_forwarded_host": forwarded, "x_forwarded_proto": "https"}
    scope = request("pics.example.com", peer="127.0.0.1", **sent)
    assert (origin_of(scope, ours).host is not None) is is_ours


NGINX_VARIABLES = {
    "$host": "pictures.example.com",
    "$scheme": "https",
    "$proxy_add_x_forwarded_for": "10.9.9.9, 203.0.113.9",
}


def test_the_lines_for_a_proxy_make_the_address_its_callers_asked_for() -> None:
    """As docs/containers.md has them, whatever the caller itself sent in the same headers."""
    page = (Path(__file__).parents[2] / "docs" / "containers.md").read_text()
    told = dict(re.findall(r"^ +proxy_set_header ([\w-]+) (\S+);$", page, re.MULTILINE))
    sent = {name.lower().replace("-", "_"): NGINX_VARIABLES[value] for name, value in told.items()}
    sent = {"x_forwarded_proto": "http", "x_forwarded_host": "evil.example", "x_forwarded_for": "10.9.9.9", **sent}
    named = re.search(r"With `(\w+)=(.+?)` and `(\w+)=(.+?)`, nginx", page)
    assert named is not None
    ours = settings(**{named[1]: named[2], named[3]: named[4]})
    scope = {**request(peer="127.0.0.1", **sent), "server": ("127.0.0.1", 8000)}
    assert base_url_of(scope, ours) == "https://pictures.example.com"
    assert str(origin_of(scope, ours).client) == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # nobody we know
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # what the caller itself sent stands before
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9%eth0", "2001:db8::9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, _hidden", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", ",".join(["203.0.113.9", *["10.0.0.2"] * 10_000]), "10.0.0.2"),
        (None, "203.0.113.9", "None"),
    ],
)
def test_the_caller_is_the_last_hop_that_no_trusted_proxy_stands_for(
    peer: str | None, forwarded: str, client: str
) -> None:
    scope = request("localhost", peer=peer, x_forwarded_for=forwarded)
    assert str(origin_of(scope, settings(COPPERPLATE_TRUSTED_PROXIES=PROXIES)).client) == client


def test_several_headers_are_one_list() -> None:
    scope = request("localhost", peer="10.0.0.1")
    scope["headers"] += [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"10.0.0.2")]
    assert str(origin_of(scope, settings(COPPERPLATE_TRUSTED_PROXIES=PROXIES)).client) == "203.0.113.9"


@pytest.mark.parametrize(
    "text", ["", " ", "1.2.3", "1.2.3.4.5", "1.2.3.4/8", "::1::", "[::1", "host", "1.2.3.4:x", "é"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("hosts", "version", "is_right"),
    [(1, "1.1", True), (0, "1.1", False), (2, "1.1", False), (0, "1.0", True), (2, "1.0", False)],
)
def test_a_request_names_one_host(hosts: int, version: str, is_right: bool) -> None:
    scope = {**request(), "headers": [(b"host", b"localhost")] * hosts, "http_version": version}
    assert has_one_host(scope) is is_right


# --- over HTTP -----------------------------------------------------------------------------------


async def test_a_host_that_is_not_ours_makes_no_address_and_spends_nothing() -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_TRUSTED_PROXIES": "127.0.0.1"})
    user = UUID(int=1)
    await services.ledger.grant_credits(user, 5, "g")
    session = {"authorization": f"Bearer {make_local_token(user, SECRET, seconds=60)}"}
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        refused = await client.post("/api/generate-memoji", json={}, headers={**session, "host": "evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_host")
        assert services.image_provider.submits == 0
        forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "pictures.example.com"}
        made = await client.post("/api/generate-memoji", json={}, headers={**session, **forwarded})
        assert made.json()["url"].startswith("https://pictures.example.com/storage/v1/object/public/memoji-images/")
    await services.request_meter.close()


@pytest.mark.parametrize("path", ["/64x64.jpg", "/healthz", "/api/cache/stats", "/nothing"])
@pytest.mark.parametrize("count", [0, 2])
async def test_no_host_or_two_are_400(path: str, count: int) -> None:
    services = memory_services()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**request(), "headers": [(b"host", b"localhost")] * count, "asgi": {"version": "3.0"}}
    target = {"method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"text=a", "root_path": ""}
    await create_app(services=services)({**scope, **target}, receive, send)
    assert sent[0]["status"] == 400
    assert b'"invalid_host"' in sent[1]["body"]
    assert services.image_provider.submits == 0
    await services.request_meter.close()
