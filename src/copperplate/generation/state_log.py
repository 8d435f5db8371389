"""One log line for each state that a generation comes to, by the process that leads it.

docs/http.md names this logger and the form of its lines. No prompt, and of the key the digits that other lines have.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from copperplate.wishes import State

if TYPE_CHECKING:
    from copperplate.failure_classes import FailureClass
    from copperplate.generation.attempt import Attempt
    from copperplate.ports import Clock

logger = logging.getLogger("copperplate.generations")


def log_begin(attempt: Attempt) -> None:
    """A lease was won: nothing was sent yet, or a job that a predecessor noted is resumed."""
    lead = attempt.lead
    _log(attempt, State.PENDING if lead.job is None and not lead.submit_no else State.GENERATING)


def log_submit(attempt: Attempt) -> None:
    """A submit was granted, and is sent now."""
    _log(attempt, State.GENERATING)


def log_completion(attempt: Attempt, clock: Clock) -> None:
    """The picture is stored and recorded."""
    _log(attempt, State.COMPLETED, f" seconds={clock.monotonic() - attempt.began_at:.1f}")


def log_failure_state(attempt: Attempt, failure_class: FailureClass, clock: Clock) -> None:
    """The failure is recorded."""
    seconds = clock.monotonic() - attempt.began_at
    _log(attempt, State.FAILED, f" class={failure_class} seconds={seconds:.1f}")


def _log(attempt: Attempt, state: State, more: str = "") -> None:
    request = attempt.request
    logger.info("generation key=%s status=%s kind=%s%s", request.generation_key[:12], state, request.kind, more)
