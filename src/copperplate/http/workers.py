"""uvicorn's supervisor with words: a worker that is replaced is named in the log. Needs the extra `server`."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

from uvicorn.supervisors import Multiprocess

if TYPE_CHECKING:
    from socket import socket

    from uvicorn import Config

logger = logging.getLogger(__name__)


class Workers(Multiprocess):
    """K worker processes, each replaced when it ends or hangs."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().__init__(config, sockets)
        if is_detached:  # by nohup, which the handler just set would undo
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """End, because the terminal is closed: restarted workers, as uvicorn wants it, nobody would see or stop."""
        self.handle_term()

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
