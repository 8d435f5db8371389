"""Faults of Redis, over real sockets: one question pays for each of them, and no picture is wrong."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.redis.server import CONNECTIONS, MAX_PAUSE_SECONDS, PAUSE_SECONDS
from copperplate.adapters.redis.values import name_of
from tests.support.pictures import picture_request
from tests.support.redis_copies import DATABASE, copies, copy_of, redis_tier
from tests.support.slow_wire import slow_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from copperplate.adapters.redis_tier import RedisTier
    from tests.support.slow_wire import SlowWire
    from tests.support.valkey_server import Valkey

REQUEST = picture_request("in trouble")
KEY = REQUEST.rendition_key
COPY = copy_of(REQUEST)
# Of the tests that wait for the end of patience: so long that a busy machine answers in it.
SHORT = 0.5


@pytest.fixture
async def wire(valkey: Valkey) -> AsyncIterator[SlowWire]:
    """In front of a Valkey that holds the copy."""
    tier = redis_tier(valkey.url)
    await tier.keep(COPY, REQUEST)
    await tier.close()
    async with slow_wire(valkey.port) as wire:
        yield wire


@pytest.fixture
def clock() -> FakeClock:
    """By which probes are put off; it stands still."""
    return FakeClock()


async def _crowd(tier: RedisTier, count: int = 200) -> None:
    """So many lookups, which all find nothing."""
    assert await asyncio.gather(*(tier.find(KEY, DATABASE) for _ in range(count))) == [None] * count
    await tier.keep(COPY, REQUEST)
    await tier.drop(KEY)
    assert await tier.figures() is None


async def _recover(tier: RedisTier, clock: FakeClock) -> None:
    """Ask until a probe has found that the server answers again."""
    async with asyncio.timeout(60):
        while await tier.find(KEY, DATABASE) != COPY:
            await clock.advance(MAX_PAUSE_SECONDS)
            await asyncio.sleep(0.02)


async def _probe_ends(tier: RedisTier) -> None:
    """Wait until no probe is under way."""
    async with asyncio.timeout(60):
        while tier._server._probe is not None:
            await asyncio.sleep(0.01)


async def test_refused_connection_is_tried_once_and_probed_beside_the_traffic(
    valkey: Valkey, wire: SlowWire, clock: FakeClock
) -> None:
    wire.refuse()
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}", clock)
    await _crowd(tier)
    await wire.listen(None)
    await _recover(tier, clock)
    assert wire.connections == 1
    await tier.close()


async def test_silent_server_is_waited_for_once(wire: SlowWire, clock: FakeClock) -> None:
    wire.is_silent = True
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}", clock, patience_seconds=SHORT, pause_seconds=PAUSE_SECONDS)
    assert await tier.find(KEY, DATABASE) is None
    # A probe at once, the next after a pause: each of them one connection, however many ask.
    await _crowd(tier)
    await _probe_ends(tier)
    await _crowd(tier)
    await clock.advance(PAUSE_SECONDS)
    await _crowd(tier)
    await _probe_ends(tier)
    async with asyncio.timeout(60):
        while wire.connections < 3:
            await asyncio.sleep(0.01)
    assert wire.connections == 3
    wire.is_silent = False
    await _recover(tier, clock)
    await tier.close()


async def test_slow_server_answers_one_question(wire: SlowWire, valkey: Valkey, clock: FakeClock) -> None:
    wire.delay_seconds = 0.2
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}", clock, slow_seconds=0.1)
    valkey.forget_calls()
    # What came late is served all the same.
    assert await tier.find(KEY, DATABASE) == COPY
    await _crowd(tier)
    assert valkey.calls("getrange") == 1
    await _probe_ends(tier)
    await _crowd(tier)
    assert (valkey.calls("getrange"), valkey.calls("ping")) == (1, 1)
    wire.delay_seconds = 0
    await _recover(tier, clock)
    await tier.close()


async def test_password_and_answer_together_take_no_longer_than_patience(own_valkey: Valkey, clock: FakeClock) -> None:
    own_valkey.ask.config_set("requirepass", "right")
    async with slow_wire(own_valkey.port) as wire:
        url = f"redis://:right@127.0.0.1:{wire.port}"
        tier = redis_tier(url)
        await tier.keep(COPY, REQUEST)
        await tier.close()
        # Each of them alone is in time.
        wire.delay_seconds = SHORT * 0.7
        tier = redis_tier(url, clock, patience_seconds=SHORT)
        assert await tier.find(KEY, DATABASE) is None
        await tier.close()


async def test_whoever_waits_already_gives_up_with_the_first_that_fails(wire: SlowWire, clock: FakeClock) -> None:
    wire.is_silent = True
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}", clock, patience_seconds=60)
    waiting = asyncio.create_task(tier.find(KEY, DATABASE))
    while not wire.questions:
        await asyncio.sleep(0.01)
    wire.refuse()
    assert await tier.find(KEY, DATABASE) is None
    async with asyncio.timeout(20):
        assert await waiting is None
    await tier.close()


async def test_server_that_stands_still_costs_one_question(own_valkey: Valkey, clock: FakeClock) -> None:
    tier = redis_tier(own_valkey.url, clock, patience_seconds=SHORT)
    await tier.keep(COPY, REQUEST)
    assert await tier.find(KEY, DATABASE) == COPY
    own_valkey.forget_calls()
    own_valkey.freeze()
    await _crowd(tier)
    own_valkey.thaw()
    # The crowd had what connections there are; what it asked was not read by the next who asked.
    assert own_valkey.calls("getrange") <= CONNECTIONS
    assert own_valkey.calls("set") == own_valkey.calls("unlink") == 0
    await _recover(tier, clock)
    await tier.close()


async def test_server_that_was_restarted_is_used_again_and_empty(own_valkey: Valkey) -> None:
    tier = redis_tier(own_valkey.url)
    await tier.keep(COPY, REQUEST)
    assert await tier.find(KEY, DATABASE) == COPY
    own_valkey.stop()
    own_valkey.start()
    assert await tier.find(KEY, DATABASE) is None
    async with asyncio.timeout(60):
        while await tier.find(KEY, DATABASE) != COPY:
            await tier.keep(COPY, REQUEST)
            await asyncio.sleep(0.02)
    await tier.close()


async def test_full_server_keeps_no_more_and_answers_what_it_has(
    own_valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    tier = redis_tier(own_valkey.url)
    await tier.keep(COPY, REQUEST)
    own_valkey.ask.config_set("maxmemory", 1)
    for request, copy in copies(5):
        await tier.keep(copy, request)
        assert await tier.find(request.rendition_key, DATABASE) is None
    assert await tier.find(KEY, DATABASE) == COPY
    own_valkey.ask.config_set("maxmemory", 0)
    request = picture_request("with room again")
    await tier.keep(copy_of(request), request)
    assert await tier.find(request.rendition_key, DATABASE) == copy_of(request)
    assert [each.message for each in caplog.records] == ["redis refuses a command: OOM"]
    await tier.close()


async def test_wrong_password_is_tried_once_and_told_without_it(
    own_valkey: Valkey, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own_valkey.ask.config_set("requirepass", "r/ght:p@ss")
    tier = redis_tier(f"redis://:wr0ng@127.0.0.1:{own_valkey.port}", clock)
    before = int(own_valkey.info("stats")["total_connections_received"])
    assert await tier.find(KEY, DATABASE) is None
    await _crowd(tier)
    await asyncio.sleep(0.1)
    await _crowd(tier)
    assert int(own_valkey.info("stats")["total_connections_received"]) - before <= 2
    assert "AuthenticationError" in caplog.text
    assert "wr0ng" not in caplog.text
    await tier.close()
    right = redis_tier(f"redis://default:r%2Fght%3Ap%40ss@127.0.0.1:{own_valkey.port}/3")
    await right.keep(COPY, REQUEST)
    assert await right.find(KEY, DATABASE) == COPY
    assert own_valkey.info("keyspace").keys() == {"db3"}
    await right.close()


async def test_user_without_rights_is_done_without(own_valkey: Valkey) -> None:
    own_valkey.ask.acl_setuser("reader", enabled=True, nopass=True, commands=["+get"], keys=["*"])
    tier = redis_tier(f"redis://reader:x@127.0.0.1:{own_valkey.port}")
    await tier.keep(COPY, REQUEST)
    assert await tier.find(KEY, DATABASE) is None
    assert await tier.figures() is None
    await tier.close()


async def test_value_of_another_type_is_no_copy_and_is_replaced(valkey: Valkey) -> None:
    tier = redis_tier(valkey.url)
    valkey.ask.lpush(name_of(KEY, DATABASE), "a list")
    assert await tier.find(KEY, DATABASE) is None
    await tier.keep(COPY, REQUEST)
    assert await tier.find(KEY, DATABASE) == COPY
    await tier.close()


async def test_value_of_somebody_else_is_removed_and_never_read_whole(valkey: Valkey) -> None:
    tier = redis_tier(valkey.url)
    valkey.ask.set(name_of(KEY, DATABASE), "x" * 50_000_000)
    valkey.forget_calls()
    sent = int(valkey.info("stats")["total_net_output_bytes"])
    assert await tier.find(KEY, DATABASE) is None
    assert int(valkey.info("stats")["total_net_output_bytes"]) - sent < 100_000
    assert valkey.ask.exists(name_of(KEY, DATABASE)) == 0
    await tier.close()


async def test_answer_to_a_cancelled_question_is_nobody_elses(wire: SlowWire, valkey: Valkey) -> None:
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}")
    other = picture_request("another")
    await tier.keep(copy_of(other), other)
    wire.delay_seconds = 0.1
    for _ in range(3):
        seen = wire.questions
        cancelled = asyncio.create_task(tier.find(KEY, DATABASE))
        while wire.questions == seen:
            await asyncio.sleep(0.005)
        cancelled.cancel()
        assert await tier.find(other.rendition_key, DATABASE) == copy_of(other)
    await tier.close()


async def test_crowd_shares_sixteen_connections(wire: SlowWire) -> None:
    tier = redis_tier(f"redis://127.0.0.1:{wire.port}")
    assert await asyncio.gather(*(tier.find(KEY, DATABASE) for _ in range(500))) == [COPY] * 500
    assert wire.connections <= CONNECTIONS
    await tier.close()


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_tls_is_spoken_with_whom_the_authority_vouches_for(
    valkey: Valkey, tmp_path: Path, clock: FakeClock, *, is_trusted: bool
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    (authority if is_trusted else stranger).cert_pem.write_to_path(trusted)
    async with slow_wire(valkey.port, tls=context) as wire:
        tier = redis_tier(f"rediss://127.0.0.1:{wire.port}?ssl_ca_certs={trusted}", clock)
        await tier.keep(COPY, REQUEST)
        assert await tier.find(KEY, DATABASE) == (COPY if is_trusted else None)
        await tier.close()
    assert valkey.ask.dbsize() == int(is_trusted)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$-5\r\n",
        b"$99999999999\r\nabc",
        b":1\r\n",
        b":x\r\n",
        b"+OK\r\n",
        b"*1\r\n$2\r\nab\r\n",
        b"*1\r\n" * 3_000,
        b"-\r\n",
        b"\r\n",
        b"\xff\xfe\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("user", ["", ":secret@"], ids=["amid a command", "amid the password"])
async def test_what_is_no_redis_is_done_without(answer: bytes, user: str, clock: FakeClock) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        tier = redis_tier(f"redis://{user}127.0.0.1:{port}", clock, patience_seconds=SHORT)
        for _ in range(3):  # the later ones begin a probe
            assert await tier.find(KEY, DATABASE) is None
            await tier.keep(COPY, REQUEST)
            assert await tier.figures() is None
            await clock.advance(MAX_PAUSE_SECONDS)
        await tier.close()
