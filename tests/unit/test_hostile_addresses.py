"""Addresses of pictures that strangers choose: none that should not be is fetched, as seen at the socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters.judged_transport import is_public
from copperplate.adapters.picture_sources import NO_PUBLIC_HOST, Web, make_web_client
from copperplate.ports.sources import SourceRefused
from tests.support.closed_internet import HOST, OTHER_HOST, OTHER_PUBLIC, PUBLIC, answer, closed_internet, redirect
from tests.support.hostile_addresses import FOUR, hostile_addresses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.closed_internet import Internet

LIMIT = 1_000
URL = f"https://{HOST}/a.png"
SEED = 20261130
CORPUS = hostile_addresses(SEED)
LEAST_OF_FAMILY = 8
# Their first host may be connected to: what it answers is hostile.
OF_PUBLIC_HOSTS = {"redirect", "loop", "rebinding", "answer"}


@pytest.fixture
async def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    pytest.importorskip("trustme")
    async with closed_internet(tmp_path, monkeypatch) as internet:
        internet.tell({}, {})
        yield internet


@pytest.fixture
async def client(internet: Internet) -> AsyncIterator[httpx.AsyncClient]:
    async with make_web_client(internet.tls) as client:
        yield client


@pytest.fixture
def web(client: httpx.AsyncClient) -> Web:
    return Web(client, LIMIT, ports=(443,), seconds=60)


async def outcome(web: Web, address: str) -> str:
    """What is said of an address, or that it was fetched."""
    try:
        await web.read(address)
    except SourceRefused as refused:
        return str(refused)
    return "FETCHED"


def test_corpus_has_every_family_and_is_the_same_for_the_same_seed() -> None:
    assert len(CORPUS) >= 250
    assert len({(each.url, repr(each.names), repr(each.pages)) for each in CORPUS}) >= 250
    assert min(Counter(each.family for each in CORPUS).values()) >= LEAST_OF_FAMILY
    assert [each.url for each in hostile_addresses(SEED)] == [each.url for each in CORPUS]


async def test_no_hostile_address_is_fetched_and_no_address_inside_connected_to(internet: Internet, web: Web) -> None:
    wrong = []
    for each in CORPUS:
        internet.tell(each.names, each.pages)
        said = await outcome(web, each.url)
        is_tried = internet.connects if each.family not in OF_PUBLIC_HOSTS else internet.trapped
        inside = [address for address in internet.connects if not is_public(address)]
        if said == "FETCHED" or is_tried or inside or any(address in said for address in FOUR):
            wrong.append((each.family, each.url[:100], said, internet.connects))
    assert wrong == []


async def test_no_address_inside_is_connected_to_where_every_port_may_be(
    internet: Internet, client: httpx.AsyncClient
) -> None:
    """As `copperplate import` is used."""
    web, wrong = Web(client, LIMIT, seconds=60), []
    for each in CORPUS:
        internet.tell(each.names, each.pages)
        said = await outcome(web, each.url)
        if said == "FETCHED" or not all(map(is_public, internet.connects)):
            wrong.append((each.family, each.url[:100], said, internet.connects))
    assert wrong == []


async def test_the_transport_alone_refuses_what_leads_inside(internet: Internet, client: httpx.AsyncClient) -> None:
    wrong = []
    inside = [each for each in CORPUS if each.is_for_judge]
    assert len(inside) > 150
    for each in inside:
        internet.tell(each.names, each.pages)
        try:
            await client.get(each.url)
            wrong.append(each.url)
        except (httpx.InvalidURL, httpx.TransportError):
            pass
        if internet.connects:
            wrong.append(each.url)
    assert wrong == []


async def test_a_name_is_looked_up_once_and_the_judged_address_is_connected_to(internet: Internet, web: Web) -> None:
    internet.tell({HOST: [[PUBLIC], ["127.0.0.1"]]}, {"/a.png": answer(b"a picture")})
    assert await web.read(URL) == b"a picture"
    assert (internet.connects, internet.lookups[HOST]) == ([PUBLIC], 1)


async def test_a_name_in_other_letters_is_looked_up_and_sent_as_one_name(internet: Internet, web: Web) -> None:
    ascii_name = "xn--fa-hia.pictures.example"  # IDNA of 2003 reads fass, another name
    internet.tell({ascii_name: [[PUBLIC]]}, {"/a.png": redirect(302, "https://faß.pictures.example/b.png")})
    internet.pages["/b.png"] = answer(b"a picture")
    assert await web.read(URL) == b"a picture"
    assert dict(internet.lookups) == {HOST: 1, ascii_name: 1}
    assert f"host: {ascii_name}\r\n" in internet.heads[1].lower()


async def test_nothing_of_one_host_or_caller_reaches_another(internet: Internet, web: Web) -> None:
    there = answer(
        status="302 There", location=f"https://{OTHER_HOST}/b.png", set_cookie="id=7; Domain=pictures.example"
    )
    internet.tell({}, {"/a.png": there, "/b.png": answer(b"a picture", set_cookie="id=8")})
    for _ in range(2):
        assert await web.read(URL) == b"a picture"
    assert internet.connects == [PUBLIC, OTHER_PUBLIC] * 2
    for head in internet.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert "accept-encoding: identity\r\n" in head.lower()


async def test_an_address_inside_is_told_like_one_that_is_not_there(internet: Internet, web: Web) -> None:
    said = set()
    for found in (["10.0.0.5"], ["169.254.169.254"], [PUBLIC, "::1"], []):
        internet.tell({HOST: [found]}, {})
        said.add(await outcome(web, URL))
    internet.tell({"other.example": [[PUBLIC]]}, {})  # a certificate of another name
    said.add(await outcome(web, "https://other.example/a.png"))
    assert said == {NO_PUBLIC_HOST}


async def test_a_body_that_drips_and_a_head_that_never_ends_are_ended(
    internet: Internet, client: httpx.AsyncClient
) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def inform(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    internet.tell({}, {"/a.png": drip, "/b.png": inform})
    for path in ("a", "b"):
        said = await outcome(Web(client, LIMIT, seconds=0.3), f"https://{HOST}/{path}.png")
        assert "did not arrive" in said


async def test_no_more_is_read_than_a_picture_may_have(internet: Internet, web: Web) -> None:
    sent = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    internet.tell({}, {"/a.png": pour})
    assert "more than 1,000 bytes" in await outcome(web, URL)
    assert sent < 50_000_000  # what buffers of the system hold, and no more


async def test_bytes_after_the_stated_length_are_not_the_pictures(internet: Internet, web: Web) -> None:
    internet.tell({}, {"/a.png": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na picture and more"})
    assert await web.read(URL) == b"a picture"


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_server_on_this_machine_receives_nothing(scheme: str) -> None:
    """Over sockets that nobody hooked, by its own port, in every spelling of loopback that the C library reads."""
    received = 0

    async def receive(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += 1
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server, make_web_client(ssl.create_default_context()) as client:
        port = server.sockets[0].getsockname()[1]
        web = Web(client, LIMIT, schemes=("https", "http"))
        for host in (
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::ffff:127.0.0.1]",
            "0",
        ):
            url = f"{scheme}://{host}:{port}/a.png"
            assert await outcome(web, url) != "FETCHED"
            with pytest.raises((httpx.InvalidURL, httpx.TransportError)):
                await client.get(url)
        # It can be reached: a connection of the test's own arrives.
        with socket.create_connection(("127.0.0.1", port)):
            pass
        while not received:
            await asyncio.sleep(0.01)
    assert received == 1
