"""Work in a server process: it wakes by hints and by itself, outlasts outages, and ends with the process."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.notifier import Notifier
from copperplate.errors import LedgerUnavailable
from copperplate.http.app import create_app
from copperplate.http.lifespan import lifespan
from copperplate.http.wiring import Wiring
from copperplate.settings import Settings
from copperplate.work.background import PAUSE_SECONDS, background_work
from copperplate.work.step import WORK, Report
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from tests.support.memory_services import MemoryServices

LONGEST: Final = 1.2 * PAUSE_SECONDS


class Work:
    """A step that counts its runs, and fails as told."""

    def __init__(self) -> None:
        self.runs = 0
        self.failures: list[Exception] = []
        self.is_stopped = False
        self.clock = FakeClock()
        self.hints = Notifier()

    async def run(self, *, within_seconds: float) -> Report:
        assert within_seconds == math.inf
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)
        return Report()

    def stop(self) -> None:
        self.is_stopped = True


def working(work: Any) -> Any:
    ledger: Any = type("Ledger", (), {"hints": lambda _, key: work.hints.watch(key)})()
    return background_work(work, ledger=ledger, clock=work.clock)


async def test_a_step_runs_every_few_seconds() -> None:
    work = Work()
    async with working(work):
        for number in range(1, 4):
            await work.clock.advance(LONGEST)
            assert work.runs >= number
        assert work.runs <= 15  # with the shortest of pauses


async def test_a_hint_starts_a_step_at_once() -> None:
    work = Work()
    async with working(work):
        await work.clock.settle()
        assert work.runs == 0
        work.hints.announce(WORK)
        await work.clock.settle()
        assert work.runs == 1


async def test_an_outage_is_logged_once_and_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.failures = [LedgerUnavailable("a secret address")] * 3
    async with working(work):
        for _ in range(4):
            await work.clock.advance(LONGEST)
        assert work.runs >= 4
        work.failures = [LedgerUnavailable("away again")]
        await work.clock.advance(LONGEST)
    assert caplog.text.count("ledger_unavailable") == 2
    assert "secret" not in caplog.text


async def test_an_error_nobody_planned_is_logged_without_its_words_and_work_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    work.failures = [ValueError("a very private fox")]
    async with working(work):
        await work.clock.advance(LONGEST)
        await work.clock.advance(LONGEST)
        assert work.runs >= 2
    assert "unexpected error in background work" in caplog.text
    assert "private" not in caplog.text


async def test_it_ends_with_the_block_or_when_the_process_is_told_to_stop() -> None:
    work = Work()
    async with working(work):
        pass
    assert work.is_stopped
    before = len(asyncio.all_tasks())
    async with working(work):
        await work.clock.advance(2 * LONGEST)
        assert work.runs <= 1
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[MemoryServices]:
    """Services over memory where a server would open those of its settings."""
    made: list[MemoryServices] = []

    class Opening:
        def __init__(self, settings: Settings) -> None:
            self.settings = settings

        async def __aenter__(self) -> MemoryServices:
            made.append(memory_services(environ={"VERCEL": "1" if self.settings.on_vercel else "0"}))
            return made[-1]

        async def __aexit__(self, *_: object) -> None:
            await made[-1].request_meter.close()

    monkeypatch.setattr("copperplate.http.lifespan.open_services", Opening)
    return made


@pytest.mark.parametrize(("on_vercel", "hears"), [("0", True), ("1", False)])
async def test_a_server_works_in_the_background_and_a_function_does_not(
    opened: list[MemoryServices], on_vercel: str, hears: bool
) -> None:
    async with lifespan(Wiring(), Settings.from_env({"VERCEL": on_vercel})):
        await asyncio.sleep(0)
        assert (WORK in opened[0].ledger._hints._watchers) is hears
    assert WORK not in opened[0].ledger._hints._watchers


async def test_an_application_over_given_services_does_not() -> None:
    services = memory_services()
    app = create_app(services=services)
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
        assert WORK not in services.ledger._hints._watchers
