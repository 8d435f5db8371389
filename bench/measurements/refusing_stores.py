"""What a store that refuses costs: submits, and pictures that were paid for and not kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.harness.figures import Figure
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.errors import CopperplateError
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.model import Needs
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from bench.harness.figures import Run
    from copperplate.model import PictureRequest

BUCKET: Final = "generated-images"
PROMPTS: Final = 50
# Of the clock of ledger and leaders: the prompts come over almost two minutes, through several rests.
BETWEEN_SECONDS: Final = 2.0
MENDING_SECONDS: Final = 16.0
CALL_SECONDS: Final = 0.2
TROUBLES: Final[dict[str, Callable[[Any], object]]] = {
    "bucket deleted": lambda storage_state: storage_state.buckets.clear(),
    "bucket made private": lambda storage_state: storage_state.buckets[BUCKET].change({"public": False}),
    "a lower limit": lambda storage_state: storage_state.buckets[BUCKET].change({"file_size_limit": 5}),
    "other types": lambda storage_state: storage_state.buckets[BUCKET].change({"allowed_mime_types": ["text/plain"]}),
    "read-only": lambda storage_state: storage_state.tell("put", "says=DatabaseReadOnly"),
    "stopped": lambda storage_state: storage_state.tell("*", "drop"),
    "hung": lambda storage_state: storage_state.tell("*", "slow=30"),
}
HOW: Final = (
    "Two leaders over one ledger in memory and the stand-in of Storage (real sockets), a provider without jobs. "
    f"Both have stored a picture; then Storage refuses. {PROMPTS} prompts are asked for in turns, one every "
    f"{BETWEEN_SECONDS:.0f} s of the ledger's clock, which goes about twenty times as fast as ours; "
    f"a call to Storage has {CALL_SECONDS:.1f} s. Storage is mended and all are asked for again. "
    "Lost are pictures that were paid for once more. While all are drawn: one process is asked for all at once, "
    "and the bucket is deleted two seconds later; a picture takes four."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one trouble cost."""

    submits_meanwhile: int
    served_again: int
    lost: int


def measure(run: Run) -> list[Figure]:
    """A bucket deleted, private, with a lower limit, with other types; Storage read-only, stopped, hung."""
    # The harness of the tests: its stand-in of Storage, and leaders on a clock that stands still.
    from tests.standin.storage import make_storage
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

    figures: list[Figure] = []
    storage_state = StorageState()
    with Supabase("http://127.0.0.1:9", storage=make_storage(storage_state)) as project:
        for name, trouble in TROUBLES.items():
            storage_state.clear()
            cost = asyncio.run(_try(storage_state, project, trouble, run.pick(PROMPTS, 5)))
            run.say(f"{name}: {cost}")
            figures += _describe(name, cost, run.pick(PROMPTS, 5))
        storage_state.clear()
        cost = asyncio.run(_at_once(storage_state, project, run.pick(PROMPTS, 5)))
        run.say(f"bucket deleted while all are drawn: {cost}")
        figures += _describe("bucket deleted while all are drawn", cost, run.pick(PROMPTS, 5))[1:]
    return figures


def _describe(name: str, cost: Cost, prompts: int) -> list[Figure]:
    return [
        Figure(what=f"{name}: submits while it refuses", value=cost.submits_meanwhile, unit="", how=HOW, at_most=1),
        Figure(what=f"{name}: served once mended", value=cost.served_again, unit="", how=HOW, exactly=prompts),
        Figure(what=f"{name}: pictures lost", value=cost.lost, unit="", how=HOW, exactly=0),
    ]


async def _try(storage_state: Any, project: Any, trouble: Callable[[Any], object], prompts: int) -> Cost:
    from copperplate.adapters.supabase import bucket as supabase_bucket
    from copperplate.adapters.supabase import storage as supabase_storage
    from tests.support.coordinator_harness import CoordinatorHarness
    from tests.support.pictures import picture_request

    # What is counted in real time, as fast as the ledger's clock goes.
    supabase_storage.PAUSE_SECONDS = 0.01  # type: ignore[misc]
    supabase_bucket.FRESH_SECONDS, supabase_bucket.ADDRESS_FRESH_SECONDS = 0.75, 0.05  # type: ignore[misc]
    harness = CoordinatorHarness()
    async with make_client() as client:
        leaders = [_leader(harness, client, project) for _ in range(2)]
        for number, leader in enumerate(leaders):
            await _ask(harness, leader, picture_request(f"before {number}"))
        before = harness.provider.submits
        trouble(storage_state)
        for number in range(prompts):
            with suppress(CopperplateError):
                await _ask(harness, leaders[number % 2], picture_request(f"prompt {number}"))
            await _pass(harness, BETWEEN_SECONDS)
        meanwhile = harness.provider.submits - before
        _mend(storage_state)
        await _pass(harness, MENDING_SECONDS)
        served = 0
        for number in range(prompts):
            with suppress(CopperplateError):
                await _ask(harness, leaders[number % 2], picture_request(f"prompt {number}"))
                served += 1
        lost = harness.provider.submits - before - served
        for leader in leaders:
            await leader.shut_down(within_seconds=0)
    return Cost(submits_meanwhile=meanwhile, served_again=served, lost=lost)


async def _at_once(storage_state: Any, project: Any, prompts: int) -> Cost:
    """All prompts are asked of one process at once, and the bucket is deleted while their pictures are drawn."""
    from tests.support.coordinator_harness import CoordinatorHarness
    from tests.support.pictures import picture_request

    harness = CoordinatorHarness(seconds=4.0)
    async with make_client() as client:
        leader = _leader(harness, client, project)
        picture_requests = [picture_request(f"at once {number}") for number in range(prompts)]
        user_requests = [asyncio.create_task(leader.find(each, GENERATE)) for each in picture_requests]
        await _pass(harness, 2.0)
        storage_state.buckets.clear()
        while not all(each.done() for each in user_requests):
            await _pass(harness, 0.2)
        await asyncio.gather(*user_requests, return_exceptions=True)
        meanwhile = harness.provider.submits
        _mend(storage_state)
        await _pass(harness, MENDING_SECONDS)
        served = 0
        for each in picture_requests:
            with suppress(CopperplateError):
                await _ask(harness, leader, each)
                served += 1
        lost = harness.provider.submits - served
        await leader.shut_down(within_seconds=0)
    return Cost(submits_meanwhile=meanwhile, served_again=served, lost=lost)


async def _ask(harness: Any, leader: Coordinator, asked: PictureRequest) -> None:
    """The answer, while the ledger's clock goes on no faster than Storage answers."""
    user_requests = asyncio.create_task(leader.find(asked, GENERATE))
    while not user_requests.done():
        await _pass(harness, 0.2)
    await user_requests


async def _pass(harness: Any, seconds: float) -> None:
    for _ in range(round(seconds / 0.2)):
        await harness.clock.advance(0.2)
        await asyncio.sleep(0.005)


def _leader(harness: Any, client: httpx.AsyncClient, project: Any) -> Coordinator:
    store = SupabaseStore(client, project.url, project.secret_key, BUCKET, seconds=CALL_SECONDS)
    kinds = {"image": Kind(provider=harness.provider, store=store, needs=Needs(address=True))}
    return Coordinator(
        ledger=harness.ledger, kinds=kinds, images=harness.images, clock=harness.clock, timings=Timings()
    )


def _mend(storage_state: Any) -> None:
    storage_state.scenario_log.told.clear()
    from tests.standin.storage_state import MIB, PICTURES, Bucket

    bucket = storage_state.buckets.setdefault(BUCKET, Bucket(BUCKET))
    bucket.change({"public": True, "file_size_limit": 32 * MIB, "allowed_mime_types": list(PICTURES)})
