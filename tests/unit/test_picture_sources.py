"""Pictures below a folder, and at https addresses: what leaves either is refused, and what is too large."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters.picture_sources import Folder, Web
from copperplate.ports.sources import SourceRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LIMIT = 1_000
URL = "https://pictures.example/a.png?token=secret"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_bytes(b"a picture")
    (root / "large.png").write_bytes(b"x" * (LIMIT + 1))
    (root / "whole.png").write_bytes(b"x" * LIMIT)
    (root / "inside.png").symlink_to(root / "sub" / "a.png")
    (root / "outside.png").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "ring").symlink_to(root / "ring")
    os.mkfifo(root / "pipe")
    (tmp_path / "secret").write_bytes(b"of another")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "a.png").write_bytes(b"of another")
    return Folder(root, LIMIT)


@pytest.mark.parametrize("name", ["sub/a.png", "./sub/a.png", "inside.png", "{root}/sub/a.png"])
async def test_files_below_the_root_are_read(folder: Folder, tmp_path: Path, name: str) -> None:
    assert await folder.read(name.format(root=tmp_path / "root")) == b"a picture"


@pytest.mark.parametrize(
    "name",
    [
        *("../secret", "sub/../../secret", "sub/../sub/a.png", "{tmp}/secret", "{tmp}/root2/a.png", "/etc/passwd"),
        *("outside.png", "up/secret", "ring", "sub", ".", "missing.png", "sub/a.png/b", "a\0b", "\udcff.png"),
        *("x" * 5_000, "pipe", "/dev/zero"),
    ],
)
async def test_what_leaves_the_root_or_is_no_file_is_refused(folder: Folder, tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceRefused) as refused:
        await asyncio.wait_for(folder.read(name.format(tmp=tmp_path)), timeout=30)
    # The list is perhaps another person's: no path of this machine is told.
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [("ring", "in a ring|too many levels"), ("sub", "no file"), ("x" * 5_000, "too long")],
)
async def test_a_file_that_cannot_be_read_is_told_in_words(folder: Folder, name: str, why: str) -> None:
    with pytest.raises(SourceRefused, match=f"(?i){why}"):
        await folder.read(name)


async def test_a_file_has_as_many_bytes_as_a_picture_may_have(folder: Folder) -> None:
    assert len(await folder.read("whole.png")) == LIMIT
    with pytest.raises(SourceRefused, match=r"more than 1,000 bytes"):
        await folder.read("large.png")


def web(answer: Callable[[httpx.Request], httpx.Response], *, seconds: float = 60) -> Web:
    return Web(httpx.AsyncClient(transport=httpx.MockTransport(answer)), LIMIT, seconds=seconds)


def sends(body: bytes, **headers: str) -> httpx.Response:
    """An answer whose bytes come as they do over a wire."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=named, stream=httpx.ByteStream(body))


async def test_a_picture_is_fetched_plain_and_whole() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == URL
        return sends(b"a picture")

    assert await web(answer).read(URL) == b"a picture"


@pytest.mark.parametrize(
    "address",
    [
        *("http://pictures.example/a.png", "ftp://pictures.example/a.png", "file:///etc/passwd", "data:image/png,x"),
        *("//pictures.example/a.png", "pictures.example/a.png", "https://", "https://user:pass@pictures.example/a"),
        *("https://pictures.example:99999/a", "https://[::1/a", f"https://pictures.example/{'a' * 5_000}", "\0"),
    ],
)
async def test_only_https_and_no_password_is_asked(address: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError("it was asked")

    with pytest.raises(SourceRefused) as refused:
        await web(answer).read(address)
    assert "pass@" not in str(refused.value)


async def test_a_redirect_is_followed_three_times_and_each_hop_is_judged() -> None:
    def chain(hops: int) -> Web:
        def answer(request: httpx.Request) -> httpx.Response:
            hop = int(request.url.params.get("hop", 0))
            return httpx.Response(302, headers={"location": f"/a?hop={hop + 1}"}) if hop < hops else sends(b"")

        return web(answer)

    assert await chain(3).read(URL) == b""
    with pytest.raises(SourceRefused, match="3 redirects"):
        await chain(4).read(URL)
    away = web(lambda _: httpx.Response(302, headers={"location": "http://127.0.0.1/"}))
    with pytest.raises(SourceRefused, match="https://"):
        await away.read(URL)


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx.Response(404), "answers 404"),
        (sends(b"x" * (LIMIT + 1)), "more than 1,000 bytes"),
        (sends(b"x", content_encoding="gzip"), "compressed"),
    ],
    ids=["missing", "large", "compressed"],
)
async def test_an_answer_that_is_no_picture_is_refused_without_its_address(response: httpx.Response, said: str) -> None:
    with pytest.raises(SourceRefused, match=said) as refused:
        await web(lambda _: response).read(URL)
    assert "secret" not in str(refused.value)


async def test_an_endless_answer_is_read_no_further_than_the_limit() -> None:
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 100
                yield b"x" * 100

    with pytest.raises(SourceRefused, match="more than"):
        await web(lambda _: httpx.Response(200, stream=Endless())).read(URL)
    assert sent <= LIMIT + 200


async def test_a_host_that_fails_or_never_ends_is_refused() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused at https://pictures.example/?token=secret")

    with pytest.raises(SourceRefused, match="no public host") as refused:
        await web(fail).read(URL)
    assert "secret" not in str(refused.value)

    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
    with pytest.raises(SourceRefused, match="did not arrive"):
        await Web(client, LIMIT, seconds=0.01).read(URL)
