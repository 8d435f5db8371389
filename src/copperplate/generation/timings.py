"""How long each thing of a generation may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """How long things may take. A lease is trusted for `lease` minus `margin` of our own clock."""

    lease: timedelta = timedelta(seconds=20)
    heartbeat: timedelta = timedelta(seconds=5)
    margin: timedelta = timedelta(seconds=2)
    wait: timedelta = timedelta(seconds=30)
    poll_first_seconds: float = 0.25
    poll_factor: float = 1.5
    poll_max_seconds: float = 2.0
    # How long a provider keeps a job's result, and the first pause between two collections.
    job_retention: timedelta = timedelta(days=1)
    collect_pause: timedelta = timedelta(seconds=5)
    # How long one collection looks again at what is not the picture asked for.
    look: timedelta = timedelta(seconds=15)

    @property
    def trusted_seconds(self) -> float:
        """How long a lease is trusted, from before it was asked for."""
        return (self.lease - self.margin).total_seconds()
