"""What may go wrong at a call, drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class Fault(StrEnum):
    NONE = "none"
    CRASH_BEFORE = "crash before"  # killed, nothing was sent
    CRASH_IN_FLIGHT = "crash in flight"  # killed, the request arrives all the same
    CRASH_AFTER = "crash after"  # killed when the answer comes
    PAUSE_BEFORE = "pause before"  # stopped before the request leaves
    PAUSE_IN_FLIGHT = "pause in flight"  # stopped until long after the answer came
    LOSE_REQUEST = "lose request"  # nothing happened; the caller cannot know
    LOSE_REPLY = "lose reply"  # it happened; the caller cannot know
    REPEAT = "repeat"  # the reply was lost and the adapter asked again
    LATE = "late"  # the caller gave up; then it happened
    CUT_OFF = "cut off"  # the ledger cannot be reached for a while
    SLOW = "slow"
    SLOW_ANSWER = "slow answer"  # it happened at once; in histories with tiers


CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_IN_FLIGHT, Fault.CRASH_AFTER)
PAUSES = (Fault.PAUSE_BEFORE, Fault.PAUSE_IN_FLIGHT)
LOSSES = (Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.REPEAT, Fault.LATE, Fault.CUT_OFF)
PROFILES = {
    "calm": (),
    "crashes": (*CRASHES, Fault.SLOW),
    "pauses": (*PAUSES, Fault.SLOW),
    "losses": (*LOSSES, Fault.SLOW),
    "all": (*CRASHES, *PAUSES, *LOSSES, Fault.SLOW),
}
FOCI = (
    "begin_submit",
    "submit",
    "note_request",
    "collect",
    "begin_decode",
    "intend_upload",
    "put",
    "complete",
    "intend_rendition",
    "record_rendition",
    "heartbeat",
    "acquire",
    "fail",
    "report_missing",
    "remove",
    "forget_discarded",
)
FOCUSED_RATE = 0.5
MAX_CRASHES = 6
# Longer than the grace of a discarded object.
NAP_SECONDS = 4_000.0


@dataclass(slots=True)
class Faults:
    """Draws the fault of each call; `is_over` when the world is to heal."""

    random: Random
    kinds: tuple[Fault, ...]
    rate: float
    # Calls that fail much more often in this history: what is rare everywhere is common somewhere.
    focus: str
    is_over: bool = False
    crashes: int = 0
    drawn: int = 0

    @classmethod
    def draw_profile(cls, source: Random) -> Faults:
        name = source.choices(list(PROFILES), weights=(1, 3, 3, 3, 4))[0]
        return cls(source, PROFILES[name], source.choice((0.03, 0.1, 0.2)), source.choice(FOCI))

    def draw(self, name: str) -> Fault:
        rate = FOCUSED_RATE if name == self.focus else self.rate
        if self.is_over or not self.kinds or self.random.random() >= rate:
            return Fault.NONE
        fault = self.random.choice(self.kinds)
        if fault in CRASHES:
            if self.crashes >= MAX_CRASHES:
                return Fault.NONE
            self.crashes += 1
        self.drawn += 1
        return fault

    def pause_seconds(self, lease: float) -> float:
        """Mostly around the length of a lease; now and then longer than the grace of a discarded object."""
        return self.random.choice((0.5, lease * 0.5, lease * 0.95, lease * 1.05, lease * 1.3, lease * 3, NAP_SECONDS))

    def cut_off_seconds(self, lease: float) -> float:
        """Some heartbeats long, or longer than a lease is trusted."""
        return self.random.choice((lease * 0.3, lease * 0.95, lease * 1.3))

    def latency(self, typical: float) -> float:
        """Mostly short, sometimes long."""
        return typical * self.random.choice((0.2, 0.5, 1.0, 1.5, 2.0, 10.0))
