"""A picture that cannot be made, asked a thousand times in an hour over four processes: what it costs in all."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from copperplate.generation.retry_policy import MAX_ATTEMPTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standin.server import Standin
    from tests.support.worker_processes import WorkerProcesses

PROMPT = "a poisoned picture"
ASKS, PROCESSES, HOUR_SECONDS = 1_000, 4, 3_600.0
ROUNDS = ASKS // PROCESSES
ROUND_SECONDS = HOUR_SECONDS / ROUNDS
# Nothing that is decided may depend on the clock of a process.
WRONG_HOURS = (0, 1, -1, 0)


def ask_for_an_hour(
    worker_processes: WorkerProcesses, url: str, folder: Path, standin: Standin
) -> tuple[Counter[str], list[float]]:
    """How all callers were answered, and when the provider was asked, in seconds of the simulated hour."""
    order = {"program": "ask_over_time", "url": url, "folder": str(folder), "queue_url": standin.url, "prompt": PROMPT}
    workers = [worker_processes.start(**order, wrong_hours=hours) for hours in WRONG_HOURS]
    assert {worker.hear() for worker in workers} == {"ready"}
    answers, asked_at = Counter[str](), list[float]()
    for number in range(ROUNDS):
        moved = number * ROUND_SECONDS
        seen = len(standin.scenario_log.requests)
        for worker in workers:
            worker.go_on(str(moved))
        answers.update(worker.hear() for worker in workers)
        asked_at += [moved + each["at"] for each in standin.scenario_log.requests[seen:] if each["method"] == "POST"]
    for worker in workers:
        worker.go_on("end")
    assert standin.scenario_log.posts[PROMPT] == len(asked_at)
    assert answers.total() == ASKS
    return answers, asked_at


def test_prompt_that_is_moderated_is_asked_for_once(
    worker_processes: WorkerProcesses, owner_url: str, tmp_path: Path, standin: Standin
) -> None:
    standin.scenario_log.tell(PROMPT, "moderated")
    answers, asked_at = ask_for_an_hour(worker_processes, owner_url, tmp_path, standin)
    assert answers == {"moderated": ASKS}
    assert len(asked_at) == 1


def test_prompt_the_provider_fails_at_is_asked_for_three_times(
    worker_processes: WorkerProcesses, owner_url: str, tmp_path: Path, standin: Standin
) -> None:
    standin.scenario_log.tell(PROMPT, "http_500")
    answers, asked_at = ask_for_an_hour(worker_processes, owner_url, tmp_path, standin)
    assert answers == {"transient": ASKS}
    assert len(asked_at) == MAX_ATTEMPTS <= 6


def test_provider_that_limits_its_rate_is_never_asked_before_its_wish_and_soon_after_it(
    worker_processes: WorkerProcesses, owner_url: str, tmp_path: Path, standin: Standin
) -> None:
    wishes = (20, 300, 7, 890, 60)
    standin.scenario_log.tell(PROMPT, *(f"http_429={wish}" for wish in wishes), "ok")
    answers, asked_at = ask_for_an_hour(worker_processes, owner_url, tmp_path, standin)
    assert len(asked_at) == len(wishes) + 1
    for wish, (before, after) in zip(wishes, pairwise(asked_at), strict=True):
        assert wish <= after - before < wish + 2 * ROUND_SECONDS
    # Once it is made, everybody has it.
    assert set(answers) == {"rate_limited", "generated", "coalesced", "hit"}
    assert answers["generated"] == 1
    assert answers["hit"] > ASKS // 2
