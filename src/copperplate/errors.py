"""Every error Copperplate raises on purpose.

CopperplateError
├── InvalidRequest            the caller can mend it; 400
│   ├── InvalidText           empty, too long, or not text
│   ├── InvalidSize           a side outside 64 to 2048
│   ├── InvalidFormat         not jpg, jpeg, png or webp
│   ├── InvalidSeed           not a whole number below 2^64
│   ├── InvalidModel          not a model this deployment offers
│   ├── InvalidConfiguration  not a memoji's configuration
│   ├── InvalidQuery          not UTF-8, repeated, or contradicting parameters
│   ├── InvalidHost           no Host, two, or one that is not ours where it would make an address
│   ├── UnknownParameter      one that a request which changes something does not know
│   ├── InvalidBody           not a JSON object, cut off, or slow
│   ├── BodyTooLarge          more than a wish can need; 413
│   ├── UnsupportedMediaType  a body that is not declared as JSON; 415
│   └── InvalidIdempotencyKey   empty, too long, or not printable ASCII
├── NotEnoughCredits          a picture has to be made, and its maker cannot pay; 402
├── IdempotencyConflict       the Idempotency-Key stands for another request; 409
├── PictureGone               what was delivered under an Idempotency-Key was removed since; 410
├── Unauthorized              the bearer secret, or a person's token, is missing or not valid; 401
├── NotFound                  no such page; 404
├── MethodNotAllowed          the page is there, the method is not; 405
├── NotGenerated              no picture yet, and this request may not make one; 404
├── GenerationFailed          the provider would not or could not; 422, 502 or 503 by class
├── StillGenerating           the wait is over, the generation goes on; 503
├── TooManyWaiters            the process holds enough waiters for this key; 503
├── Unavailable               something we need does not answer; 503
│   ├── LedgerUnavailable     the database
│   │   └── PoolerExhausted   a pooler in front of it, which has lent every session
│   ├── StoreUnavailable      the object store
│   │   └── FolderUnavailable  a folder that is one
│   ├── CdnUnavailable        the CDN, when it is to forget pictures
│   └── KeysUnavailable       Supabase Auth, whose keys tell who a token is from
├── Misconfigured             settings are missing or wrong; 503
│   ├── LedgerMisconfigured   those of the database; the generation is resumed
│   └── StoreMisconfigured    those of the object store; the generation is resumed
└── Signal                    never leaves the coordinator
    ├── LeaseLost             another holder has a higher fence: stop
    ├── ObjectMissing         the store has no object at that path
    ├── ObjectConflict        the path is taken by other bytes
    ├── ProviderFailed        one attempt failed, with its class
    └── Uncollected           a paid job's picture cannot be had yet
"""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta
    from uuid import UUID

    from copperplate.model import FailureClass


class CopperplateError(Exception):
    """Base of every error raised on purpose; `str()` of it is safe to show to the caller, but for `Unavailable`.

    `code` is stable and machine-readable, `status` the HTTP status, `retry_after_seconds` the pause
    after which the same request may be sent again (None where repeating it cannot help).
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"
    retry_after_seconds: int | None = None

    @property
    def http_status(self) -> int:
        """HTTP status of this very error; a class default unless the error decides it itself."""
        return self.status


class InvalidRequest(CopperplateError):
    """The caller can mend it; the message says how."""

    code = "invalid_request"
    status = 400
    title = "The request is not valid"


class InvalidText(InvalidRequest):
    """The prompt is empty, too long, or not text."""

    code = "invalid_text"
    title = "The text is not usable as a prompt"


class InvalidSize(InvalidRequest):
    """A side lies outside the sizes that are made."""

    code = "invalid_size"
    title = "The size is not offered"


class InvalidFormat(InvalidRequest):
    """The format is not one that is served."""

    code = "invalid_format"
    title = "The format is not offered"


class InvalidSeed(InvalidRequest):
    """The seed is not a whole number below 2^64."""

    code = "invalid_seed"
    title = "The seed is not valid"


class InvalidModel(InvalidRequest):
    """The model is not one that this deployment offers."""

    code = "invalid_model"
    title = "The model is not offered"


class InvalidConfiguration(InvalidRequest):
    """A memoji's configuration has a field or a value nobody knows."""

    code = "invalid_configuration"
    title = "The memoji's configuration is not valid"


class InvalidQuery(InvalidRequest):
    """The query cannot be read, or says two things at once."""

    code = "invalid_query"
    title = "The query cannot be read"


class InvalidHost(InvalidRequest):
    """The request names no host, several, or one that is not known to be this server's."""

    code = "invalid_host"
    title = "The host of the request is not usable"


class UnknownParameter(InvalidRequest):
    """A request that changes something brings a parameter that is not known: it may mean something else."""

    code = "unknown_parameter"
    title = "A parameter is not known, and nothing was done"


class InvalidBody(InvalidRequest):
    """The body is no JSON object, or did not arrive."""

    code = "invalid_body"
    title = "The body cannot be read"


class BodyTooLarge(InvalidRequest):
    """The body is larger than any wish."""

    code = "body_too_large"
    status = 413
    title = "The body is too large"


class UnsupportedMediaType(InvalidRequest):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415
    title = "The body must be JSON"


class InvalidIdempotencyKey(InvalidRequest):
    """The Idempotency-Key is empty, too long, repeated, or not printable ASCII."""

    code = "invalid_idempotency_key"
    title = "The Idempotency-Key is not usable"


class Unauthorized(CopperplateError):
    """The bearer secret, or a person's token, is missing or not valid.

    `challenge` is what `WWW-Authenticate` says (RFC 6750, section 3).
    """

    challenge: str = "Bearer"

    code = "unauthorized"
    status = 401
    title = "This needs a secret or a sign-in"


class NotEnoughCredits(CopperplateError):
    """The picture is not there yet, and whoever asks has no credit to have it made."""

    code = "not_enough_credits"
    status = 402
    title = "There are not enough credits"

    def __init__(self, user: UUID | None) -> None:
        super().__init__("This picture has to be made, and that costs a credit. Pictures that are there cost none.")
        self.user = user


class IdempotencyConflict(CopperplateError):
    """The Idempotency-Key was sent before, with another wish."""

    code = "idempotency_conflict"
    status = 409
    title = "This Idempotency-Key stands for another request"


class PictureGone(CopperplateError):
    """The picture that was delivered under an Idempotency-Key was removed since."""

    code = "picture_gone"
    status = 410
    title = "The picture that was delivered is gone"


class NotFound(CopperplateError):
    """There is no such page."""

    code = "not_found"
    status = 404
    title = "There is nothing at this address"


class MethodNotAllowed(CopperplateError):
    """The page is there, the method is not; `allowed` lists those that are, as in `Allow`."""

    code = "method_not_allowed"
    status = 405
    title = "The method is not offered here"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Use {allowed}.")
        self.allowed = allowed


class NotGenerated(CopperplateError):
    """There is no such picture yet, and this request may not make one."""

    code = "not_generated"
    status = 404
    title = "This picture has not been made yet"


class GenerationFailed(CopperplateError):
    """The picture could not be made; a negative entry remembers it until `retry_after_seconds` have passed."""

    code = "generation_failed"
    title = "The picture could not be made"

    def __init__(self, failure_class: FailureClass, retry_after: timedelta) -> None:
        super().__init__(failure_class.public_message)
        self.failure_class = failure_class
        self.retry_after_seconds = max(1, round(retry_after.total_seconds()))

    @property
    def http_status(self) -> int:
        """422 where the prompt is at fault, 502 for unusable output, 503 where waiting helps."""
        return self.failure_class.http_status


_UNCOLLECTED = "The provider was asked for the picture and it could not be fetched yet. Ask again after Retry-After."


class StillGenerating(CopperplateError):
    """The wait is over; the generation goes on and a later request will find its picture.

    With a `rest`: the picture is paid for, and the request that is sent after so long fetches it.
    """

    code = "still_generating"
    status = 503
    title = "The picture is still being made"
    retry_after_seconds = 5

    def __init__(self, rest: timedelta | None = None) -> None:
        super().__init__(*(() if rest is None else (_UNCOLLECTED,)))
        if rest is not None:
            self.retry_after_seconds = max(1, round(rest.total_seconds()))


class TooManyWaiters(CopperplateError):
    """This process already holds as many waiters for this picture as it may."""

    code = "too_many_waiters"
    status = 503
    title = "Too many requests wait for this picture"
    retry_after_seconds = 5


class Unavailable(CopperplateError):
    """Something Copperplate needs does not answer. Its message may name paths and is for the log only."""

    code = "unavailable"
    status = 503
    title = "A service we need does not answer"
    retry_after_seconds = 5


class LedgerUnavailable(Unavailable):
    """The database does not answer."""

    code = "ledger_unavailable"
    title = "The database does not answer"


class PoolerExhausted(LedgerUnavailable):
    """A pooler in front of the database takes connections, and has no session of the database left for them."""

    code = "pooler_exhausted"
    title = "The database has no session free"


class StoreUnavailable(Unavailable):
    """The object store does not answer, or refuses."""

    code = "store_unavailable"
    title = "The object store does not answer"


class FolderUnavailable(StoreUnavailable):
    """The folder that pictures are kept in takes or gives nothing: a full disk, a missing right."""

    code = "folder_unavailable"
    title = "The folder of pictures cannot be used at the moment"


class CdnUnavailable(Unavailable):
    """The CDN did not forget what it was told to; its copies end with their hour."""

    code = "cdn_unavailable"
    title = "The CDN does not answer"


class KeysUnavailable(Unavailable):
    """Who a token is from cannot be told: the keys it may be signed with are not to be had."""

    code = "keys_unavailable"
    title = "Nobody can be recognised at the moment"


class Misconfigured(CopperplateError):
    """Settings are missing or wrong; the message names every one of them."""

    code = "misconfigured"
    status = 503
    title = "Copperplate is not configured"


class LedgerMisconfigured(Misconfigured):
    """The database refuses because of a setting or a right; a generation is not given up for it, but resumed later."""

    code = "ledger_misconfigured"
    title = "The database is not configured"


class StoreMisconfigured(Misconfigured):
    """The object store refuses because of a setting; a generation is not given up for it, but resumed later."""

    code = "store_misconfigured"
    title = "The object store is not configured"


class Signal(CopperplateError):
    """Tells the coordinator something; never reaches a caller."""


class LeaseLost(Signal):
    """Another holder has a higher fence, or ours ran out: stop before the next act."""


class ObjectMissing(Signal):
    """The store has no object at that path, or other bytes than were recorded."""


class ObjectConflict(Signal):
    """The path is taken by other bytes; paths are never overwritten."""


class ProviderFailed(Signal):
    """One attempt at a provider failed.

    `billed` is False only where the provider is known not to charge for it. `retry_after` is the
    provider's own wish, already bounded. The message goes to the ledger, never to a caller or a log.
    `usage` is what was reported to bill for a picture that turned out not to be usable. `said` is all that the
    service said, of which the message may show a part; where that repeats the prompt, an operator reads `discreet`.
    `of_model` is True where the service refuses the model that was named, and may take another.
    """

    usage: Mapping[str, int] = MappingProxyType({})
    said: str = ""
    discreet: str = ""
    of_model: bool = False

    def __init__(
        self,
        failure_class: FailureClass,
        message: str,
        *,
        billed: bool = True,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.billed = billed
        self.retry_after = retry_after


class Uncollected(Signal):
    """The picture of a noted job cannot be had now, which says nothing about the job: it stays noted.

    The message goes to the log and the ledger: it names a host or a status, and quotes no prompt.
    `needs_operator` where a key or a setting is in the way.
    """

    def __init__(self, message: str, *, needs_operator: bool = False) -> None:
        super().__init__(message)
        self.needs_operator = needs_operator


@contextmanager
def reporting(usage: Mapping[str, int]) -> Iterator[None]:
    """What a picture that turns out not to be usable was billed goes with its failure."""
    try:
        yield
    except ProviderFailed as failed:
        failed.usage = usage
        raise
