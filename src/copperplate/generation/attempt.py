"""The values that every step of one attempt works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copperplate.budgets import Spending
    from copperplate.generation.kinds import Kind
    from copperplate.generation.lease import Lease
    from copperplate.generation.pending_uploads import PendingUploads
    from copperplate.generation.verified import Verified
    from copperplate.ledger_answers import Lead
    from copperplate.model import PictureRequest


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One attempt to make the picture of `request`, under one lease."""

    request: PictureRequest
    kind: Kind
    lead: Lead
    lease: Lease
    # When its lease was asked for, on our monotonic clock in seconds.
    began_at: float
    # When the job was noted, by a predecessor or by us, on our monotonic clock in seconds.
    noted_at: float
    # What each submit books to budgets; None where the provider bills nothing.
    spending: Spending | None = None
    # The picture itself, where it exists already: it is stored, and nothing is submitted or collected.
    given: Verified | None = None
    # The picture that is not stored yet, though it is paid for or given.
    unstored: PendingUploads | None = None
