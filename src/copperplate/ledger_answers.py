"""What the ledger answers about one picture. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.budgets import Refused

if TYPE_CHECKING:
    from copperplate.failure_classes import FailureClass
    from copperplate.model import Entry, Job, OriginalUpload, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The picture is stored: the asked rendition, or the original it can be made from."""

    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The caller holds the lease and must generate, from the recovery point given.

    `attempt` counts attempts in the current window of a day, `submit_no` the billable submits of
    this attempt so far, `decode_no` the decodings its leaders began and nobody came back from; `job`, noted `job_age`
    ago, and `intent` are what a predecessor left behind.
    """

    fence: int
    phase: Phase
    attempt: int
    submit_no: int
    decode_no: int = 0
    job: Job | None = None
    job_age: timedelta = timedelta(0)
    intent: OriginalUpload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Somebody else holds the lease for at most `lease_left` more, unless it is renewed."""

    lease_left: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """The last attempt failed; no new one before `retry_after` has passed."""

    failure_class: FailureClass
    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Miss:
    """Nothing is stored and nobody generates: whoever may lead can acquire."""


@dataclass(frozen=True, slots=True)
class InsufficientCredits:
    """As `Miss`, but the caller cannot pay what leading costs."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The picture was taken down: it is never generated again."""


AcquireResult = Hit | Lead | Wait | Negative | InsufficientCredits | Refused | Gone
PeekResult = Hit | Wait | Negative | Miss | Gone
