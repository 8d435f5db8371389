"""Those who wait for one picture are sent one answer, whole where the server takes it so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory.clock import FakeClock
from copperplate.http.app import create_app
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.http.answers import Answer

SUNSET = "/256x256.jpg"
STORED = (b"cache-status", b"Copperplate; fwd=uri-miss; stored")
COLLAPSED = (b"cache-status", b"Copperplate; fwd=uri-miss; collapsed")
QUERY = b"text=A%20beautiful%20sunset"


class Caller:
    """`send` of a server that takes whole answers, or none."""

    def __init__(self, *, takes_whole: bool = True) -> None:
        self._takes_whole = takes_whole
        self.answers: list[Answer] = []
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    def send_whole(self, answer: Answer, body: bytes) -> bool:
        if self._takes_whole:
            assert body == answer.body
            self.answers.append(answer)
        return self._takes_whole


async def follow(callers: Sequence[Caller], path: str = SUNSET) -> MemoryServices:
    """Each of them asks for the same picture before it is made."""
    provider = GatedProvider(FakeClock())
    services = memory_services(provider=provider)
    app = create_app(services=services)
    headers = [(b"host", b"t"), (b"accept", b"image/jpeg")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": QUERY, "headers": headers}
    asking = [asyncio.create_task(app({**scope}, _nothing, caller)) for caller in callers]
    await provider.began.wait()
    provider.gate.set()
    await asyncio.gather(*asking)
    assert provider.submits == 1
    await services.request_meter.close()
    return services


async def _nothing() -> Any:
    raise AssertionError("the body of a GET was read")


async def test_followers_are_sent_one_answer() -> None:
    callers = [Caller() for _ in range(20)]
    services = await follow(callers)
    answers = [answer for caller in callers for answer in caller.answers]
    assert len(answers) == len(callers)
    leaders = [answer for answer in answers if STORED in answer.headers]
    assert len(leaders) == 1
    followers = [answer for answer in answers if answer is not leaders[0]]
    assert all(answer is followers[0] for answer in followers)
    assert COLLAPSED in followers[0].headers
    assert followers[0].body == leaders[0].body
    assert (await services.ledger.generation_stats()).total_misses == len(callers)


async def test_a_server_that_takes_none_whole_is_sent_the_same_by_messages() -> None:
    whole, in_messages = Caller(), Caller(takes_whole=False)
    await follow([Caller(), whole, in_messages])
    start, end = in_messages.messages
    assert (start["status"], start["headers"], end["body"]) == (
        whole.answers[0].status,
        whole.answers[0].headers,
        whole.answers[0].body,
    )


async def test_what_depends_on_accept_is_never_sent_as_what_does_not() -> None:
    callers = [Caller() for _ in range(3)]
    await follow(callers, "/256x256.auto")
    for caller in callers:
        assert not caller.answers
        assert (b"vary", b"Accept") in caller.messages[0]["headers"]
