"""Work at the end of a call in a function: some of it, now and then, never late, whatever the call was."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable
from copperplate.generation.lookup import LookupOptions
from copperplate.http import vercel
from copperplate.http.wiring import Wiring
from copperplate.wishes import NewBatch, WishStatus
from copperplate.work.promises import Promised, new_wish
from tests.support.coordinator_harness import GatedProvider
from tests.support.function_calls import Call, runtime
from tests.support.memory_services import memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from tests.support.memory_services import MemoryServices

__all__ = ["runtime"]

SUNSET: Final = "/64x64.jpg?text=a%20beautiful%20sunset"
CRON_SECRET: Final = "sixteen characters or more"
ON_VERCEL: Final = {"VERCEL": "1"}
NO_PICTURE: Final = "/64x64.jpg"
NOT_FOUND: Final = "/nothing/here"


@pytest.fixture
def provider() -> GatedProvider:
    return GatedProvider(FakeClock())


async def wish(services: MemoryServices, *prompts: str) -> None:
    """These were promised, and nobody makes them."""
    for request in map(picture_request, prompts):
        options = LookupOptions(permit=services.gate.permit_of_owner(request))
        await services.ledger.make_wish(new_wish(request, options, owner="owner"), held_for=timedelta(0))


def statuses(services: MemoryServices) -> list[WishStatus]:
    return [row.status for row in services.ledger._wishes.values()]


async def close(services: MemoryServices) -> None:
    await services.shut_down(within_seconds=0)
    await services.request_meter.close()


async def test_a_hit_whose_count_is_told_of_due_work_does_it_before_the_call_is_over() -> None:
    services = memory_services(environ=ON_VERCEL)
    await Call(services, SUNSET).task
    await wish(services, "a fox")
    call = Call(services, SUNSET)
    await call.task
    assert (call.headers["x-cache"], statuses(services)) == ("HIT", [WishStatus.COMPLETED])
    await close(services)


async def test_the_answer_is_out_before_the_work_begins(provider: GatedProvider) -> None:
    services = memory_services(environ=ON_VERCEL, provider=provider)
    await wish(services, "a fox")
    services.work.note_due()
    call = Call(services, NO_PICTURE)
    await call.answered.wait()
    await asyncio.sleep(0)
    assert not call.task.done()
    provider.gate.set()
    await call.task
    assert (call.status, statuses(services)) == (400, [WishStatus.COMPLETED])
    await close(services)


@pytest.mark.parametrize(("url", "status"), [(NO_PICTURE, 400), (NOT_FOUND, 404), ("/api/work", 503)])
async def test_a_call_works_whatever_its_status(url: str, status: int) -> None:
    services = memory_services(environ=ON_VERCEL)
    await wish(services, "a fox")
    services.work.note_due()
    call = Call(services, url)
    await call.task
    assert (call.status, statuses(services)) == (status, [WishStatus.COMPLETED])
    await close(services)


async def test_nothing_is_asked_where_nobody_told_of_due_work(monkeypatch: pytest.MonkeyPatch) -> None:
    services = memory_services(environ=ON_VERCEL)

    async def take(**_: Any) -> Any:
        pytest.fail("a call costs no look for work")

    monkeypatch.setattr(services.ledger, "take_wishes", take)
    for url in (SUNSET, SUNSET, NO_PICTURE):
        await Call(services, url).task
    await close(services)


async def test_elsewhere_a_call_does_not_work() -> None:
    services = memory_services()
    await wish(services, "a fox")
    services.work.note_due()
    await Call(services, SUNSET).task
    assert statuses(services) == [WishStatus.OPEN]
    await close(services)


async def test_one_call_takes_no_more_than_is_set() -> None:
    services = memory_services(environ={**ON_VERCEL, "COPPERPLATE_WORK_ITEMS": "2"})
    await wish(services, "a fox", "an owl", "a hare")
    await Call(services, SUNSET).task
    assert sorted(statuses(services)) == [WishStatus.COMPLETED, WishStatus.COMPLETED, WishStatus.OPEN]
    # There may be more: the next call looks.
    assert services.work.is_due
    await close(services)


async def test_polls_of_a_batch_have_the_rest_of_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vercel, "WORK_PAUSE_SECONDS", 0)
    services = memory_services(
        environ={**ON_VERCEL, "COPPERPLATE_WORK_ITEMS": "2", "COPPERPLATE_ALLOWED_HOSTS": "pictures.test"}
    )
    asked = []
    for request in map(picture_request, ("a fox", "an owl", "a hare")):
        options = LookupOptions(permit=services.gate.permit_of_owner(request))
        asked.append(new_wish(request, options, owner="owner"))
    batch = await services.ledger.create_batch(NewBatch(owner="owner", wishes=tuple(asked)))
    for is_due in (True, False, False):
        await Call(services, f"/api/batches/{batch}").task
        assert services.work.is_due is is_due
    assert statuses(services) == [WishStatus.COMPLETED] * 3
    await close(services)


async def test_an_instance_works_at_most_once_in_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    services = memory_services(environ=ON_VERCEL, clock=clock)
    invocation = vercel.Invocation(_answer_nothing, Wiring(services))

    async def call() -> None:
        await invocation({"type": "http"}, None, None)  # type: ignore[arg-type]

    await wish(services, "a fox")
    services.work.note_due()
    await call()
    await wish(services, "an owl")
    services.work.note_due()
    await clock.advance(4)
    await call()
    assert statuses(services) == [WishStatus.COMPLETED, WishStatus.OPEN]
    await clock.advance(1)
    await call()  # told before, and not forgotten
    assert statuses(services) == [WishStatus.COMPLETED] * 2
    await close(services)


async def _answer_nothing(*_: Any) -> None:
    """An application whose answer is nobody's concern."""


@pytest.mark.parametrize(("seconds", "is_done"), [(24, False), (60, True)])
async def test_a_call_begins_no_work_near_its_end(runtime: ModuleType, seconds: float, *, is_done: bool) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    runtime.get_deadline = lambda: deadline  # type: ignore[attr-defined]
    services = memory_services(environ=ON_VERCEL)
    await wish(services, "a fox")
    services.work.note_due()
    await Call(services, NO_PICTURE).task
    assert statuses(services) == [WishStatus.COMPLETED if is_done else WishStatus.OPEN]
    await close(services)


async def test_work_that_is_late_is_put_back_before_the_deadline(
    provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vercel, "MAX_SECONDS", vercel.MARGIN_SECONDS + 0.5)
    monkeypatch.setattr(vercel, "WORK_MARGIN_SECONDS", 0.3)
    monkeypatch.setattr(vercel, "MIN_WORK_SECONDS", 0.1)
    services = memory_services(environ=ON_VERCEL, provider=provider)
    await wish(services, "a fox")
    services.work.note_due()
    await Call(services, NO_PICTURE).task
    assert statuses(services) == [WishStatus.OPEN]
    assert await services.ledger.is_work_due()  # neither the wish nor its generation is held
    await close(services)


async def _fail(**_: Any) -> Any:
    raise LedgerUnavailable("away")


async def _break(**_: Any) -> Any:
    raise ValueError("a bug")


@pytest.mark.parametrize("fault", [_fail, _break])
async def test_a_fault_of_the_work_is_no_fault_of_the_call(
    fault: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    services = memory_services(environ=ON_VERCEL)
    monkeypatch.setattr(services.ledger, "take_wishes", fault)
    services.work.note_due()
    call = Call(services, SUNSET)
    await call.task
    assert call.status == 200
    assert "promised pictures wait" in caplog.text or "work at the end of a call" in caplog.text
    await close(services)


async def test_a_call_stays_open_for_what_it_promised(provider: GatedProvider) -> None:
    """As after a 202: the answer is out, and nobody waits."""
    services = memory_services(environ=ON_VERCEL, provider=provider)
    answered = asyncio.Event()

    async def promise(*_: Any) -> None:
        request = picture_request()
        options = LookupOptions(permit=services.gate.permit_of_owner(request))
        told = await services.promises.start(request, options, new_wish(request, options, owner="owner"))
        assert isinstance(told, Promised)
        answered.set()

    invocation = vercel.Invocation(promise, Wiring(services))
    call = asyncio.create_task(invocation({"type": "http"}, None, None))  # type: ignore[arg-type]
    await answered.wait()
    await asyncio.sleep(0.05)
    assert not call.done()
    provider.gate.set()
    await call
    assert statuses(services) == [WishStatus.COMPLETED]
    await close(services)


async def test_a_step_that_is_asked_for_stays_in_the_time_of_its_call(
    provider: GatedProvider, runtime: ModuleType
) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=vercel.MARGIN_SECONDS + vercel.WORK_MARGIN_SECONDS + 0.3)
    runtime.get_deadline = lambda: deadline  # type: ignore[attr-defined]
    services = memory_services(environ={**ON_VERCEL, "CRON_SECRET": CRON_SECRET}, provider=provider)
    await wish(services, "a fox")
    call = Call(services, "/api/work", authorization=f"Bearer {CRON_SECRET}")
    await call.answered.wait()
    assert (call.status, b'"put_back":1' in call.body) == (200, True)
    provider.gate.set()
    await call.task
    await close(services)
