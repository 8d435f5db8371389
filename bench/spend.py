"""Ten thousand pictures of which many go wrong: does what the ledger says was spent equal the provider's own bill?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.databases import cluster, query
from bench.figures import ROOT, Figure, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.model import Want
    from standin.server import Standin

OUTCOMES = 5_000
# No more at once than connections: a call that waited for one too long would leave an estimate for a cost.
AT_ONCE, PORTION = 8, 200
# What the stand-in does, one scenario a POST, and how often of a hundred. A name in LOST is an answer that never came.
MIX: dict[str, tuple[int, Sequence[str]]] = {
    "ok": (48, ["ok"]),
    "slow": (6, ["slow=0.3"]),
    "429": (8, ["http_429=1"]),
    "500": (8, ["http_500"]),
    "moderated": (8, ["moderated"]),
    "bad output": (10, ["truncated_png"]),
    "no picture": (4, ["no_images"]),
    "answer lost, then a picture": (5, ["drop", "ok"]),
    "both answers lost": (3, ["drop", "drop"]),
}
LOST = "drop"


@dataclass
class Spent:
    """The ledger's spending beside the stand-in's bill; amounts in millionths of a dollar."""

    outcomes: Counter[str] = field(default_factory=Counter)
    posts: int = 0
    rows: int = 0
    spent: int = 0
    bill: int = 0
    # For answers that were lost: what was estimated, and what the stand-in billed for them.
    estimated: int = 0
    lost: int = 0

    @property
    def heard(self) -> int:
        """By how much the ledger and the bill differ where the provider's answer came."""
        return (self.spent - self.estimated) - (self.bill - self.lost)


def measure(run: Run) -> list[Figure]:
    """Reported spend beside the bill after 10,000 mixed outcomes of the real adapters, to a millionth of a dollar."""
    figures: list[Figure] = []
    # A line for each attempt that failed would be thousands.
    logging.getLogger("copperplate").setLevel(logging.ERROR)
    with cluster(run, is_durable=False) as started:
        for name in ("fal", "openai"):
            seen = mixed(started.owner_url, name, outcomes=run.pick(OUTCOMES, 150), say=run.say)
            run.say(f"{name}: {seen}")
            figures += _figures(seen, name)
    return figures


def _figures(seen: Spent, name: str) -> list[Figure]:
    drawn = ", ".join(f"{count:,} {outcome}" for outcome, count in seen.outcomes.items())
    how = (
        f"{name}'s adapter, its real client, sockets, and a stand-in that keeps a bill of its own; {drawn}. Spend is "
        f"the sum over `copperplate.submits`: {seen.spent:,} millionths of a dollar, the bill {seen.bill:,}. Answers "
        f"that were lost count as estimated, {seen.estimated:,}, and were billed at {seen.lost:,}."
    )
    figures = [
        Figure(what=f"{name}: POSTs", value=seen.posts, unit="", how=how),
        Figure(
            what=f"{name}: POSTs without a row of their own", value=seen.posts - seen.rows, unit="", how=how, exactly=0
        ),
        Figure(what=f"{name}: spend less bill, answers that came", value=seen.heard, unit="µ$", how=how, exactly=0),
    ]
    if name == "fal":  # it bills started megapixels, which are known before: even what was lost is exact
        return [
            *figures,
            Figure(what="fal: spend less bill, all", value=seen.spent - seen.bill, unit="µ$", how=how, exactly=0),
        ]
    # OpenAI alone knows how many tokens a prompt has; an estimate is never below.
    what = "openai: spend less bill, all (too much for answers that were lost)"
    return [*figures, Figure(what=what, value=seen.spent - seen.bill, unit="µ$", how=how, at_least=0)]


def mixed(url: str, name: str, *, outcomes: int, say: Callable[[str], None], seed: int = 1) -> Spent:
    """So many pictures by one adapter against a stand-in of its own, and then the sums on both sides."""
    sys.path.insert(0, str(ROOT / "tests"))
    from standin.server import serve

    with serve() as standin:
        return asyncio.run(_mixed(url, name, standin, outcomes=outcomes, say=say, seed=seed))


async def _mixed(
    url: str, name: str, standin: Standin, *, outcomes: int, say: Callable[[str], None], seed: int
) -> Spent:
    from copperplate.adapters.memory_store import MemoryStore
    from copperplate.adapters.postgres import PostgresLedger
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.coordinator import Coordinator
    from copperplate.imaging import PillowImages
    from copperplate.leader import Kind
    from studio import provider_at, want_of

    provider, ledger, images = provider_at(name, standin), PostgresLedger(url, max_connections=AT_ONCE), PillowImages()
    await ledger.open()
    kinds = {"image": Kind(provider=provider, store=MemoryStore("generated-images"))}
    coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=SystemClock())
    seen, rng = Spent(), random.Random(seed)
    wanted = rng.choices(list(MIX), [weight for weight, _ in MIX.values()], k=outcomes)
    wants = [want_of(provider, f"{outcome} {number} of {seed}") for number, outcome in enumerate(wanted)]
    for want, outcome in zip(wants, wanted, strict=True):
        standin.book.tell(_prompt(want), *MIX[outcome][1])
        seen.outcomes[outcome] += 1
    try:
        for first in range(0, outcomes, PORTION):
            await _ask_all(coordinator, standin, url, wants[first : first + PORTION])
            say(f"{name}: {min(first + PORTION, outcomes):,} of {outcomes:,}")
    finally:
        await provider.close()
        await ledger.close()
        images.close()
    _add_up(seen, url, standin, wants, {_prompt(want): provider.price_micro_usd(want.recipe) or 0 for want in wants})
    return seen


async def _ask_all(coordinator: Any, standin: Standin, url: str, wants: list[Want]) -> None:
    """Ask for each, some at once. Whom the breaker sends away asks again after it was closed by hand."""
    from copperplate.errors import CopperplateError

    limit = asyncio.Semaphore(AT_ONCE)

    async def one(want: Want) -> None:
        async with limit:
            with contextlib.suppress(CopperplateError):  # the outcome it was drawn for
                await coordinator.find(want)

    while left := [want for want in wants if not standin.book.posts[_prompt(want)]]:
        await asyncio.to_thread(query, url, "delete from copperplate.breakers returning name")
        await asyncio.gather(*map(one, left))


def _add_up(seen: Spent, url: str, standin: Standin, wants: list[Want], estimates: dict[str, int]) -> None:
    statement = (
        "select count(*), coalesce(sum(coalesce(s.cost_micro_usd, s.estimate_micro_usd)), 0)::bigint"
        " from copperplate.submits as s where s.generation_key = any(%s)"
    )
    seen.rows, seen.spent = query(url, statement, [want.generation_key for want in wants])[0]
    seen.posts = standin.book.posts.total()
    for drawing in standin.book.drawings.values():
        seen.bill += drawing.charge_micro_usd
        if drawing.scenario.is_(LOST):
            seen.lost += drawing.charge_micro_usd
            seen.estimated += estimates[drawing.prompt]


def _prompt(want: Want) -> str:
    return str(want.recipe["prompt"])
