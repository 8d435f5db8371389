"""Keeps one postmaster running: starts it again when it ends without being asked to, but not for ever."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from copperplate.local.errors import ClusterError, ClusterFailed
from copperplate.local.postmaster import start_postmaster

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.local.postmaster import Installation

MAX_RESTARTS = 5
RESTART_WINDOW_SECONDS = 60.0
RETRY_SECONDS = 0.5
POLL_SECONDS = 0.02


class Supervisor:
    """Owns the postmaster of one installation; at most five restarts a minute."""

    def __init__(self, installation: Installation, announce: Callable[[str], None]) -> None:
        self._installation = installation
        self._announce = announce
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._postmaster = start_postmaster(installation)
        self._thread = threading.Thread(target=self._supervise, name="copperplate-postgres", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id of the present postmaster."""
        return self._postmaster.pid

    @property
    def has_given_up(self) -> bool:
        """Whether nothing will start Postgres again."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the postmaster and the supervision; a repeat does nothing."""
        self._stopping.set()
        with self._guard:  # Never between the start of a new postmaster and its being known here.
            self._postmaster.stop()
        self._thread.join()

    def _supervise(self) -> None:
        while True:
            status = self._postmaster.wait()
            if self._stopping.is_set():
                return
            self._announce(f"Postgres ended unexpectedly (status {status}); starting it again")
            if not self._restart():
                return

    def _restart(self) -> bool:
        while not self._stopping.is_set():
            if not self._take_restart():
                self._announce(
                    f"Postgres ended {MAX_RESTARTS} times within a minute and is left stopped; "
                    f"{self._installation.home.log} says why. Restart copperplate after mending it"
                )
                return False
            try:
                with self._guard:
                    if self._stopping.is_set():
                        return False
                    self._postmaster = start_postmaster(self._installation)
            except (ClusterError, OSError) as exc:
                self._announce(str(exc))
                self._stopping.wait(RETRY_SECONDS)
            else:
                return True
        return False

    def _take_restart(self) -> bool:
        now = time.monotonic()
        if len(self._restarts) == MAX_RESTARTS and now - self._restarts[0] < RESTART_WINDOW_SECONDS:
            return False
        self._restarts.append(now)
        return True


def wait_for_restart(supervisor: Supervisor, is_answering: Callable[[], bool], seconds: float) -> None:
    """Return once the cluster answers; raise where it never will, or not within `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not is_answering():
        if supervisor.has_given_up:
            message = "Postgres is stopped and will not be started again: restart copperplate"
            raise ClusterFailed(message)
        if time.monotonic() > give_up_at:
            message = f"Postgres did not answer within {seconds:.0f} s"
            raise ClusterFailed(message)
        time.sleep(POLL_SECONDS)
