"""Errors nobody planned, as a log may show them."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger(__name__)

MAX_CAUSES = 5


def log_unexpected(error: BaseException, where: str) -> None:
    """Log an error nobody planned: its type and the way it took, never its words, which may hold a prompt."""
    chain: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < MAX_CAUSES:
        chain.append(f"{type(seen).__name__}\n" + "".join(traceback.format_tb(seen.__traceback__)))
        seen = seen.__cause__ or seen.__context__
    logger.error("unexpected error in %s: %s", where, "caused by ".join(chain))
