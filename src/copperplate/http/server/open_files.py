"""How many connections a process may hold by the limit of its open files."""

from __future__ import annotations

import logging
import resource
from typing import Final

logger = logging.getLogger(__name__)

# Descriptors for the ledger's pool, the store, providers, files, and what Python itself has open.
RESERVED_FILES: Final = 256
DOCS: Final = "docs/containers.md#connections"


def room_for(connections: int) -> int:
    """How many connections a process may hold: `connections`, or fewer where the limit of open files is low.

    The soft limit is raised as far as it is needed and the hard one permits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    room = max(soft - RESERVED_FILES, soft // 2)
    logger.warning(
        "at most %d connections per process instead of COPPERPLATE_MAX_CONNECTIONS=%d, because %d files may be open "
        "(ulimit -n) and %d are kept for the database, the store and providers; see %s",
        *(room, connections, soft, soft - room, DOCS),
    )
    return room
