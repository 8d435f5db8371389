"""Walls of tests that wait: as promised on an idle machine, and wider the more processes there are for its cores."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RUNNING = Path("/proc/loadavg")


def wall(seconds: float) -> float:
    """How long what takes `seconds` alone may take now, in seconds.

    A process among four that want to run on two cores takes twice as long. What runs at this moment counts as well as
    the mean of the last minute: load may just have begun, or just have ended.
    """
    wanting = os.getloadavg()[0]
    with suppress(OSError):
        wanting = max(wanting, float(RUNNING.read_text().split()[3].partition("/")[0]))
    return seconds * max(1.0, 1.5 * wanting / (os.cpu_count() or 1))
