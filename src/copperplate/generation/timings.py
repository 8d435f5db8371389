"""The durations of a generation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations. A process trusts its lease for `lease` minus `margin` by its own clock."""

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
    # How long one collection repeats its fetch while the answer is not the picture asked for.
    look: timedelta = timedelta(seconds=15)

    @property
    def trusted_seconds(self) -> float:
        """How long a lease is trusted, from before it was asked for."""
        return (self.lease - self.margin).total_seconds()
