"""Several callers bring one picture, each in a way of their own: what one cannot have is no fault of another's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from copperplate.denials import TakenDown
from copperplate.errors import GenerationFailed, InvalidText
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit
from copperplate.model import InputPicture, Size
from copperplate.recipes.objects import original_key
from copperplate.source_errors import InputUnavailable, InvalidPicture, SourceUnknown
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.memory_services import memory_services
from tests.support.pictures import picture_request
from tests.support.processing import ScriptedProcessor
from tests.support.processing_http import ALICE, BOB, CUT, SECRET, UP, client_of, of, send

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue

INPUT = InputPicture(digest="0" * 64, size=Size(width=2, height=2), read=AsyncMock(), address=AsyncMock())


@dataclass
class LateReader(ScriptedProcessor):
    """Reads the inputs of a second operation once it may."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture]) -> None:
        """See `ProcessingProvider.prepare`."""
        if self.submits:
            self.began.set()
            await self.may_read.wait()
        await inputs[0].read()


async def test_who_joins_a_leader_without_the_bytes_is_answered_by_their_own() -> None:
    processor = LateReader()
    services = memory_services(processor=processor, environ={"SUPABASE_JWT_SECRET": SECRET})
    store = services.processed_store
    async with client_of(services) as client:
        key = (await send(client, UP, **of(ALICE))).json()["key"]
        found = await services.ledger.peek(key, original_key(key))
        assert isinstance(found, Hit)
        made = await store.get(found.entry.path)
        leading = asyncio.create_task(client.post(CUT, json={"source": key}, headers=of(ALICE)))
        await processor.began.wait()
        joining = [
            asyncio.create_task(client.post(CUT, json={"source": key}, headers=of(ALICE))),
            *(asyncio.create_task(send(client, CUT, made, **of(BOB))) for _ in range(2)),
        ]
        while len(services.cleaner.cleaned) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        await store.remove([found.entry.path])
        processor.may_read.set()
        assert (await leading).json()["code"] == "source_unknown"
        answers = await asyncio.gather(*joining)
    assert [answer.status_code for answer in answers[1:]] == [200, 200], answers[1].text
    assert processor.submits == 2
    await services.request_meter.close()


@pytest.mark.parametrize("error", [SourceUnknown("it is gone"), InvalidPicture("it is none"), TakenDown()])
async def test_an_input_that_is_not_to_be_had_leaves_no_pause(error: InputUnavailable | TakenDown) -> None:
    harness = CoordinatorHarness()
    harness.provider.failures = [error]
    asked = replace(picture_request(), inputs=(INPUT,))
    with pytest.raises(type(error)):
        await harness.process().find(asked, GENERATE)
    assert (await harness.process().find(asked, GENERATE)).body is not None


@pytest.mark.parametrize(
    ("error", "inputs"), [(InvalidText("a fault of ours"), (INPUT,)), (TakenDown(), ()), (SourceUnknown("no"), ())]
)
async def test_what_no_input_raises_is_a_failure_and_is_paused(
    error: Exception, inputs: tuple[InputPicture, ...]
) -> None:
    harness = CoordinatorHarness()
    harness.provider.failures = [error]
    asked = replace(picture_request(), inputs=inputs)
    for _ in range(2):
        with pytest.raises(GenerationFailed) as failed:
            await harness.process().find(asked, GENERATE)
        assert failed.value.failure_class is FailureClass.TRANSIENT
    assert harness.provider.submits == 1
