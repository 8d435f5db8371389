"""Uploads: one caller has a share of what a process reads and holds, and keeps nobody else out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.access.caller import Caller
from copperplate.denials import TooManyUploadsOfCaller
from copperplate.http import process_bodies
from copperplate.http.app import create_app
from copperplate.model import User
from copperplate.processing import upload_shares
from copperplate.processing.upload_budget import UploadBudget
from copperplate.processing.upload_shares import MAX_READ_WITHOUT_SPENDING, MAX_WAITING, Shares, Uploader
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing_http import ALICE, PICTURE, PNG, SECRET, UP, is_problem, of, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Of a body that is announced and never comes.
HEAD = {**PNG, "content-length": "1000"}
ATTACKER, OTHER = "192.0.2.66", "198.51.100.7"
ONE = Uploader(names=("address:192.0.2.1",), may_spend=True)
POOR = Uploader(names=ONE.names, may_spend=False)


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": "keys"})
    yield made
    await made.request_meter.close()


@asynccontextmanager
async def client_at(services: MemoryServices, address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services=services), client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        yield client


async def nothing() -> AsyncIterator[bytes]:
    """A body that never begins."""
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize("headers", [{}, of(ALICE)])
async def test_whoever_sends_heads_without_bodies_keeps_nobody_else_out(
    services: MemoryServices, headers: dict[str, str]
) -> None:
    async with client_at(services, ATTACKER) as attacker, client_at(services, OTHER) as other:
        sending = [
            asyncio.create_task(attacker.post(UP, content=nothing(), headers={**HEAD, **headers})) for _ in range(200)
        ]
        budget = services.processing.sources.budget
        reading = 16 if headers else MAX_READ_WITHOUT_SPENDING
        async with asyncio.timeout(20):
            while sum(task.done() for task in sending) < 200 - reading * (1 + MAX_WAITING):
                await asyncio.sleep(0.01)
        assert len(budget._readings) == reading
        key = (await keep_key(services.ledger)).text
        assert (await send(other, UP, x_api_key=key)).status_code == 200
        # Who waits already is more than enough; the rest is sent away at once.
        refused = [task.result() for task in sending if task.done()]
        assert len(refused) == 200 - reading * (1 + MAX_WAITING)
        for answer in refused:
            assert is_problem(answer, 429, "too_many_uploads_of_caller")
            assert answer.headers["retry-after"] == "5"
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    services.processor.inputs.clear()
    assert all(share.is_empty for share in budget.shares._shares.values())


async def test_a_body_that_does_not_begin_is_ended_before_one_that_is_slow(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_bodies, "FIRST_BYTE_SECONDS", 0.5)
    monkeypatch.setattr(process_bodies, "READ_SECONDS", 60.0)

    async def late() -> AsyncIterator[bytes]:
        yield PICTURE[:4]
        await asyncio.sleep(0.7)
        yield PICTURE[4:]

    async with client_at(services, OTHER) as client:
        async with asyncio.timeout(30):
            silent = await client.post(UP, content=nothing(), headers=PNG)
        assert is_problem(silent, 400, "invalid_body")
        assert "did not begin" in silent.json()["detail"]
        assert (await client.post(UP, content=late(), headers={**PNG, **of(ALICE)})).status_code == 200


async def test_an_upload_waits_for_those_of_its_caller_and_is_refused_at_last(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = services.processing.sources.budget = UploadBudget(max_read_at_once=4)  # one of each caller
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PICTURE[:4]
        await go.wait()
        yield PICTURE[4:]

    async with client_at(services, OTHER) as client:
        first = asyncio.create_task(client.post(UP, content=slow(), headers={**PNG, **of(ALICE)}))
        while not budget.held_bytes:
            await asyncio.sleep(0)
        second = asyncio.create_task(send(client, UP, **of(ALICE)))
        await asyncio.sleep(0.1)
        assert not second.done()
        monkeypatch.setattr(upload_shares, "SHARE_SECONDS", 0.1)
        third = await send(client, UP, **of(ALICE))
        assert is_problem(third, 429, "too_many_uploads_of_caller")
        monkeypatch.setattr(upload_shares, "SHARE_SECONDS", 30.0)
        go.set()
        assert (await first).status_code == 200
    second.cancel()


def test_a_key_is_counted_by_itself_and_a_sign_in_by_its_address_too() -> None:
    user = User(id=ALICE, is_anonymous=True)
    assert Uploader.of(Caller(address="::/64"), may_spend=True).names == ("address:::/64",)
    assert Uploader.of(Caller(address="a", user=user), may_spend=True).names == ("address:a", f"user:{ALICE}")


async def test_bytes_of_one_caller_are_bounded_and_the_same_ones_count_once() -> None:
    budget = UploadBudget(max_held_bytes=400)  # a hundred of each caller
    async with budget.shares.place(ONE, 60) as place:
        held = await budget.hold(bytes(60))
        await place.hold(held)
    async with budget.shares.place(ONE, 40) as place:
        await place.hold(await budget.hold(bytes(60)))  # the same
    waiting = asyncio.create_task(bring(budget, b"x" * 60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    async with budget.shares.place(Uploader(names=("key:1",), may_spend=True), 60) as other:  # no matter of others
        await other.hold(await budget.hold(b"y" * 60))
    del held, place, other
    await waiting
    await bring(budget, bytes(1_000))  # the only one fits always
    await enter(budget.shares, ONE, 1)
    assert all(share.is_empty for share in budget.shares._shares.values())


async def test_a_caller_who_may_spend_nothing_has_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_shares, "SHARE_SECONDS", 0.0)
    shares = Shares(max_places=16, max_bytes=100)
    read = [shares.place(POOR, 1) for _ in range(4)]
    for place in read:
        await place.__aenter__()
    with pytest.raises(TooManyUploadsOfCaller):
        await enter(shares, POOR, 1)
    await enter(shares, ONE, 1)  # of the same address, who may
    for place in read:
        await place.__aexit__(None, None, None)
    await enter(shares, POOR, 1)


async def enter(shares: Shares, uploader: Uploader, size_bytes: int) -> None:
    async with shares.place(uploader, size_bytes):
        pass


async def bring(budget: UploadBudget, body: bytes) -> None:
    async with budget.shares.place(ONE, len(body)) as place:
        await place.hold(await budget.hold(body))
