"""Promises of a function: kept by the call that made them, or by whoever comes next once that is frozen for good."""

from __future__ import annotations

import json
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
    from contextlib import AbstractContextManager
    from http.client import HTTPConnection

    from tests.deployment.fixtures import Start
    from tests.deployment.function import Function
    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase

__all__ = ["deploy"]

# The first test waits for npm and the build.
pytestmark = pytest.mark.timeout(900)
ORDER = "/api/generate-memoji"
CRON: dict[str, Any] = {"authorization": f"Bearer {CRON_SECRET}"}


@pytest.fixture
def headers(project: Supabase, owner_url: str) -> dict[str, str]:
    """Of somebody with three credits, who does not wait."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("select public.grant_credits(%s, 3, 'order 1')", [USER])
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


def has_polled(standin: Standin, jobs: int) -> bool:
    """Whether so many jobs were asked after: their ids are noted by then."""
    return sum(drawing.polls > 0 for drawing in standin.scenario_log.drawings.values()) >= jobs


def wishes(owner_url: str) -> Any:
    return query(owner_url, "select string_agg(distinct status, ' ') from copperplate.wishes")


def assert_promised(connection: HTTPConnection) -> None:
    """Whether the caller is told that the picture will be made; a failure says what was told instead."""
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()


def order(function: Function, headers: dict[str, str], hair: str) -> AbstractContextManager[tuple[Any, str]]:
    """A memoji that is asked for without waiting."""
    sent: dict[str, Any] = {**headers, "body": json.dumps({"hair": hair})}
    return function.calling(ORDER, method="POST", **sent)


def test_a_promise_is_kept_by_its_call_and_once_that_is_frozen_by_the_next_runner(
    deploy_fal: Start, standin: Standin, headers: dict[str, str], owner_url: str
) -> None:
    with deploy_fal() as frozen, deploy_fal() as successor:
        # Its call is not over before the promise is kept, though its answer was 202.
        begin_stuck(standin)
        with order(frozen, headers, "bob") as (connection, invocation):
            assert_promised(connection)
        assert not frozen.has_ended(invocation)
        finish(standin)
        frozen.wait_for_end(invocation)
        assert wishes(owner_url) == "completed"

        def cron() -> None:
            told = json.loads(successor.call("/api/cache/cleanup", **CRON).body)
            assert told["work"] == {"made": 1, "failed": 0, "put_back": 0}

        def hit() -> None:
            assert successor.call(FOX).headers["x-cache"] == "HIT"

        standin.scenario_log.tell("*", "ok")
        successor.call(FOX)
        for hair, runner in (("curly", cron), ("locs", hit)):
            calls = count_calls(standin)
            begin_stuck(standin)
            with order(frozen, headers, hair) as (connection, invocation):
                assert_promised(connection)
                eventually(partial(has_polled, standin, calls + 1))
                frozen.process.send_signal(signal.SIGSTOP)
            finish(standin)
            # The lease of a process that stands still runs out, and the hold with it.
            eventually(lambda: query(owner_url, "select public.is_work_due()"))
            runner()
            assert wishes(owner_url) == "completed", hair
            frozen.process.send_signal(signal.SIGCONT)
            frozen.wait_for_end(invocation)
            assert count_calls(standin) == calls + 1
    assert query(owner_url, "select balance from copperplate.accounts") == 0
