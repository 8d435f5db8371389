"""Named points at which a test may kill or stop this very process.

`COPPERPLATE_CRASH_AT=submitted` kills the process (SIGKILL) when it comes to that point for the first time,
`submitted:2` at the second, `submitted:stop` stops it there (SIGSTOP). Without the variable a point does
nothing. The points and what a successor finds at each are listed in docs/states.md.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "acquired",  # the lease is ours, nothing was written
    "announced",  # begin_submit is written, nothing was sent
    "answered",  # the provider has answered, its id is not noted
    "noted",  # the id is noted, the job is not collected
    "decoding",  # the picture is here and about to be decoded
    "made",  # the picture is here, verified
    "intended",  # its path and those of its renditions are written, nothing is uploaded
    "encoded",  # a rendition is encoded and not stored; the original may be
    "rendition_uploaded",  # a rendition is stored; the original may be
    "original_uploaded",  # the original is stored; its renditions may be
    "uploaded",  # all objects are stored
    "completing",  # about to complete
    "completed",  # all entries are written, no caller has an answer
    "beating",  # about to renew the lease
    "rendition_intended",  # the path of another rendition is written, nothing is uploaded
    "rendition_stored",  # it is stored, not recorded
)


def _parse(order: str | None) -> tuple[str, int, signal.Signals] | None:
    """The point, the occurrence and the signal that `order` asks for; raises ValueError for an unknown point."""
    if not order:
        return None
    name, *options = order.split(":")
    if name not in POINTS:
        message = f"COPPERPLATE_CRASH_AT must name one of {', '.join(POINTS)}"
        raise ValueError(message)
    occurrence = next((int(option) for option in options if option.isdecimal()), 1)
    # Where there is no such signal (Windows), asking for it is an error, and nothing else is.
    return name, occurrence, signal.SIGSTOP if "stop" in options else signal.SIGKILL


_order = _parse(os.environ.get("COPPERPLATE_CRASH_AT"))
_seen = 0


def arm(order: str | None) -> None:
    """Put `order` in the place of what the environment said on import: for a process that is forked later."""
    global _order, _seen
    _order, _seen = _parse(order), 0


def crash_point(name: str) -> None:
    """Die or stop here, if that was asked for."""
    global _seen  # noqa: PLW0603 - the process has one life
    if _order is None:
        return
    point, occurrence, deadly = _order
    if name == point:
        _seen += 1
        if _seen == occurrence:
            os.kill(os.getpid(), deadly)
