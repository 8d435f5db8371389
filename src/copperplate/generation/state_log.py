"""One log line for each state that a generation comes to in this process: its key, never its prompt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copperplate.wishes import State

# docs/http.md names this logger.
generations_log = logging.getLogger("copperplate.generations")


def log_state(generation_key: str, state: State) -> None:
    """Write the line; a generation that is taken over begins again where its next leader begins."""
    generations_log.info("generation key=%s status=%s", generation_key[:12], state.value)
