"""The deployment at work: Vercel's runtime, a real PostgREST, stand-ins for Storage and fal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.standin.scenario_log import Scenario
from tests.support.clusters import eventually, query

if TYPE_CHECKING:
    from tests.deployment.fixtures import Start
    from tests.deployment.function import Function
    from tests.standin.server import Standin
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

# The first test waits for npm and the build.
pytestmark = pytest.mark.timeout(900)
PROMPT = "A%20very%20private%20fox"
FOX = f"/256x256.jpg?text={PROMPT}"
CRON = "/api/cache/cleanup"
CRON_SECRET = "sixteen characters or more"


@pytest.fixture
def deploy(start: Start, project: Supabase, standin: Standin) -> Start:
    """Starts instances that are configured as the documentation says."""
    return partial(
        start,
        SUPABASE_URL=project.url,
        SUPABASE_SECRET_KEY=project.secret_key,
        FAL_KEY="stand-in",
        COPPERPLATE_FAL_QUEUE_URL=standin.url,
        CRON_SECRET=CRON_SECRET,
    )


def begin_stuck(standin: Standin) -> None:
    """From now on pictures are begun and not finished."""
    standin.scenario_log.tell("*", "stuck")


def wait_until_begun(standin: Standin) -> None:
    """Return once the job of a picture was asked after: its id is noted by then."""
    eventually(lambda: [drawing for drawing in standin.scenario_log.drawings.values() if drawing.polls])


def finish(standin: Standin) -> None:
    """Let every picture that was begun be finished; one that a slow machine only begins later would stay stuck."""
    wait_until_begun(standin)
    for drawing in tuple(standin.scenario_log.drawings.values()):
        drawing.scenario = Scenario()


def count_calls(standin: Standin) -> int:
    return len(standin.scenario_log.drawings)


def test_a_picture_is_made_once_and_then_served(deploy: Start, standin: Standin) -> None:
    with deploy() as function:
        first, second = function.call(FOX), function.call(FOX)
        assert (first.status, second.status) == (200, 200), function.log
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert first.body == second.body
        assert Image.open(BytesIO(first.body)).size == (256, 256)
    assert count_calls(standin) == 1


def test_a_picture_outlives_the_instance_that_made_it(deploy: Start, standin: Standin) -> None:
    with deploy() as function:
        first = function.call(FOX)
    with deploy() as another:
        second = another.call(FOX)
    assert (second.headers["x-cache"], second.body) == ("HIT", first.body)
    assert count_calls(standin) == 1


def test_second_hit_of_an_instance_asks_storage_nothing(deploy: Start, storage_state_of_project: StorageState) -> None:
    with deploy(COPPERPLATE_MEMORY_PICTURES="0") as function:
        made = function.call(FOX)
        assert function.call(FOX).body == made.body
    assert storage_state_of_project.asked["get"] <= 1, "the instance that made it kept it"
    asked = storage_state_of_project.asked["get"]
    with deploy(COPPERPLATE_MEMORY_PICTURES="0") as another:
        hits = [another.call(FOX) for _ in range(4)]
    assert {(hit.headers["x-cache"], hit.body) for hit in hits} == {("HIT", made.body)}
    # A new instance has not read the feed when it is asked first, and keeps nothing of that.
    assert 1 <= storage_state_of_project.asked["get"] - asked <= 2
    asked = storage_state_of_project.asked["get"]
    with deploy(COPPERPLATE_MEMORY_PICTURES="0", COPPERPLATE_DISK_CACHE_MB="0") as forgetful:
        assert [forgetful.call(FOX).body for _ in range(2)] == [made.body] * 2
    assert storage_state_of_project.asked["get"] == asked + 2


def test_an_instance_whose_temporary_folder_cannot_be_written_serves_all_the_same(deploy: Start) -> None:
    with deploy(COPPERPLATE_DISK_CACHE_DIR="/proc") as function:
        first, second = function.call(FOX), function.call(FOX)
        assert (first.status, second.status, first.body) == (200, 200, second.body)
        assert function.log.count("the disk is of no use for copies") == 1


def test_what_was_served_is_counted_when_the_call_is_over(deploy: Start, owner_url: str) -> None:
    with deploy() as function:
        for number in (1, 2, 3):
            function.call(FOX)
            assert query(owner_url, "select total_requests from get_generation_stats()") == number


def test_fifty_at_once_over_two_instances_cost_one_call(deploy: Start, standin: Standin) -> None:
    standin.scenario_log.tell("*", "slow=1")
    with deploy() as one, deploy() as other, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda function: function.call(FOX), [one, other] * 25))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert count_calls(standin) == 1


def test_the_log_has_a_line_per_request_and_no_prompt_and_no_secret(deploy: Start, project: Supabase) -> None:
    with deploy() as function:
        function.call(FOX)
        lines = [line for line in function.log.splitlines() if "outcome=" in line]
        assert len(lines) == 1
        for secret in ("private", project.secret_key, project.service_role_key, "stand-in", CRON_SECRET):
            assert secret not in function.log


# --- the cron ------------------------------------------------------------------------------------


def test_the_cron_cleans_with_the_secret_only(deploy: Start) -> None:
    with deploy() as function:
        assert function.call(CRON).status == 401
        assert function.call(CRON, authorization="Bearer something else").status == 401
        answer = function.call(CRON, authorization=f"Bearer {CRON_SECRET}", user_agent="vercel-cron/1.0")
        assert answer.status == 200, answer.body
        assert json.loads(answer.body)["success"] is True


def test_the_cron_is_closed_where_there_is_no_secret(deploy: Start) -> None:
    with deploy(CRON_SECRET="") as function:
        answer = function.call(CRON, authorization="Bearer ")
        assert (answer.status, answer.headers["cache-control"]) == (503, "no-store")


# --- callers that leave, processes that stop -----------------------------------------------------


def test_a_generation_goes_on_when_its_caller_hangs_up(deploy: Start, standin: Standin) -> None:
    begin_stuck(standin)
    with deploy() as function:
        with function.calling(FOX) as (_, invocation):
            wait_until_begun(standin)
        assert not function.has_ended(invocation)
        finish(standin)
        function.wait_for_end(invocation)
        assert function.call(FOX).headers["x-cache"] == "HIT"
    assert count_calls(standin) == 1


def test_an_instance_is_not_frozen_before_the_picture_that_a_caller_did_not_get(
    deploy: Start, standin: Standin
) -> None:
    begin_stuck(standin)
    with deploy(COPPERPLATE_WAIT_SECONDS="1") as function:
        with function.calling(FOX) as (connection, invocation):
            assert connection.getresponse().status == 503
        assert not function.has_ended(invocation)
        finish(standin)
        function.wait_for_end(invocation)
        assert function.call(FOX).headers["x-cache"] == "HIT"
    assert count_calls(standin) == 1


def test_an_instance_that_is_stopped_hands_its_generation_over(deploy: Start, standin: Standin) -> None:
    begin_stuck(standin)
    # Nobody would take over by waiting.
    patient = partial(deploy, COPPERPLATE_LEASE_SECONDS="3600")
    with patient() as stopped, patient() as successor, ThreadPoolExecutor(1) as caller:
        with stopped.calling(FOX) as (connection, _):
            wait_until_begun(standin)
            stopped.terminate()
            assert connection.getresponse().status == 503
        waiting = caller.submit(successor.call, FOX)
        finish(standin)
        assert waiting.result().status == 200
    assert count_calls(standin) == 1


def test_a_caller_at_another_instance_does_not_notice_the_stop(deploy: Start, standin: Standin) -> None:
    begin_stuck(standin)
    patient = partial(deploy, COPPERPLATE_LEASE_SECONDS="3600")
    with patient() as stopped, patient() as successor, ThreadPoolExecutor(1) as caller:
        with stopped.calling(FOX):
            wait_until_begun(standin)
            waiting = caller.submit(successor.call, FOX)
            follows(successor)
            stopped.terminate()
        finish(standin)
        assert waiting.result().headers["x-cache"] == "MISS"
    assert count_calls(standin) == 1


def follows(function: Function) -> None:
    """Return once a request has arrived."""
    function.wait_until(
        lambda: any(message["type"] == "handler-started" for message in function.said), seconds=10, what="a request"
    )
