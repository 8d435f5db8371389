"""uvicorn's supervisor with words: a worker that is replaced is named in the log. Needs the extra `server`."""

from __future__ import annotations

import logging
import signal

from uvicorn.supervisors import Multiprocess

logger = logging.getLogger(__name__)


class Workers(Multiprocess):
    """K worker processes, each replaced when it ends or hangs."""

    def keep_subprocess_alive(self) -> None:
        """Replace workers that are gone, and say so: what they held was cut off, and somebody will ask why."""
        before = tuple(self.processes)
        super().keep_subprocess_alive()
        for gone, successor in zip(before, self.processes, strict=True):
            if successor is not gone:
                how = _ending(gone.exitcode)
                logger.warning("worker %s is gone (%s); worker %s takes its place", gone.pid, how, successor.pid)


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # real-time signals have no names
        return f"signal {-exit_code}"
