"""What a run of many pictures reserves of `--max-usd`, and gives back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from copperplate.access.caller import THE_OWNER
from copperplate.errors import GenerationFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.processing.bulk import MAY_BE_BILLED, BulkProcessing, Ending
from copperplate.source_errors import InvalidPicture
from tests.support.processing import UPSCALE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import PictureFormat

PRICE: Final = 40_000
ENTRY: Final = cast("Any", SimpleNamespace(format="png"))


class Folder:
    """Files whose bytes are their names up to a dot, and where results go."""

    async def read(self, name: str) -> bytes:
        return name.partition(".")[0].encode()

    async def digests(self, name: str) -> Mapping[PictureFormat, str]:
        return {}

    async def write(self, name: str, body: bytes, form: PictureFormat) -> None:
        """Nowhere."""


class Making:
    """In the place of `Processing`: what becomes of each picture is told by its name."""

    def __init__(self, becomes: Mapping[str, Outcome | Exception]) -> None:
        self._becomes = becomes
        self.asked = Counter[str]()
        self.turns = asyncio.Semaphore(100)
        self.sources = SimpleNamespace(of_bytes=self._of_bytes)

    async def _of_bytes(self, body: bytes, _: object) -> bytes:
        return body

    async def look(self, _: object) -> None:
        """Nothing is stored."""

    def request_for(self, source: bytes, *_: object) -> Any:
        return SimpleNamespace(generation_key=source.decode())

    async def wait_for(self, request: Any, _: object) -> LookupResult:
        self.asked[request.generation_key] += 1
        if request.generation_key == "odd":
            await self.turns.acquire()
        becomes = self._becomes.get(request.generation_key, Outcome.GENERATED)
        if isinstance(becomes, Exception):
            raise becomes
        return LookupResult(entry=ENTRY, outcome=becomes, body=b"")


def run_of(making: Making, *, pays: int) -> BulkProcessing:
    """One that is allowed to pay so many pictures."""
    gate = SimpleNamespace(permit=lambda *_: SimpleNamespace(spending=SimpleNamespace(amount_micro_usd=PRICE)))
    return BulkProcessing(
        caller=THE_OWNER,
        processing=cast("Any", making),
        gate=cast("Any", gate),
        meter=cast("Any", None),
        files=Folder(),
        results=Folder(),
        model=UPSCALE,
        parameters={},
        done=lambda *_: None,
        max_micro_usd=pays * PRICE + PRICE // 2,
    )


def failed(failure_class: FailureClass) -> GenerationFailed:
    return GenerationFailed(failure_class, timedelta(0))


@pytest.mark.parametrize(
    "becomes", [failed(FailureClass.TRANSIENT), failed(FailureClass.INVALID), InvalidPicture("no"), Outcome.COALESCED]
)
async def test_what_costs_nothing_leaves_its_money_to_the_others(becomes: Outcome | Exception) -> None:
    odd = [f"odd{number}" for number in range(5)]
    run = run_of(Making(dict.fromkeys(odd, becomes)), pays=2)
    for name in (*odd, "a", "b", "c"):
        await run.process(name)
    assert (run.endings[Ending.MADE], run.endings[Ending.LEFT_OUT]) == (2, 1)
    assert run.booked_micro_usd == 2 * PRICE


@pytest.mark.parametrize("failure_class", sorted(MAY_BE_BILLED))
async def test_what_may_be_billed_keeps_its_money(failure_class: FailureClass) -> None:
    run = run_of(Making({"odd": failed(failure_class)}), pays=2)
    for name in ("odd", "a", "b"):
        await run.process(name)
    assert (run.endings[Ending.FAILED], run.endings[Ending.MADE], run.endings[Ending.LEFT_OUT]) == (1, 1, 1)


async def test_files_of_the_same_bytes_are_paid_once() -> None:
    making = Making({})
    run = run_of(making, pays=1)
    for name in ("a.1", "a.2", "b"):
        await run.process(name)
    assert (run.endings[Ending.LEFT_OUT], making.asked) == (1, Counter({"a": 2}))


async def test_files_of_the_same_bytes_hold_their_money_until_the_last_of_them_has_ended() -> None:
    making = Making({"odd": failed(FailureClass.TRANSIENT)})
    making.turns = asyncio.Semaphore(0)
    run = run_of(making, pays=1)
    both = asyncio.gather(run.process("odd.1"), run.process("odd.2"))
    while making.asked["odd"] < 2:
        await asyncio.sleep(0)
    making.turns.release()
    while run.ended < 1:
        await asyncio.sleep(0)
    await run.process("b")
    assert run.endings[Ending.LEFT_OUT] == 1
    for _ in range(2):
        making.turns.release()
    await both
    await run.process("b")
    assert (run.endings[Ending.FAILED], run.endings[Ending.MADE]) == (2, 1)
