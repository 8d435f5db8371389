"""Ten thousand pictures of which many go wrong: is what was spent and saved the provider's own bill, by every route?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bench.harness.databases import cluster, query
from bench.harness.figures import ROOT, Figure, Run
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import PictureRequest
    from copperplate.ports import Statistics
    from copperplate.serving.request_meter import RequestMeter
    from tests.standin.server import Standin

OUTCOMES = 5_000
# No more at once than connections: a call that waited for one too long would leave an estimate for a cost.
AT_ONCE, PORTION = 8, 200
LOOK_SECONDS = 1.0
# What the stand-in does, one scenario a POST, and how often of a hundred. A name in LOST is an answer that never came.
MIX: dict[str, tuple[int, Sequence[str]]] = {
    "ok": (44, ["ok"]),
    "slow": (5, ["slow=0.3"]),
    "caller left": (5, ["slow=0.5"]),
    "429": (8, ["http_429=1"]),
    "500": (8, ["http_500"]),
    "moderated": (8, ["moderated"]),
    "bad output": (10, ["truncated_png"]),
    "no picture": (4, ["no_images"]),
    "answer lost, then a picture": (5, ["drop", "ok"]),
    "both answers lost": (3, ["drop", "drop"]),
}
LOST, LEFT = "drop", "caller left"
# Every picture that was made is asked for so often again, at most.
HITS = 4


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
    # What hits would have cost by the stand-in's bill, and both figures of each route, spent and saved.
    saved: int = 0
    routes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def astray(self) -> int:
        """By how much the routes differ, all added up, from the book and from the bill of what was saved."""
        return sum(abs(spent - self.spent) + abs(saved - self.saved) for spent, saved in self.routes.values())

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
        Figure(
            what=f"{name}: difference of money by any route",
            value=seen.astray,
            unit="µ$",
            exactly=0,
            how=f"Spent and saved by {', '.join(seen.routes)}, beside the book and the bill: {seen.spent:,} and "
            f"{seen.saved:,} millionths of a dollar. Pictures were asked for up to {HITS} times more.",
        ),
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
    from tests.standin.server import serve

    with serve() as standin:
        return asyncio.run(_mixed(url, name, standin, outcomes=outcomes, say=say, seed=seed))


async def _mixed(
    url: str, name: str, standin: Standin, *, outcomes: int, say: Callable[[str], None], seed: int
) -> Spent:
    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.adapters.memory.store import MemoryStore
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.generation.timings import Timings
    from copperplate.imaging.pillow_images import PillowImages
    from copperplate.serving.request_meter import RequestMeter
    from tests.support.provider_harness import provider_at, request_of

    provider = provider_at(name, standin)
    ledger, images = PostgresLedger(url, max_connections=AT_ONCE), PillowImages()
    await ledger.open()
    kinds = {"image": Kind(provider=provider, store=MemoryStore("generated-images"))}
    # What fal broke for good is kept, and counts as estimated; it need not be looked at again for long.
    timings = Timings(look=timedelta(seconds=LOOK_SECONDS))
    coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=SystemClock(), timings=timings)
    usage = RequestMeter(ledger=ledger, providers={"image": provider}, clock=SystemClock())
    seen, rng = Spent(), random.Random(seed)
    wanted = rng.choices(list(MIX), [weight for weight, _ in MIX.values()], k=outcomes)
    picture_requests = [request_of(provider, f"{outcome} {number} of {seed}") for number, outcome in enumerate(wanted)]
    leaving = set[str]()
    for picture_request, outcome in zip(picture_requests, wanted, strict=True):
        standin.scenario_log.tell(_prompt(picture_request), *MIX[outcome][1])
        seen.outcomes[outcome] += 1
        if outcome == LEFT:
            leaving.add(picture_request.generation_key)
    try:
        before = await _routes(url, ledger)
        for first in range(0, outcomes, PORTION):
            portion = picture_requests[first : first + PORTION]
            await _ask_all(_Callers(coordinator, usage, standin, leaving), url, portion)
            say(f"{name}: {min(first + PORTION, outcomes):,} of {outcomes:,}")
        await coordinator.shut_down(within_seconds=30)
        for picture_request in picture_requests:
            seen.saved += await _hit(coordinator, usage, standin, picture_request, times=rng.randint(0, HITS))
        await usage.close()
        after = await _routes(url, ledger)
        # The second adapter's figures stand beside the first one's.
        seen.routes = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}
    finally:
        await provider.close()
        await ledger.close()
        images.close()
    _add_up(
        seen,
        url,
        standin,
        picture_requests,
        {
            _prompt(picture_request): provider.price_micro_usd(picture_request.recipe) or 0
            for picture_request in picture_requests
        },
    )
    return seen


@dataclass(frozen=True)
class _Callers:
    coordinator: Coordinator
    usage: RequestMeter
    standin: Standin
    # Keys of generations whose callers leave once they are asked for.
    leaving: set[str]

    async def ask(self, picture_request: PictureRequest) -> None:
        """Ask as a route does, which counts whatever comes of it."""
        from copperplate.errors import CopperplateError
        from copperplate.model import Outcome

        user_requests = asyncio.create_task(self.coordinator.find(picture_request, GENERATE))
        if picture_request.generation_key in self.leaving:
            while not user_requests.done() and not self.standin.scenario_log.posts[_prompt(picture_request)]:
                await asyncio.sleep(0.005)
            user_requests.cancel()
        outcome = Outcome.FAILED
        with contextlib.suppress(CopperplateError, asyncio.CancelledError):  # the outcome it was drawn for
            outcome = (await user_requests).outcome
        self.usage.count(picture_request, outcome, size_bytes=0, seconds=0)


async def _ask_all(callers: _Callers, url: str, picture_requests: list[PictureRequest]) -> None:
    """Ask for each, some at once. Whom the breaker sends away asks again after it was closed by hand."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(picture_request: PictureRequest) -> None:
        async with limit:
            await callers.ask(picture_request)

    while left := [
        picture_request
        for picture_request in picture_requests
        if not callers.standin.scenario_log.posts[_prompt(picture_request)]
    ]:
        await asyncio.to_thread(query, url, "delete from copperplate.breakers returning name")
        await asyncio.gather(*map(one, left))


async def _hit(
    coordinator: Coordinator, usage: RequestMeter, standin: Standin, picture_request: PictureRequest, *, times: int
) -> int:
    """Ask for a picture again where there is one; what these hits would have cost by the stand-in's bill."""
    from copperplate.errors import GenerationFailed, NotGenerated, StillGenerating
    from copperplate.generation.lookup import LOOK_ONLY
    from copperplate.model import Outcome

    for number in range(times):
        try:
            found = await coordinator.find(picture_request, LOOK_ONLY)
        except (NotGenerated, GenerationFailed, StillGenerating):
            return 0
        assert found.outcome is Outcome.HIT, number
        usage.count(picture_request, found.outcome, size_bytes=0, seconds=0)
    drawn = [
        drawing for drawing in standin.scenario_log.drawings.values() if drawing.prompt == _prompt(picture_request)
    ]
    return times * drawn[-1].charge_micro_usd if times else 0


async def _routes(url: str, ledger: Statistics) -> dict[str, tuple[int, int]]:
    """What was spent and saved so far, in millionths of a dollar, as each route tells it."""
    from copperplate.http import metrics
    from copperplate.http.schemas.statistics import Savings

    kinds = Savings.of(await ledger.savings()).values()
    text = metrics.render(await ledger.usage_totals(), {"image": await ledger.kind_stats("image")}, [], {}, [])
    told = await asyncio.to_thread(_command_line, url)
    totals = "select round(1e6 * sum(s.spent_usd)), round(1e6 * sum(s.saved_usd)) from ({}) as s"
    tables = {
        f"sql/{name}": await asyncio.to_thread(
            query, url, totals.format((ROOT / "sql" / name).read_text().rstrip(";\n"))
        )
        for name in ("savings_in_money.sql", "spend_by_model_and_day.sql")
    }
    return {
        "statistics": (_micro(sum(k.spent_usd for k in kinds)), _micro(sum(k.estimated_savings_usd for k in kinds))),
        "metrics": (_metric(text, "copperplate_cost_usd_total"), _metric(text, "copperplate_saved_usd_total")),
        "command line": (_micro(told["spent_usd"]), _micro(told["saved_usd"])),
        **{name: (int(rows[0][0] or 0), int(rows[0][1] or 0)) for name, rows in tables.items()},
    }


def _command_line(url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "copperplate.cli", "stats", "--json"]
    ran = subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def _metric(text: str, name: str) -> int:
    return _micro(sum(map(float, re.findall(rf"^{name}{{.*}} (.*)$", text, re.MULTILINE))))


def _micro(dollars: float) -> int:
    return round(dollars * 1_000_000)


def _add_up(
    seen: Spent, url: str, standin: Standin, picture_requests: list[PictureRequest], estimates: dict[str, int]
) -> None:
    statement = (
        "select count(*), coalesce(sum(coalesce(s.cost_micro_usd, s.estimate_micro_usd)), 0)::bigint"
        " from copperplate.submits as s where s.generation_key = any(%s)"
    )
    seen.rows, seen.spent = query(
        url, statement, [picture_request.generation_key for picture_request in picture_requests]
    )[0]
    seen.posts = standin.scenario_log.posts.total()
    for drawing in standin.scenario_log.drawings.values():
        seen.bill += drawing.charge_micro_usd
        if drawing.scenario.is_(LOST):
            seen.lost += drawing.charge_micro_usd
            seen.estimated += estimates[drawing.prompt]


def _prompt(picture_request: PictureRequest) -> str:
    return str(picture_request.recipe["prompt"])
