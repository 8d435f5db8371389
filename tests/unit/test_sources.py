"""Source pictures: what is held of one in memory, and where it is read afterwards."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from copperplate.access.caller import Caller
from copperplate.denials import TakenDown
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import SourceUnknown
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.request_meter.close()


async def test_bytes_of_what_is_promised_are_let_go_and_read_from_the_store(services: MemoryServices) -> None:
    body = b"a holiday " * 1_000
    budget = services.processing.sources.budget
    alone = sys.getrefcount(body)
    source = await services.processing.sources.of_bytes(body, Caller())
    assert budget.held_bytes == len(b"clean " + body)
    await source.keep()
    services.cleaner.cleaned.clear()
    assert budget.held_bytes == 0
    assert sys.getrefcount(body) <= alone
    store = services.stores[PROCESSED.bucket]
    before = store.gets
    assert (await source.input.read()).body == b"clean " + body
    assert store.gets == before + 1


async def test_kept_input_is_stored_once_however_often_it_is_promised(services: MemoryServices) -> None:
    sources = services.processing.sources
    for _ in range(2):
        source = await sources.of_bytes(b"a holiday", Caller())
        await source.keep()
    [month] = await sources.store.months()
    page = await sources.store.list_month(month, offset=0, limit=10)
    assert len(page.objects) == 1


@pytest.mark.parametrize("name", ["", "a\0b", "\0", "../secret", "0" * 63, "G" * 64, "0" * 65, "other/2026/11/x.png"])
async def test_what_cannot_name_a_picture_is_unknown_without_a_look(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(services.ledger, "find_kept", AsyncMock(side_effect=AssertionError))
    sources = services.processing.sources
    with pytest.raises(SourceUnknown):
        await sources.of_kept(name, Caller())
    with pytest.raises(SourceUnknown):
        await sources.parent_of(name, Caller())


@pytest.mark.parametrize("moment", ["note_source", "keep_input"])
async def test_no_copy_is_kept_of_a_picture_that_is_taken_down_meanwhile(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before it is noted, and while its copy is being stored."""
    source = await services.processing.sources.of_bytes(b"a holiday", Caller())
    method = getattr(services.ledger, moment)

    async def take_down_first(*args: Any, **kwargs: Any) -> Any:
        await services.ledger.take_down(source.picture.digest)
        return await method(*args, **kwargs)

    monkeypatch.setattr(services.ledger, moment, take_down_first)
    with pytest.raises(TakenDown):
        await source.keep()
    known = await services.ledger.find_source(source.picture.digest, owner=None)
    assert known is not None
    assert known.kept_input is None
