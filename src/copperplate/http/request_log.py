"""One log line per request for a picture: its outcome, never its prompt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from copperplate.serving.request_meter import tier_of

if TYPE_CHECKING:
    from copperplate.feed import Tier
    from copperplate.model import Outcome

requests_log = logging.getLogger("copperplate.requests")


def is_logged() -> bool:
    """Whether lines of requests are written; they take longer than a hit does."""
    return requests_log.isEnabledFor(logging.INFO)


def log_request(  # noqa: PLR0913 - the fields of the line
    method: str,
    status: int,
    *,
    outcome: Outcome | None,
    key: str | None,
    seconds: float,
    size_bytes: int,
    cost_micro_usd: int | None,
    saved_micro_usd: int | None,
    tier: Tier | None = None,
) -> None:
    """Write the line; the key identifies the picture. Money of None is unknown, a tier of None is the ledger."""
    requests_log.info(
        "method=%s status=%d outcome=%s tier=%s key=%s ms=%.1f bytes=%d cost_micro_usd=%s saved_micro_usd=%s",
        method,
        status,
        outcome.value if outcome else "-",
        tier_of(outcome, tier).value if outcome else "-",
        key[:12] if key else "-",
        seconds * 1000,
        size_bytes,
        "-" if cost_micro_usd is None else cost_micro_usd,
        "-" if saved_micro_usd is None else saved_micro_usd,
    )
