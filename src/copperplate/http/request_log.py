"""One log line per request for a picture: its outcome, never its prompt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copperplate.model import Outcome

requests_log = logging.getLogger("copperplate.requests")


def log_request(  # noqa: PLR0913 - the fields of the line
    method: str,
    status: int,
    *,
    outcome: Outcome | None,
    key: str | None,
    seconds: float,
    size_bytes: int,
    cost_micro_usd: int | None,
) -> None:
    """Write the line; the key identifies the picture. A cost of None is an unknown one."""
    requests_log.info(
        "method=%s status=%d outcome=%s key=%s ms=%.1f bytes=%d cost_micro_usd=%s",
        method,
        status,
        outcome.value if outcome else "-",
        key[:12] if key else "-",
        seconds * 1000,
        size_bytes,
        "-" if cost_micro_usd is None else cost_micro_usd,
    )
