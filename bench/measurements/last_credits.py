"""One user with a hundred credits asks for a thousand new pictures at once: how many are made, and what is left?"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from bench.harness.databases import cluster, query, url_of
from bench.harness.figures import Figure, Run
from bench.harness.processes import COPPERPLATE, child_environment, dev, hear, program, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROCESSES, WORKERS = 8, 4
MISSES, CREDITS = 1_000, 100
SLOW_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run of concurrent misses ended."""

    answers: Counter[str]
    calls: int
    balance: int
    held: int
    faults: int
    seconds: float


def measure(run: Run) -> list[Figure]:
    """1,000 misses at once of a user with 100 credits: 100 calls, nothing left and nothing held."""
    misses, granted = run.pick(MISSES, 200), run.pick(CREDITS, 20)
    with cluster(run) as started:
        folder = run.folder / "shared"
        through_ledger = run_workers(started.owner_url, folder, misses=misses, granted=granted)
    run.say(f"coordinators: {through_ledger}")
    over_http = _run_over_http(run, misses=misses, granted=granted)
    run.say(f"HTTP: {over_http}")
    asked = f"{misses:,} different pictures asked for at once by one user with {granted} credits"
    how = f"{asked}, by {PROCESSES} processes with a coordinator each; a provider that counts its calls takes 0.5 s."
    how_http = (
        f"{asked}, each `POST /api/generate-memoji` on a connection of its own, to `copperplate dev --workers "
        f"{WORKERS}` and a stand-in for OpenAI that counts its calls."
    )
    return [
        *_figures(through_ledger, "coordinators", how, granted, refused="not_enough_credits", misses=misses),
        *_figures(over_http, "HTTP", how_http, granted, refused="402", misses=misses),
    ]


def _figures(seen: Outcome, name: str, how: str, granted: int, *, refused: str, misses: int) -> Iterator[Figure]:
    for what, value, exactly in (
        ("calls to the provider", seen.calls, granted),
        ("callers told that they cannot pay", seen.answers[refused], misses - granted),
        ("credits left", seen.balance, 0),
        ("credits held after a sweep", seen.held, 0),
        ("accounts whose sums do not agree", seen.faults, 0),
    ):
        yield Figure(what=f"{name}: {what}", value=value, unit="", how=how, exactly=exactly)
    yield Figure(what=f"{name}: until the last was answered", value=seen.seconds, unit="s", how=how)


# --- through coordinators ------------------------------------------------------------------------


def run_workers(
    url: str, folder: Path, *, misses: int, granted: int, processes: int = PROCESSES, call_seconds: float | None = None
) -> Outcome:
    """Let so many processes ask at once."""
    folder.mkdir(parents=True)
    user = uuid4()
    query(url, "select public.grant_credits(%s, %s, %s)", user, granted, f"for {uuid4()}")
    arguments = [url, str(folder), str(user)] + ([] if call_seconds is None else [str(call_seconds)])
    with ExitStack() as stack:
        workers = [stack.enter_context(program("bench.harness.payment_worker", *arguments)) for _ in range(processes)]
        for worker in workers:
            assert hear(worker) == "ready"
        began, answers = time.monotonic(), Counter[str]()
        for number, worker in enumerate(workers):
            tell(worker, f"{number * misses // processes} {misses // processes}")
        for worker in workers:
            answers += Counter(json.loads(hear(worker)))
        seconds = time.monotonic() - began
    calls = len((folder / "submits").read_text().splitlines())
    return Outcome(answers=answers, calls=calls, seconds=seconds, **_left(url, user))


def _left(url: str, user: UUID) -> dict[str, int]:
    """What the user has after a sweep that sees everything twenty minutes later."""
    query(url, "select set_config('copperplate.clock_offset', '20min', false), public.sweep_generations(1000000)")
    found = query(url, "select public.get_credits(%s)", user)[0][0]
    faults = query(url, "select count(*) from copperplate.credit_faults")[0][0]
    return {"balance": found["balance"], "held": found["held"], "faults": faults}


# --- over HTTP -----------------------------------------------------------------------------------


def _run_over_http(run: Run, *, misses: int, granted: int) -> Outcome:
    from tests.standin.server import serve

    data, user = run.folder / "dev", uuid4()
    with serve() as standin:
        settings = {
            "OPENAI_API_KEY": "key-of-the-stand-in",
            "OPENAI_BASE_URL": standin.openai_url,
            # So many pictures are a minute's work for two cores; nobody is to be told to come back.
            "COPPERPLATE_WAIT_SECONDS": "120",
        }
        with dev(data, workers=WORKERS, **settings) as server:
            token = _copperplate(data, "token", "--user", str(user))
            _copperplate(data, "credits", "grant", str(user), str(granted))
            began = time.monotonic()
            answers = asyncio.run(_post_all(f"{server.address}/api/generate-memoji", token, misses))
            seconds = time.monotonic() - began
            calls = standin.scenario_log.posts.total()
            return Outcome(answers=answers, calls=calls, seconds=seconds, **_left(url_of(data), user))


def _copperplate(data: Path, *arguments: str) -> str:
    environ = child_environment({"COPPERPLATE_DATA_DIR": str(data)})
    done = subprocess.run([COPPERPLATE, *arguments], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def _post_all(url: str, token: str, misses: int) -> Counter[str]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=SLOW_SECONDS) as client:

        async def one(wish: dict[str, Any]) -> str:
            try:
                answer = await client.post(url, json=wish, headers={"Authorization": f"Bearer {token}"})
            except httpx.HTTPError as error:
                return type(error).__name__
            return str(answer.status_code)

        return Counter(await asyncio.gather(*map(one, _wishes(misses))))


def _wishes(count: int) -> list[dict[str, Any]]:
    from copperplate.recipes.memoji_words import COLOR_THEMES, GESTURES, HAIR

    wishes = islice(product(HAIR, GESTURES, COLOR_THEMES), count)
    return [{"hair": hair, "gesture": gesture, "colorTheme": theme} for hair, gesture, theme in wishes]
