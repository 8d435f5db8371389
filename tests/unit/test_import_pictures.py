"""Pictures that exist already are kept: no provider is called, nothing is booked, and one fault stops no other row."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.access.gate import Gate
from copperplate.errors import StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead
from copperplate.model import Job, PictureFormat
from copperplate.operations.import_lists import FaultyRow, ImportRow
from copperplate.operations.import_pictures import PictureImport
from copperplate.operations.keep_pictures import PICTURES_AT_ONCE, Ending
from copperplate.ports.sources import SourceRefused
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from tests.contract.ledger.harness import acquire, failure, lead
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT, SKIPPED, FAILED = Ending.KEPT, Ending.SKIPPED, Ending.FAILED


@dataclass
class Sources:
    """Pictures by name; counts how many are read at the same time."""

    bodies: dict[str, bytes]
    reading: int = 0
    most: int = 0
    read_names: list[str] = field(default_factory=list)

    async def read(self, name: str) -> bytes:
        self.read_names.append(name)
        self.reading += 1
        self.most = max(self.most, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        if name not in self.bodies:
            raise SourceRefused("there is no such file below --root")
        return self.bodies[name]


@pytest.fixture
def services() -> MemoryServices:
    return memory_services()


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


def a_process(harness: CoordinatorHarness) -> dict[str, Any]:
    """What an import works with, in a process of its own over the harness's ledger and store."""
    return {
        "coordinator": harness.process(),
        "ledger": harness.ledger,
        "images": harness.images,
        "provider": harness.provider,
        "gate": Gate(settings=Settings.from_env({}), kinds=harness.kinds, clock=harness.clock),
    }


def parts_of(services: MemoryServices) -> dict[str, Any]:
    """The same of services."""
    parts = {name: getattr(services, name) for name in ("coordinator", "ledger", "images", "gate")}
    return {**parts, "provider": services.provider_of("image")}


async def pass_time(harness: CoordinatorHarness, seconds: int = 60) -> None:
    for _ in range(4 * seconds):
        await harness.clock.advance(0.25)


def row(line: int, prompt: str = "a beautiful sunset", source: str = "a.png", **fields: Any) -> ImportRow:
    given = {"width": 64, "height": 64, "format": PictureFormat.JPG, "is_on_web": False, "model": None, "seed": ""}
    return ImportRow(line=line, prompt=prompt, source=source, **{**given, **fields})


async def run(
    over: MemoryServices | dict[str, Any],
    rows: Iterable[ImportRow | FaultyRow],
    bodies: dict[str, bytes] | None = None,
    **fields: Any,
) -> tuple[PictureImport, dict[int, str]]:
    """One import, and the faults that were told by their lines."""
    faults: dict[int, str] = {}
    lines: list[int] = []

    def done(line: int, fault: str | None) -> None:
        lines.append(line)
        if fault is not None:
            faults[line] = fault

    sources = Sources(bodies if bodies is not None else {"a.png": b"a picture"})
    parts = over if isinstance(over, dict) else parts_of(over)
    importing = PictureImport(**{**parts, "files": sources, "web": Sources({}), "done": done, **fields})
    rows = list(rows)
    await importing.run(rows)
    assert sorted(lines) == sorted(each.line for each in rows)
    return importing, faults


async def test_a_picture_is_kept_without_a_call_a_submit_or_a_booking(services: MemoryServices) -> None:
    importing, faults = await run(services, [row(2)])
    assert (importing.endings, importing.kept_bytes, faults) == (Counter({KEPT: 1}), len(b"a picture"), {})
    found = await services.ledger.peek(picture_request().generation_key, picture_request().rendition_key)
    assert isinstance(found, Hit)
    original = await services.ledger.describe_kept(picture_request().generation_key)
    assert original is not None
    assert await services.store.get(original.original.path) == b"a picture"
    assert services.image_provider.submits == 0
    stats = await services.ledger.generation_stats()
    assert (stats.total_api_calls_made, stats.total_completed) == (0, 1)
    assert services.ledger._submits == []
    assert not services.ledger._usage
    # How long it took is no time of the model's.
    assert original.generation_ms is None
    # A request is a hit now.
    answer = await services.renditions.read(picture_request(), GENERATE)
    assert (answer.outcome, services.image_provider.submits) == ("hit", 0)


async def test_what_is_stored_is_skipped_and_not_even_read(services: MemoryServices) -> None:
    await run(services, [row(2)])
    files = Sources({})
    importing, faults = await run(services, [row(2), row(3, "another", "b.png")], files=files)
    assert importing.endings == Counter({SKIPPED: 1, FAILED: 1})
    assert files.read_names == ["b.png"]
    assert list(faults) == [3]


async def test_a_faulty_row_is_told_and_the_others_are_kept(services: MemoryServices) -> None:
    bodies = {"a.png": b"a picture", "rubbish.png": b"rubbish", "wrong.png": b"wrong size"}
    rows: list[ImportRow | FaultyRow] = [
        FaultyRow(2, "dimensions are written as 1024x1024"),
        row(3, "kept"),
        row(4, "no picture", "rubbish.png"),
        row(5, "too small", "wrong.png"),
        row(6, "missing", "missing.png"),
        row(7, "wide", width=4_096),
        row(8, " "),
        row(9, "odd", model="nobodys"),
        row(10, "seeded", seed="-1"),
        row(11, "kept too"),
    ]
    importing, faults = await run(services, rows, bodies)
    assert importing.endings == Counter({KEPT: 2, FAILED: 8})
    assert set(faults) == {2, 4, 5, 6, 7, 8, 9, 10}
    assert faults[7].endswith("[invalid_size]")
    # Nothing is remembered of a picture that was no good: its prompt is as free as before.
    assert isinstance(await acquire(services.ledger, picture_request("no picture")), Lead)
    assert (await services.ledger.generation_stats()).total_failed == 0


async def test_the_same_picture_twice_in_a_list_is_kept_once(services: MemoryServices) -> None:
    importing, _ = await run(services, [row(2), row(3, "a  beautiful sunset", format=PictureFormat.PNG), row(4)])
    assert importing.endings == Counter({KEPT: 1, SKIPPED: 2})


async def test_a_faulty_first_row_does_not_hide_the_second(services: MemoryServices) -> None:
    importing, faults = await run(services, [row(2, source="missing.png"), row(3)])
    assert (importing.endings, list(faults)) == (Counter({KEPT: 1, FAILED: 1}), [2])


async def test_a_dry_run_verifies_everything_and_keeps_nothing(services: MemoryServices) -> None:
    await run(services, [row(2, "stored")])
    rows = [row(2, "stored"), row(3, "new"), row(4, "new"), row(5, "missing", "missing.png")]
    importing, faults = await run(services, rows, is_dry_run=True)
    assert importing.endings == Counter({KEPT: 1, SKIPPED: 2, FAILED: 1})
    assert list(faults) == [5]
    assert await services.ledger.generation_state(picture_request("new").generation_key) is None


async def test_few_pictures_are_in_memory_at_once_however_long_the_list(services: MemoryServices) -> None:
    files = Sources({"a.png": b"a picture"})
    importing, _ = await run(services, [row(line, f"picture {line}") for line in range(2, 252)], files=files)
    assert importing.endings == Counter({KEPT: 250})
    assert files.most <= PICTURES_AT_ONCE


async def test_an_address_is_read_from_the_web_and_a_file_from_the_folder(services: MemoryServices) -> None:
    web = Sources({"https://pictures.example/a.png": b"a picture"})
    rows = [row(2, "web", "https://pictures.example/a.png", is_on_web=True), row(3, "file", "a.png")]
    importing, _ = await run(services, rows, web=web)
    assert importing.endings == Counter({KEPT: 2})
    assert web.read_names == ["https://pictures.example/a.png"]


# --- who made it ---------------------------------------------------------------------------------


async def is_ai_made(services: MemoryServices | CoordinatorHarness, prompt: str) -> bool:
    asked = picture_request(prompt)
    found = await services.ledger.peek(asked.generation_key, asked.rendition_key)
    assert isinstance(found, Hit)
    return found.entry.is_ai_made


async def test_only_a_picture_whose_model_is_named_is_said_to_be_made_by_one(services: MemoryServices) -> None:
    await run(services, [row(2, "named", model="copperplate/painter-1"), row(3, "not named")])
    assert await is_ai_made(services, "named")
    assert not await is_ai_made(services, "not named")


# --- beside others -------------------------------------------------------------------------------


async def test_two_imports_at_once_keep_each_picture_once(harness: CoordinatorHarness) -> None:
    rows = [row(line, f"picture {line}") for line in range(2, 22)]
    one, other, _ = await asyncio.gather(
        run(a_process(harness), rows), run(a_process(harness), rows), pass_time(harness)
    )
    endings = one[0].endings + other[0].endings
    assert endings == Counter({KEPT: 20, SKIPPED: 20})
    assert harness.provider.submits == 0
    assert len(harness.store._objects) == 60  # originals, jpg and webp beside each, none twice


async def test_a_picture_that_is_being_generated_is_awaited_and_skipped(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 3
    generating = await harness.begin(harness.process(), picture_request())
    (importing, _), _, _ = await asyncio.gather(run(a_process(harness), [row(2)]), pass_time(harness), generating)
    assert importing.endings == Counter({SKIPPED: 1})
    assert harness.provider.submits == 1


async def test_a_picture_whose_leader_died_is_kept_and_no_call_is_made(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = picture_request().generation_key
    held = await lead(harness.ledger, picture_request())
    await harness.ledger.begin_submit(key, held.fence, submit_no=1, provider="scripted", estimate_micro_usd=3_000)
    await harness.ledger.note_request(key, held.fence, Job(request_id="r"))
    await harness.clock.advance(60)
    # A provider whose pictures are free says so of any report.
    monkeypatch.setattr(harness.provider, "cost_micro_usd", lambda *_: 0)
    importing, _ = await run(a_process(harness), [row(2)])
    assert importing.endings == Counter({KEPT: 1})
    assert (harness.provider.submits, harness.provider.collects) == (0, 0)
    # What was sent before stays in the book, at its estimate.
    assert [(submit.cost_micro_usd, submit.estimate_micro_usd) for submit in harness.ledger._submits] == [(None, 3_000)]


async def test_what_an_import_was_about_to_store_is_adopted_with_its_maker(harness: CoordinatorHarness) -> None:
    key = picture_request().generation_key
    held = await lead(harness.ledger, picture_request())
    await harness.clock.advance(60)
    dead = upload("dead")
    assert not await harness.ledger.intend_upload(key, held.fence + 1, dead, usage={})
    assert await harness.ledger.intend_upload(key, held.fence, dead, usage={})
    # Its object never came: the next import stores its own.
    importing, _ = await run(a_process(harness), [row(2)])
    assert importing.endings == Counter({KEPT: 1})
    assert not await is_ai_made(harness, "a beautiful sunset")


async def test_a_failure_that_is_remembered_is_told(harness: CoordinatorHarness) -> None:
    held = await lead(harness.ledger, picture_request())
    await harness.ledger.fail(picture_request().generation_key, held.fence, failure(FailureClass.MODERATED))
    importing, faults = await run(a_process(harness), [row(2)])
    assert importing.endings == Counter({FAILED: 1})
    assert faults[2].endswith("[generation_failed]")


async def test_a_breaker_of_the_provider_keeps_nobody_from_importing(harness: CoordinatorHarness) -> None:
    await harness.ledger.report_refusal("scripted", FailureClass.ACCOUNT, "no money", timedelta(minutes=5))
    importing, _ = await run(a_process(harness), [row(2)])
    assert importing.endings == Counter({KEPT: 1})
    # A picture that was given says nothing of the provider: its breaker stays open.
    assert harness.ledger._breakers["scripted"].open_until is not None


async def test_a_store_that_fails_ends_the_import_and_the_next_goes_on(harness: CoordinatorHarness) -> None:
    harness.store.failing = 1_000
    process = a_process(harness)
    with pytest.raises(StoreUnavailable):
        await asyncio.gather(run(process, [row(2), row(3, "another")]), pass_time(harness))
    await process["coordinator"].shut_down(within_seconds=0)
    harness.store.failing = 0
    await harness.clock.advance(120)
    importing, _ = await run(a_process(harness), [row(2)])
    assert importing.endings == Counter({KEPT: 1})
