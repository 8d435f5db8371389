"""The transport that judges addresses: every answer of the resolver, each hop, and no second look."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters import judged_transport
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.files import Files
from copperplate.adapters.judged_transport import AddressRefused, JudgedTransport, is_public
from copperplate.errors import Uncollected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PUBLIC, OTHER_PUBLIC, SIX = "93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"


@pytest.mark.parametrize(
    "address",
    [
        *(PUBLIC, "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", SIX),
        *("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2a00:1450:4001:800:0:5efe:808:808"),
        *("2a00:1450:4001:800:0:5eff:7f00:1", "2a00:1450:4001:800:100:5efe:7f00:1"),  # close to ISATAP, and not it
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",  # noqa: S104 - judged, not bound
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
        ),
        *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"),
        *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("2001:db8::1", "100::1", "3fff::1"),
        # An IPv4 address inside: mapped, NAT64 (its own prefix and the local one), 6to4, Teredo.
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
        *("2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001:0:808:808:0:0:80ff:fffe", "2001:0:7f00:1:0:0:f7f7:f7f7"),
        # IPv4-translated, ISATAP (of both kinds), outside of 2000::/3, AS112 and AMT.
        *("::ffff:0:127.0.0.1", "2a00:1450:4001:800:0:5efe:7f00:1", "2a00:1450:4001:800:200:5efe:a9fe:a9fe"),
        *("fe80::5efe:808:808", "100:0:0:1::1", "4000::1", "2620:4f:8000::1", "2001:4:112::1", "2001:3::1"),
        *("192.175.48.1", "192.31.196.1", "192.52.193.1"),
        *("", "fal.media", "127.1", "2130706433", "0x7f.0.0.1"),
    ],
)
def test_all_other_addresses_are_not(address: str) -> None:
    assert not is_public(address)


class Recorder:
    """An inner transport that records where it would connect to."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer or (lambda _: httpx.Response(200, text="here"))

    def transport(self, *answers: list[str]) -> JudgedTransport:
        """A judged transport whose resolver gives these answers, the last one for ever."""
        queue = list(answers)

        async def resolve(host: str, port: int) -> list[str]:
            return queue.pop(0) if len(queue) > 1 else queue[0]

        inner = httpx.MockTransport(self._record)
        return JudgedTransport(httpx.create_ssl_context(), resolve=resolve, inner=inner)

    def _record(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)


async def get(transport: httpx.AsyncBaseTransport, url: str = "https://v3.fal.media/a.png") -> httpx.Response:
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(url)


async def test_judged_address_is_the_one_connected_to_under_the_hosts_own_name() -> None:
    recorder = Recorder()
    assert (await get(recorder.transport([PUBLIC]))).text == "here"
    (request,) = recorder.requests
    assert str(request.url) == f"https://{PUBLIC}/a.png"
    assert request.headers["host"] == "v3.fal.media"
    assert request.extensions["sni_hostname"] == "v3.fal.media"


async def test_second_answer_of_the_resolver_is_never_asked_for() -> None:
    recorder = Recorder()
    await get(recorder.transport([PUBLIC], ["127.0.0.1"]))
    assert [request.url.host for request in recorder.requests] == [PUBLIC]


@pytest.mark.parametrize("answer", [["127.0.0.1"], [PUBLIC, "169.254.169.254"], ["10.0.0.1", PUBLIC], ["::1", SIX]])
async def test_one_address_that_is_not_public_refuses_the_host(answer: list[str]) -> None:
    recorder = Recorder()
    with pytest.raises(AddressRefused, match=r"v3\.fal\.media"):
        await get(recorder.transport(answer))
    assert not recorder.requests


@pytest.mark.parametrize("url", ["https://127.0.0.1/a", "https://[::1]/a", "http://169.254.169.254/latest/meta-data/"])
async def test_numeric_host_is_judged_too(url: str) -> None:
    recorder = Recorder()
    transport = JudgedTransport(httpx.create_ssl_context(), inner=httpx.MockTransport(recorder._record))
    with pytest.raises(AddressRefused):
        await get(transport, url)
    assert not recorder.requests


async def test_next_address_is_tried_where_one_cannot_be_reached() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == SIX:
            raise httpx.ConnectError("unreachable")
        return httpx.Response(200)

    recorder = Recorder(answer)
    assert (await get(recorder.transport([SIX, PUBLIC]))).status_code == 200
    assert [request.url.host for request in recorder.requests] == [SIX, PUBLIC]


@pytest.mark.parametrize("answer", [[], [PUBLIC]])
async def test_host_without_an_address_that_answers_cannot_be_reached(answer: list[str]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        await get(Recorder(refuse).transport(answer))


async def test_name_nobody_knows_cannot_be_reached() -> None:
    transport = JudgedTransport(httpx.create_ssl_context())
    with pytest.raises(httpx.ConnectError, match="cannot be resolved"):
        await get(transport, "https://nowhere.invalid/a")
    await transport.aclose()


async def test_each_hop_of_a_picture_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "https://storage.googleapis.com/b/a.png"})

    async def resolve(host: str, port: int) -> list[str]:
        return ["169.254.169.254"] if host == "storage.googleapis.com" else [PUBLIC]

    monkeypatch.setattr(judged_transport, "_resolve", resolve)
    recorder = Recorder(answer)
    tls = httpx.create_ssl_context()
    files = Files(Addresses(queue_url="https://queue.fal.run"), tls, seconds=5)
    transport = files._http._transport
    assert isinstance(transport, JudgedTransport)
    transport._inner = httpx.MockTransport(recorder._record)
    with pytest.raises(Uncollected, match=r"storage.googleapis.com resolves to 169.254.169.254"):
        await files.fetch("https://v3.fal.media/a.png")
    assert [request.headers["host"] for request in recorder.requests] == ["v3.fal.media"]
    await files.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_allowed_name_that_leads_to_this_machine_is_not_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over real sockets: `storage.googleapis.com` resolves to a listener of ours."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)

        async def resolve(host: str, port: int) -> list[str]:
            return [address]

        monkeypatch.setattr(judged_transport, "_resolve", resolve)
        transport = JudgedTransport(httpx.create_ssl_context())
        with pytest.raises(AddressRefused):
            await get(transport, f"http://storage.googleapis.com:{listener.getsockname()[1]}/a")
        await transport.aclose()
        with pytest.raises(BlockingIOError):
            listener.accept()


@contextlib.asynccontextmanager
async def tls_server(folder: Path, names: list[str | None]) -> AsyncIterator[int]:
    """A server for `pictures.example.com` that notes the name it is asked for in the handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    context.sni_callback = lambda _, name, __: names.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"host:"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("host", "is_trusted"), [("pictures.example.com", True), ("other.example.com", False)])
async def test_certificate_must_be_that_of_the_name_and_not_of_the_address(
    host: str, is_trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("pictures.example.com")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(tmp_path / "chain.pem", append=number > 0)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(judged_transport, "is_public", lambda address: address == "127.0.0.1")
    names: list[str | None] = []
    async with tls_server(tmp_path, names) as port:
        transport = JudgedTransport(tls, resolve=resolve)
        url = f"https://{host}:{port}/a"
        if is_trusted:
            assert (await get(transport, url)).text == f"host: {host}:{port}"
        else:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await get(transport, url)
        await transport.aclose()
    assert names == [host]


async def test_proxy_of_the_environment_is_not_used_and_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    files = Files(Addresses(queue_url="https://queue.fal.run"), httpx.create_ssl_context(), seconds=1)
    assert "without the proxy of the environment" in caplog.text
    assert not files._http._mounts
    await files.close()


async def test_stand_in_is_reached_only_where_the_queue_itself_is_on_loopback() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for exempt, is_reached in ((httpx.URL(url), True), (httpx.URL("http://127.0.0.1:1"), False), (None, False)):
            transport = JudgedTransport(httpx.create_ssl_context(), exempt=exempt)
            with contextlib.nullcontext() if is_reached else pytest.raises(AddressRefused):
                assert (await get(transport, f"{url}/a")).text == "ok"
            await transport.aclose()
