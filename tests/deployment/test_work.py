"""Promises of a function: kept by the call that made them, or by whoever comes next once that is frozen for good."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.deployment.test_life import CRON_SECRET, FOX, begin_stuck, count_calls, deploy, finish
from tests.support.clusters import eventually, query
from tests.support.tokens import SECRET, USER, Tokens

if TYPE_CHECKING:
    import http.client

    from tests.deployment.fixtures import Start
    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase

__all__ = ["deploy"]

# The first test waits for npm and the build.
pytestmark = pytest.mark.timeout(900)
ORDER = "/api/generate-memoji"
CRON = {"authorization": f"Bearer {CRON_SECRET}"}


@pytest.fixture
def headers(project: Supabase, owner_url: str) -> dict[str, str]:
    """Of somebody with one credit, who does not wait."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("select public.grant_credits(%s, 1, 'order 1')", [USER])
    token = Tokens(f"{project.url}/auth/v1", datetime.now(UTC)).hs()
    return {"authorization": f"Bearer {token}", "prefer": "respond-async", "content_type": "application/json"}


@pytest.fixture
def deploy_fal(deploy: Start) -> Start:
    """Memoji by fal, whose jobs can be collected by another instance; leases scaled down."""
    return partial(
        deploy,
        COPPERPLATE_PROVIDER="fal",
        SUPABASE_JWT_SECRET=SECRET,
        COPPERPLATE_LEASE_SECONDS="2",
        COPPERPLATE_HEARTBEAT_SECONDS="0.5",
    )


def count_polled(standin: Standin) -> int:
    """How many jobs were asked after: their ids are noted by then."""
    return sum(drawing.polls > 0 for drawing in standin.scenario_log.drawings.values())


def wishes(owner_url: str) -> Any:
    return query(owner_url, "select string_agg(status, ' ' order by id) from copperplate.wishes")


def read(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_a_call_that_promised_is_not_over_before_the_promise_is_kept(
    deploy_fal: Start, standin: Standin, headers: dict[str, str], owner_url: str
) -> None:
    begin_stuck(standin)
    with deploy_fal() as function:
        with function.calling(ORDER, method="POST", body="{}", **headers) as (connection, invocation):
            assert read(connection)[0] == 202
        assert not function.has_ended(invocation)
        finish(standin)
        function.wait_for_end(invocation)
        assert wishes(owner_url) == "completed"
    assert count_calls(standin) == 1


@pytest.mark.parametrize("runner", ["cron", "hit"])
def test_a_promise_of_an_instance_that_is_frozen_is_kept_by_the_next_runner(
    deploy_fal: Start, standin: Standin, headers: dict[str, str], owner_url: str, runner: str
) -> None:
    with deploy_fal() as frozen, deploy_fal() as successor:
        if runner == "hit":
            successor.call(FOX)
        calls = count_calls(standin)
        begin_stuck(standin)
        with frozen.calling(ORDER, method="POST", body="{}", **headers) as (connection, _):
            assert read(connection)[0] == 202
            eventually(lambda: count_polled(standin) > calls)
            frozen.process.send_signal(signal.SIGSTOP)
        try:
            finish(standin)
            # The lease of a process that stands still runs out, and the hold with it.
            eventually(lambda: query(owner_url, "select public.is_work_due()"))
            if runner == "cron":
                told = json.loads(successor.call("/api/cache/cleanup", **CRON).body)
                assert told["work"] == {"made": 1, "failed": 0, "put_back": 0}
            else:
                assert successor.call(FOX).headers["x-cache"] == "HIT"
            assert wishes(owner_url) == "completed"
        finally:
            os.kill(frozen.process.pid, signal.SIGCONT)
        assert count_calls(standin) == calls + 1
    assert query(owner_url, "select balance from copperplate.accounts") == 0
