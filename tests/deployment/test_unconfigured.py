"""A deployment where nothing was set yet: it starts, and says what to set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deployment.fixtures import Start
    from tests.deployment.function import Function

# The first test waits for npm and the build.
pytestmark = pytest.mark.timeout(900)
PROMPT = "a%20very%20private%20fox"


@pytest.fixture(scope="module")
def function(start: Start) -> Iterator[Function]:
    with start() as running:
        yield running


def test_the_process_is_healthy(function: Function) -> None:
    answer = function.call("/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", [f"/64x64.jpg?text={PROMPT}", "/api/generation/stats", "/api/cache/cleanup"])
def test_every_other_request_is_told_what_to_set(function: Function, path: str) -> None:
    answer = function.call(path)
    assert answer.status == 503
    assert answer.headers["cache-control"] == "no-store"
    assert "SUPABASE_URL" in json.loads(answer.body)["detail"]


def test_the_log_says_it_too_and_never_a_prompt(function: Function) -> None:
    function.call(f"/64x64.jpg?text={PROMPT}")
    assert "SUPABASE_URL" in function.log
    assert "private" not in function.log


def test_an_instance_that_is_told_to_stop_stops_in_time(start: Start) -> None:
    with start() as running:
        assert running.call("/healthz").status == 200
        assert running.terminate() == -15
