"""How often a hit on Vercel asks the ledger."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.harness.deployments import deployed
from bench.harness.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.deployments import Deployed
    from bench.harness.figures import Run
    from tests.deployment.function import Function

PICTURE = "/1024x1024.jpg?text=A%20beautiful%20sunset"
AT_ONCE = 10
RPC = "/rest/v1/rpc/"
WITHOUT = {"COPPERPLATE_MEMORY_PICTURES": "0", "COPPERPLATE_DISK_CACHE_MB": "0"}
TIERS = {
    "memory and disk": {},
    "disk alone": {"COPPERPLATE_MEMORY_PICTURES": "0"},
    "no tier": WITHOUT,
}
HOW = (
    "Built by Vercel's CLI and started by Vercel's runtime, one instance, over a real PostgREST and the stand-in of "
    "Storage, whose gateway counts. Each call of the function ends with its own write of usage. At once: {} callers."
)


def measure(run: Run) -> list[Figure]:
    """Ledger and Storage calls per 1,000 hits on the deployment, one after the other and at once; without tiers too."""
    hits = run.pick(1_000, 100)
    figures = []
    with deployed(run) as project:
        for tiers, settings in TIERS.items():
            with _warm(project, settings) as function:
                for label, at_once in (("one after the other", 1), ("at once", AT_ONCE)):
                    calls = _calls(project, function, hits, at_once)
                    run.say(f"{tiers}, {label}: {dict(calls)}")
                    figures += _figures(f"{tiers}, {label}", calls, hits)
    return figures


@contextmanager
def _warm(project: Deployed, settings: dict[str, str]) -> Iterator[Function]:
    """An instance that has shown the picture before."""
    from tests.deployment.function import running

    deployment = project.deployment
    environ = {**project.environ, **settings}
    with running(project.task, deployment.python, deployment.function, **environ) as function:
        for _ in range(3):
            assert function.call(PICTURE).status == 200, function.log
        yield function


def _calls(project: Deployed, function: Function, hits: int, at_once: int) -> Counter[str]:
    """What the project was asked, by name."""
    before = len(project.requests)

    def call(_: int) -> int:
        return function.call(PICTURE).status

    with ThreadPoolExecutor(at_once) as callers:
        statuses = set(callers.map(call, range(hits)))
    if statuses != {200}:
        raise RuntimeError(f"not every hit was a picture: {statuses}")
    asked = (request.partition(" ")[2] for request in project.requests[before:])
    return Counter(path.removeprefix(RPC) if path.startswith(RPC) else "Storage" for path in asked)


def _figures(what: str, calls: Counter[str], hits: int) -> list[Figure]:
    """Calls per 1,000 hits: all of the ledger, those of each name, and of Storage."""
    of_ledger = {name: count for name, count in calls.items() if name != "Storage"}
    values = {"ledger calls": sum(of_ledger.values()), **of_ledger, "Storage calls": calls["Storage"]}
    how = HOW.format(AT_ONCE)
    return [
        Figure(what=f"{what}: {name} per 1,000 hits", value=count * 1_000 / hits, unit="", how=how)
        for name, count in values.items()
    ]
