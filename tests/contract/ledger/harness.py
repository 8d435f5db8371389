"""A ledger under test, and the steps that its contract suites are written in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import LATENCY_BOUNDS_MS, Failure, PictureFormat, RequestCount
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import Entry, Outcome, PictureRequest
    from copperplate.ports import Ledger, Maintenance


LEASE = timedelta(seconds=20)
# For tests in which time passes on its own: it outlasts whatever a busy machine needs.
LONG_LEASE = timedelta(minutes=20)
STORAGE = "storage:generated-images"
SERVICES = ("painter", STORAGE)
REST = timedelta(seconds=15)
PNG, WEBP = PictureFormat.PNG, PictureFormat.WEBP


class LedgerHarness(Protocol):
    """A ledger under test."""

    ledger: Any  # Ledger and Maintenance

    async def advance(self, seconds: float) -> None:
        """Move the ledger's clock."""

    async def usage(self, key: str) -> dict[str, int]:
        """What the provider reported to bill for a generation."""

    async def spent(self, key: str) -> int | None:
        """What a generation's submits cost, in millionths of a dollar."""

    async def entry_faults(self) -> list[object]:
        """What is wrong with entries and totals: nothing, always."""

    async def reason(self, name: str) -> str:
        """What the row of a breaker says of why it is open."""


def failure(failure_class: FailureClass = FailureClass.TRANSIENT, *, rest: float = 60, billed: bool = True) -> Failure:
    return Failure(failure_class=failure_class, message="it broke", retry_after=timedelta(seconds=rest), billed=billed)


async def acquire(ledger: Ledger, request: PictureRequest, *, lease_duration: timedelta = LEASE) -> AcquireResult:
    return await ledger.acquire(request, leader=uuid4(), lease_duration=lease_duration)


async def peek(ledger: Ledger, request: PictureRequest) -> PeekResult:
    return await ledger.peek(request.generation_key, request.rendition_key)


async def lead(ledger: Ledger, request: PictureRequest) -> Lead:
    result = await acquire(ledger, request)
    assert isinstance(result, Lead), result
    return result


async def complete(ledger: Ledger, request: PictureRequest, name: str = "original") -> Entry:
    """Lead and complete a generation."""
    held = await lead(ledger, request)
    key, fence = request.generation_key, held.fence
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter")
    assert await ledger.intend_upload(key, fence, upload(name), usage={})
    entry = await ledger.complete(key, fence, upload(name), url=None)
    assert entry is not None
    return entry


async def discarded(ledger: Maintenance) -> set[str]:
    """The paths whose grace is over."""
    return {path for _, _, path in await ledger.claim_discarded(100)}


async def record(ledger: Ledger, original: Entry, request: PictureRequest, name: str) -> Entry | None:
    """Store a rendition as leaders do: written ahead, then recorded."""
    stored = rendition(request, name)
    await ledger.intend_rendition(original, stored)
    return await ledger.record_rendition(original, stored)


async def acquire_with_services(harness: LedgerHarness, prompt: str) -> AcquireResult:
    result: AcquireResult = await harness.ledger.acquire(
        picture_request(prompt), leader=uuid4(), lease_duration=LEASE, breakers=SERVICES
    )
    return result


async def fail_at(harness: LedgerHarness, prompt: str, failure_class: FailureClass = FailureClass.TRANSIENT) -> Lead:
    """Ask the painter for a picture, in vain."""
    held = await acquire_with_services(harness, prompt)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await harness.ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    assert await harness.ledger.fail(key, held.fence, failure(failure_class))
    return held


async def finish(ledger: Ledger, request: PictureRequest, held: Lead) -> None:
    """Submit what is led, store it and complete it."""
    key = request.generation_key
    await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    await ledger.intend_upload(key, held.fence, upload(key), usage={})
    assert await ledger.complete(key, held.fence, upload(key), url=None)


def request_count(request: PictureRequest, outcome: Outcome, count: int) -> RequestCount:
    """`count` requests answered within a millisecond."""
    return RequestCount(
        generation_key=request.generation_key,
        rendition_key=request.rendition_key,
        format=request.rendition.format.value,
        kind="image",
        provider="painter",
        model=request.model,
        outcome=outcome,
        tier="storage",
        count=count,
        size_bytes=1000 * count,
        latency_buckets=(count, *(0 for _ in LATENCY_BOUNDS_MS)),
    )
