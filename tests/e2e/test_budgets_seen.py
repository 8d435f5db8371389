"""A budget that is used up, as callers and its operator see it: a real server and Postgres, a stand-in for fal."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.harness.floods import serving
from tests.e2e.test_cli import run
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.floods import Crowd, Deadly, Reply
    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

PICTURES, PRICE_USD = 5, 0.003
TOKEN = "a token for the metrics"
LIMITS = {"COPPERPLATE_DAILY_BUDGET_USD": "100", "COPPERPLATE_DAILY_BUDGET_PICTURES": str(PICTURES)}


class Seen:
    """What a server answers, and its operator's commands."""

    def __init__(self, crowd: Crowd, server: Deadly, environ: dict[str, str]) -> None:
        self._crowd = crowd
        self.server = server
        self._environ = environ

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        return asyncio.run(self._crowd.ask(path, headers, method))

    def told(self, **headers: str) -> dict[str, dict[str, Any]]:
        """The budgets of `GET /api/budget`, by name."""
        return {each["budget"]: each for each in json.loads(self.ask("/api/budget", **headers).body)["budgets"]}

    def command(self, *arguments: str) -> Any:
        answer = run(*arguments, "--json", **self._environ)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def lines(self) -> list[str]:
        return re.findall(r"budget \S+: \d+ % of its cap is used", self.server.log)


@pytest.fixture
def seen(cluster: Cluster, standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("budgets")
    fal = {"FAL_KEY": "stand-in", "COPPERPLATE_FAL_QUEUE_URL": standin.url, "COPPERPLATE_METRICS_TOKEN": TOKEN}
    with making_databases(cluster) as make:
        url = cluster.url(database=make())
        with serving(folder, url, [""], **fal, **LIMITS) as (crowd, [server]):
            yield Seen(crowd, server, {"DATABASE_URL": url, **fal, **LIMITS})


def test_budget_is_told_as_it_fills_and_when_it_is_full(seen: Seen, standin: Standin) -> None:
    targets = [f"/512x512.png?text=picture+{number}" for number in range(PICTURES + 2)]
    assert [seen.ask(target).status for target in targets[:3]] == [200] * 3
    assert seen.lines() == []
    assert seen.ask(targets[3]).status == 200
    assert seen.lines() == ["budget all: 80 % of its cap is used"]
    # The same texts again are hits, and spend nothing.
    assert [seen.ask(target).status for target in (*targets[:4], targets[4])] == [200] * 5

    for target in targets[5:]:
        refused = seen.ask(target)
        assert (refused.status, refused.headers["cache-control"]) == (402, "no-store")
        assert "etag" not in refused.headers
        problem = refused.problem
        assert (problem["code"], problem["budget"], problem["left_pictures"]) == ("budget_exhausted", "all", 0)
        assert problem["left_usd"] == pytest.approx(100 - PICTURES * PRICE_USD)
        assert problem["resets_at"].endswith("T00:00:00Z")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        head = seen.ask(target, "HEAD")
        assert (head.status, head.headers["cache-control"], head.body) == (404, "no-store", b"")
    assert sum(standin.scenario_log.posts.values()) == PICTURES
    # Once each, however many are refused; no address in any.
    assert seen.lines() == ["budget all: 80 % of its cap is used", "budget all: 100 % of its cap is used"]
    assert "address" not in "".join(line for line in seen.server.log.splitlines() if "budget" in line)

    told = seen.told()
    assert list(told) == ["address", "anonymous", "all"]
    assert (told["all"]["used_pictures"], told["all"]["left_pictures"]) == (PICTURES, 0)
    assert told["anonymous"]["used_usd"] == pytest.approx(PICTURES * PRICE_USD)
    shown = {row["budget"]: row for row in seen.command("budget", "show")}
    assert {name: shown[name]["used_pictures"] for name in ("all", "anonymous", "provider:fal", "address:*")} == (
        dict.fromkeys(("all", "anonymous", "provider:fal", "address:*"), PICTURES)
    )
    metrics = seen.ask("/metrics", Authorization=f"Bearer {TOKEN}")
    families = {family.name: family for family in text_string_to_metric_families(metrics.body.decode())}
    used = {sample.labels["budget"]: sample.value for sample in families["copperplate_budget_pictures"].samples}
    assert used["all"] == used["model:fal/fal-ai/flux/schnell"] == PICTURES
    assert {name.partition(":")[0] for name in used} == {"all", "anonymous", "provider", "model"}
    assert seen.command("budget", "audit")["faults"] == []

    # What an operator allows counts from the next request on.
    seen.command("budget", "override", "all", "--pictures", str(PICTURES + 1), "--until", "1h")
    assert seen.ask(targets[5]).status == 200
    assert seen.ask(targets[6]).status == 402


def test_a_key_is_named_by_its_prefix_and_told_its_own_budget(seen: Seen) -> None:
    made = seen.command("keys", "create", "--scopes", "generate")
    admin = seen.command("keys", "create", "--scopes", "admin")
    [state] = seen.command("budget", "set", f"key:cp_{made['prefix']}", "--pictures", "1")
    assert state["budget"] == f"key:{made['id']}"
    assert seen.ask("/512x512.png?text=of+a+key", **{"X-API-Key": made["key"]}).status == 200
    refused = seen.ask("/512x512.png?text=another", **{"X-API-Key": made["key"]})
    assert (refused.status, refused.problem["budget"]) == (402, f"key:{made['id']}")
    told = seen.told(**{"X-API-Key": made["key"]})
    assert {name: each["left_pictures"] for name, each in told.items()} == {f"key:{made['id']}": 0, "all": PICTURES - 1}
    everything = seen.told(**{"X-API-Key": admin["key"]})
    assert {"all", "anonymous", "provider:fal", f"key:{made['id']}"} <= everything.keys()
    assert (
        seen.ask("/metrics", **{"X-API-Key": admin["key"]}).body.decode().count(f'budget="key:{made["prefix"]}"') == 3
    )
    assert run("budget", "show", "key:zzzzzzzz", **seen._environ).returncode == 1
