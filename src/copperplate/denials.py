"""Errors of access, spending, batches and streams: who may not do this, and who has nothing left.

CopperplateError
├── InvalidRequest
│   ├── InvalidBatch          no items, too many, or a member of the wrong type; 400
│   └── InvalidItems          some items are faulty: which ones, and why; 400
├── Unauthorized
│   └── AccessDenied          a miss needs a signed URL, a key or a sign-in here; 401
├── Forbidden                 the caller is known and may not; 403
│   ├── MissingScope          the API key lacks a scope
│   ├── InvalidSignature      the link's signature is not one of ours
│   ├── SignatureExpired      the link's time is over
│   ├── BatchNeedsName        a batch is for API keys, and for sign-ins with a name
│   ├── UploadNeedsName       direct uploads are for API keys, and for sign-ins with a name
│   ├── AddressNeedsName      pictures are fetched by address for the same callers
│   ├── WarmingNeedsKey       warming is for API keys
│   ├── MemojiNeedsSignIn     memoji are paid by credits, which people have
│   ├── NotOwner              somebody else asked for this batch
│   └── InvalidEventToken     the token in the address does not permit to watch this
├── TooManyStreams            the process holds as many streams as it may; 503
├── TooManyStreamsOfAddress   this address follows as many streams as one may; 429
├── TooManyFetches            the process fetches as many pictures as it may; 503
├── TooManyFetchesOfCaller    this caller has as many pictures fetched as one may; 429
├── TooManyUploadsOfCaller    this caller has as many uploads, or was offered as many, as one may; 429
├── TooManyWrongKeys          this address sent too many wrong API keys; 429
├── TooManyOpenWishes         this caller has as many pictures promised as one may; 429
├── TakenDown                 the owner took the picture down; 410
├── NotEnoughCredits          the caller has no credit to have the picture made; 402
└── SpendingRefused           a budget has no room; its code, status and members are those of the refusal
    ├── BudgetExhausted       used up until it is reset; 402
    ├── BudgetInFlight        pictures under way hold what is left; 503
    └── TooManyInFlight       the caller has too many pictures under way; 429
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.budgets import PREPAID, RefusalReason
from copperplate.errors import CopperplateError, InvalidRequest, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from copperplate.budgets import Refusal


class AccessDenied(Unauthorized, code="access_denied", title="Not everybody may have pictures made here"):
    """The picture is not stored, and the caller may not have it made."""


class Forbidden(CopperplateError, code="forbidden", status=403, title="The caller may not do this"):
    """The caller is known, and has no right to this."""


class MissingScope(Forbidden, code="missing_scope", title="The API key lacks a scope"):
    """The API key is valid, and was not given the scope that this needs."""


class InvalidSignature(Forbidden, code="invalid_signature", title="The signature of the address is not valid"):
    """The address was not signed by this deployment, or was changed since."""


class SignatureExpired(Forbidden, code="signature_expired", title="The signature of the address has expired"):
    """The address was signed for a time that is over."""


class TooManyWrongKeys(CopperplateError, code="too_many_wrong_keys", status=429, title="Too many wrong API keys"):
    """So many API keys that do not exist came from this address that no more are looked up for a while."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("Too many API keys from this address do not exist. Send a valid one after Retry-After.")
        self.retry_after_seconds = retry_after_seconds


class TooManyOpenWishes(
    CopperplateError, code="too_many_open_wishes", status=429, title="Too many pictures are promised already"
):
    """As many pictures as one caller may have promised are still to be made for this one."""

    retry_after_seconds = 60

    def __init__(self) -> None:
        super().__init__("10,000 pictures are still to be made for you. Ask again once some of them are there.")


class TakenDown(CopperplateError, code="taken_down", status=410, title="This picture was taken down"):
    """The owner took the picture down: it is not served, and never made again."""

    def __init__(self) -> None:
        super().__init__("The owner of this service took the picture down. It is not made again.")


class NotEnoughCredits(CopperplateError, code="not_enough_credits", status=402, title="There are not enough credits"):
    """The picture is not stored yet, and the caller has no credit to have it generated."""

    def __init__(self, user: UUID | None) -> None:
        super().__init__("This picture has to be made, and that costs a credit. Pictures that are there cost none.")
        self.user = user

    @property
    def payer(self) -> str:
        """Whose credits were asked for, as `LookupOptions.payer` names them."""
        return f"user:{self.user}"


class SpendingRefused(CopperplateError, code="spending_refused", status=402, title="There is no room in the budget"):
    """A picture has to be made, and a budget has no room for it. Pictures that are stored stay free.

    `payer` is whom the refusal concerns; None where it concerns every caller.
    """

    def __init__(self, refusal: Refusal, payer: str | None) -> None:
        super().__init__(_message(refusal))
        self.refusal = refusal
        self.payer = None if refusal.is_of_house else payer
        self.retry_after_seconds = max(1, round(refusal.retry_after.total_seconds()))

    @property
    def members(self) -> Mapping[str, object]:
        """What a problem document tells beside its code."""
        refusal = self.refusal
        return {
            "budget": refusal.budget,
            "left_usd": _dollars(refusal.left_micro_usd),
            "left_pictures": refusal.left_pictures,
            "resets_at": None if refusal.resets_at is None else refusal.resets_at.isoformat().replace("+00:00", "Z"),
        }


class BudgetExhausted(SpendingRefused, code="budget_exhausted", status=402, title="The budget is used up"):
    """The budget is used up until it is reset."""


class BudgetInFlight(SpendingRefused, code="budget_in_flight", status=503, title="The rest of the budget is in use"):
    """Pictures that are being made hold what is left of the budget; some of it may come back."""


class TooManyInFlight(SpendingRefused, code="too_many_in_flight", status=429, title="Too many pictures at once"):
    """The caller has as many pictures under way as one caller may."""


class InvalidBatch(InvalidRequest, code="invalid_batch", title="This is not a batch"):
    """The batch has no items, too many, or a member that cannot be read."""


class InvalidItems(InvalidRequest, code="invalid_items", title="Some items of the batch are faulty"):
    """Some items are faulty, and nothing was done. `faults` are their indexes, from 0, each with its error."""

    def __init__(self, faults: Sequence[tuple[int, CopperplateError]], *, has_more: bool) -> None:
        count = f"At least {len(faults)}" if has_more else f"{len(faults)}"
        super().__init__(f"{count} of the items cannot be read: `items` has the index and the fault of each.")
        self.faults = tuple(faults)

    @property
    def members(self) -> Mapping[str, object]:
        """What a problem document tells beside its code."""
        return {
            "items": [{"index": index, "code": error.code, "detail": str(error)} for index, error in self.faults],
        }


class BatchNeedsName(Forbidden, code="batch_needs_name", title="A batch needs an API key or a sign-in with a name"):
    """Many pictures at once are for callers who can be named: this one signed in without saying who they are."""

    def __init__(self) -> None:
        super().__init__("Send an API key, or sign in with a name. One picture at a time is for everybody.")


class UploadNeedsName(
    Forbidden, code="upload_needs_name", title="A direct upload needs an API key or a sign-in with a name"
):
    """What lies in the store belongs to somebody who can be named: this caller did not say who they are."""

    def __init__(self) -> None:
        super().__init__(
            "Send an API key, or sign in with a name. Smaller files are for everybody: send the file itself."
        )


class AddressNeedsName(
    Forbidden, code="address_needs_name", title="Fetching a picture needs an API key or a sign-in with a name"
):
    """Pictures are fetched by address for callers who can be named: this one signed in without saying who they are."""

    def __init__(self) -> None:
        super().__init__("Send the file itself, or an API key, or sign in with a name.")


class WarmingNeedsKey(Forbidden, code="warming_needs_key", title="Warming needs an API key"):
    """Warming is spending ahead of need: whoever was given a key for it decides that, and nobody else."""

    def __init__(self) -> None:
        super().__init__("Send an API key with the scope `generate`: a sign-in warms nothing, a newer one neither.")


class MemojiNeedsSignIn(Forbidden, code="memoji_needs_sign_in", title="A memoji needs a sign-in"):
    """A memoji is paid by a credit of somebody who is signed in, and an API key has none."""

    def __init__(self) -> None:
        super().__init__("Send the access token of somebody who is signed in: an API key has no credits.")


class NotOwner(Forbidden, code="not_owner", title="Somebody else asked for this batch"):
    """Only who asked for a batch may cancel it."""

    def __init__(self) -> None:
        super().__init__("Only who asked for a batch may cancel it.")


class InvalidEventToken(Forbidden, code="invalid_event_token", title="The token of this stream is not valid"):
    """The token in the address of a stream does not permit to watch this, or does so no more."""


class TooManyStreams(CopperplateError, code="too_many_streams", status=503, title="Too many streams are followed here"):
    """This process holds as many streams as it may."""

    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__("Ask for the status instead, or for the stream again after Retry-After.")


class TooManyStreamsOfAddress(
    CopperplateError, code="too_many_streams_of_address", status=429, title="Too many streams from one address"
):
    """This address follows as many streams of this process as one address may."""

    retry_after_seconds = 5

    def __init__(self, most: int) -> None:
        super().__init__(f"One address may follow {most} streams at once. Close one, or ask for the status instead.")


class TooManyFetches(CopperplateError, code="too_many_fetches", status=503, title="Too many pictures are fetched here"):
    """This process fetches as many pictures by address as it may."""

    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__("Send the file itself, or the address again after Retry-After.")


class TooManyFetchesOfCaller(
    CopperplateError, code="too_many_fetches_of_caller", status=429, title="Too many fetches for one caller"
):
    """This process fetches as many pictures for this caller as for one it may."""

    retry_after_seconds = 5

    def __init__(self, most: int) -> None:
        super().__init__(f"At most {most} at once is fetched for you. Send the file itself, or this after Retry-After.")


_OFFERED: Final = "You were offered {most} uploads. Process them, or ask for another one after Retry-After."


class TooManyUploadsOfCaller(
    CopperplateError, code="too_many_uploads_of_caller", status=429, title="Too many uploads for one caller"
):
    """This process offered this caller as many direct uploads as it may, or reads and holds as many of theirs."""

    def __init__(self, most: int, retry_after_seconds: int, message: str = _OFFERED) -> None:
        super().__init__(message.format(most=most))
        self.retry_after_seconds = retry_after_seconds


_MESSAGES: Final[Mapping[RefusalReason, str]] = {
    RefusalReason.USED_UP: "This picture has to be made, and {whose} is used up. Pictures that are stored are free.",
    RefusalReason.IN_FLIGHT: "Pictures that are being made hold the rest of {whose}. Ask again after Retry-After.",
    RefusalReason.TOO_MANY: "You have as many pictures under way as one caller may. Ask again after Retry-After.",
}
# Where the cap is zero: midnight changes nothing.
_CLOSED_TO: Final[Mapping[str, str]] = {
    "all": "new pictures here",
    "anonymous": "callers whom this service does not know",
    "address": "callers whom this service does not know",
    "user": "you",
    "key": "this API key",
    "link": "signed URLs",
}
_ERRORS: Final[Mapping[RefusalReason, type[SpendingRefused]]] = {
    RefusalReason.USED_UP: BudgetExhausted,
    RefusalReason.IN_FLIGHT: BudgetInFlight,
    RefusalReason.TOO_MANY: TooManyInFlight,
}


def error_of(refusal: Refusal, payer: str | None) -> SpendingRefused:
    """The error of a refusal; `payer` is whose budgets were asked."""
    return _ERRORS[refusal.reason](refusal, payer)


def _message(refusal: Refusal) -> str:
    kind = refusal.budget.removeprefix(PREPAID).partition(":")[0]
    if refusal.is_closed:
        whom = _CLOSED_TO.get(kind, "this model")
        return f"This picture has to be made, and nothing is set aside for {whom}. Pictures that are stored are free."
    return _MESSAGES[refusal.reason].format(whose=_whose(kind))


def _whose(kind: str) -> str:
    return {
        "all": "the budget of this service",
        "anonymous": "what this service spends for callers it does not know",
        "address": "what this service spends for one address it does not know",
        "user": "your budget",
        "key": "the budget of this API key",
        "link": "the budget of signed URLs",
    }.get(kind, "the budget of this model")


def _dollars(micro_usd: int | None) -> float | None:
    return None if micro_usd is None else micro_usd / 1_000_000
