"""Why an attempt failed, and what a caller is told of it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class FailureClass(StrEnum):
    """Why an attempt failed; decides how long the failure is remembered and what the caller is told."""

    MODERATED = "moderated"
    INVALID = "invalid"
    RATE_LIMITED = "rate_limited"
    TRANSIENT = "transient"
    AMBIGUOUS = "ambiguous"
    BAD_OUTPUT = "bad_output"
    ACCOUNT = "account"  # our account or our settings at the provider, whatever the prompt
    STORE = "store"  # the object store takes no pictures; never a generation's own failure
    ABANDONED = "abandoned"  # set by the sweep: the leader died and nobody asked again
    MISSING_OBJECT = "missing_object"  # set when a stored original turned out to be gone
    UNCOLLECTED = "uncollected"  # the provider's job is paid for; its picture cannot be had yet
    LOST = "lost"  # the same until the provider's retention was over

    @property
    def http_status(self) -> int:
        """422: the prompt is at fault. 502: the provider answered rubbish. 503: ask again later."""
        match self:
            case FailureClass.MODERATED | FailureClass.INVALID:
                return 422
            case FailureClass.BAD_OUTPUT:
                return 502
            case _:
                return 503

    @property
    def counts_as_attempt(self) -> bool:
        """Whether a new attempt after this failure is one more of the day; in SQL, `copperplate.claim_again` decides.

        After `ABANDONED` and `UNCOLLECTED` there is no new attempt: the same one is resumed.
        """
        return self not in {FailureClass.RATE_LIMITED, FailureClass.ACCOUNT}

    @property
    def is_passing(self) -> bool:
        """Whether a later attempt may succeed without a second bill; in SQL, `copperplate.wished_state` decides."""
        match self:
            case (
                FailureClass.RATE_LIMITED
                | FailureClass.TRANSIENT
                | FailureClass.ACCOUNT
                | FailureClass.STORE
                | FailureClass.ABANDONED
                | FailureClass.MISSING_OBJECT
                | FailureClass.UNCOLLECTED
            ):
                return True
            case (
                FailureClass.MODERATED
                | FailureClass.INVALID
                | FailureClass.AMBIGUOUS
                | FailureClass.BAD_OUTPUT
                | FailureClass.LOST
            ):
                return False
            case _:
                assert_never(self)

    @property
    def public_message(self) -> str:
        """What the caller is told; the provider's own words stay in the ledger."""
        return _PUBLIC_MESSAGES[self]


_PUBLIC_MESSAGES = {
    FailureClass.MODERATED: "The provider refused this prompt or picture. Change it.",
    FailureClass.INVALID: "The provider does not accept this. Change the prompt or picture, the size or the model.",
    FailureClass.RATE_LIMITED: "The provider is limiting our rate. Ask again after Retry-After.",
    FailureClass.TRANSIENT: "The provider fails at the moment. Ask again after Retry-After.",
    FailureClass.AMBIGUOUS: "Two pictures were asked for, and none could be kept. Ask again after Retry-After.",
    FailureClass.BAD_OUTPUT: "The provider's answer was not a usable picture. Ask again after Retry-After.",
    FailureClass.ACCOUNT: "The provider refuses this service, whatever the prompt. Ask again after Retry-After.",
    FailureClass.STORE: "Pictures cannot be stored at the moment. Ask again after Retry-After.",
    FailureClass.ABANDONED: "The last attempt was cut off. Ask again after Retry-After.",
    FailureClass.MISSING_OBJECT: "The stored picture is gone and could not be made again yet.",
    FailureClass.UNCOLLECTED: "The provider's picture cannot be fetched yet. Ask again after Retry-After.",
    FailureClass.LOST: "The provider's picture could never be fetched. Ask again after Retry-After.",
}
