"""Every error Copperplate raises on purpose.

CopperplateError
├── InvalidRequest            the caller can mend it; 400
│   ├── InvalidText           empty, too long, or not text
│   ├── InvalidSize           a side outside 64 to 2048
│   ├── InvalidFormat         not jpg, jpeg, png, webp or avif
│   ├── InvalidDisplay        a width, height, fit or quality that is not offered
│   ├── InvalidSeed           not a whole number below 2^64
│   ├── InvalidModel          not a model this deployment offers
│   ├── InvalidConfiguration  not a memoji's configuration
│   ├── InvalidQuery          not UTF-8, repeated, or contradicting parameters
│   ├── InvalidHost           no Host, two, or one that is not ours where it would make an address
│   ├── UnknownParameter      one that a request which changes something does not know
│   ├── InvalidBody           not a JSON object, cut off, or slow
│   ├── BodyTooLarge          more than a request can need; 413
│   ├── UnsupportedMediaType  a body that is not declared as what the route takes; 415
│   ├── InvalidIdempotencyKey   empty, too long, or not printable ASCII
│   └── UnsatisfiableRange    a part of a picture that begins behind its end; 416
├── IdempotencyConflict       the Idempotency-Key stands for another request; 409
├── PictureGone               what was delivered under an Idempotency-Key was removed since; 410
├── Unauthorized              the bearer secret, or a person's token, is missing or not valid; 401
├── NotFound                  no such page; 404
├── MethodNotAllowed          the page is there, the method is not; 405
├── NotGenerated              no picture yet, and this request may not make one; 404
├── NotCached                 nothing is stored, and the request wants nothing made; 504
├── GenerationFailed          the provider would not or could not; 422, 502 or 503 by class
├── StillGenerating           the wait is over, the generation goes on; 503
├── TooManyWaiters            the process holds enough waiters for this key; 503
├── Unavailable               something we need does not answer; 503
│   ├── LedgerUnavailable     the database
│   │   └── PoolerExhausted   a pooler in front of it has no session free
│   ├── StoreUnavailable      the object store
│   │   └── FolderUnavailable  a folder that is one
│   ├── CdnUnavailable        the CDN, at a purge
│   ├── RedisUnavailable      Redis, at a purge; elsewhere it is done without
│   └── KeysUnavailable       Supabase Auth, whose keys verify tokens
├── (source_errors.py)        pictures that are brought to be processed; 400, 404, 413, 415
├── (denials.py)              access, spending, batches, streams; 400, 401, 402, 403, 410, 429, 503
├── Misconfigured             settings are missing or wrong; 503
│   ├── LedgerMisconfigured   those of the database; the generation is resumed
│   └── StoreMisconfigured    those of the object store; the generation is resumed
└── Signal                    never leaves the coordinator
    ├── LeaseLost             another holder has a higher fence: stop
    ├── ObjectMissing         the store has no object at that path
    ├── ObjectConflict        the path is taken by other bytes
    ├── ProviderFailed        one attempt failed, with its class
    │   └── NoPicture         what came is no whole picture
    └── Uncollected           a paid job's picture cannot be had yet
"""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from copperplate.failure_classes import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta


class CopperplateError(Exception):
    """Base of every error raised on purpose; `str()` of it is safe to show to the caller, but for `Unavailable`.

    `code` is stable and machine-readable, `status` the HTTP status, `retry_after_seconds` the pause
    after which the same request may be sent again (None where repeating it cannot help).
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"
    retry_after_seconds: int | None = None

    # A leaf gives these three as class arguments, in one line; what it leaves out is its parent's.
    def __init_subclass__(cls, *, code: str = "", status: int = 0, title: str = "") -> None:
        super().__init_subclass__()
        cls.code, cls.status, cls.title = code or cls.code, status or cls.status, title or cls.title

    @property
    def http_status(self) -> int:
        """HTTP status of this very error; a class default unless the error decides it itself."""
        return self.status

    @property
    def members(self) -> Mapping[str, object]:
        """What a problem document tells beside code, title and message."""
        return {}


class InvalidRequest(CopperplateError, code="invalid_request", status=400, title="The request is not valid"):
    """The caller can mend it; the message says how."""


class InvalidText(InvalidRequest, code="invalid_text", title="The text is not usable as a prompt"):
    """The prompt is empty, too long, or not text."""


class InvalidSize(InvalidRequest, code="invalid_size", title="The size is not offered"):
    """A side lies outside the sizes that are made."""


class InvalidFormat(InvalidRequest, code="invalid_format", title="The format is not offered"):
    """The format is not one that is served."""


class InvalidDisplay(InvalidRequest, code="invalid_display", title="The display parameters are not valid"):
    """A width, height, fit or quality is in a wrong form, or they contradict each other."""


class InvalidSeed(InvalidRequest, code="invalid_seed", title="The seed is not valid"):
    """The seed is not a whole number below 2^64."""


class InvalidModel(InvalidRequest, code="invalid_model", title="The model is not offered"):
    """The model is not one that this deployment offers."""


class InvalidConfiguration(
    InvalidRequest, code="invalid_configuration", title="The memoji's configuration is not valid"
):
    """A memoji's configuration has an unknown field or value."""


class InvalidQuery(InvalidRequest, code="invalid_query", title="The query cannot be read"):
    """The query cannot be read, or says two things at once."""


class InvalidHost(InvalidRequest, code="invalid_host", title="The host of the request is not usable"):
    """The request names no host, several, or one that is not known to be this server's."""


class UnknownParameter(
    InvalidRequest, code="unknown_parameter", title="A parameter is not known, and nothing was done"
):
    """A request that changes something brings a parameter that is not known: it may be meant as a restriction."""


class InvalidBody(InvalidRequest, code="invalid_body", title="The body cannot be read"):
    """The body is no JSON object, or did not arrive."""


class BodyTooLarge(InvalidRequest, code="body_too_large", status=413, title="The body is too large"):
    """The body is larger than any request needs."""


class UnsupportedMediaType(
    InvalidRequest, code="unsupported_media_type", status=415, title="The type of the body is not taken here"
):
    """The body is not declared as what the route takes: the message says what that is."""


class InvalidIdempotencyKey(InvalidRequest, code="invalid_idempotency_key", title="The Idempotency-Key is not usable"):
    """The Idempotency-Key is empty, too long, repeated, or not printable ASCII."""


class UnsatisfiableRange(InvalidRequest, code="unsatisfiable_range", status=416, title="The picture has no such part"):
    """The range begins behind the end of a picture of `size_bytes`, or has no bytes."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The picture has {size_bytes} bytes.")
        self.size_bytes = size_bytes


class Unauthorized(CopperplateError, code="unauthorized", status=401, title="No valid credential was sent"):
    """The bearer secret, or a person's token, is missing or not valid.

    `challenge` is what `WWW-Authenticate` says (RFC 6750, section 3).
    """

    challenge: str = "Bearer"


class IdempotencyConflict(
    CopperplateError, code="idempotency_conflict", status=409, title="This Idempotency-Key stands for another request"
):
    """The Idempotency-Key was sent before, with another request."""


class PictureGone(CopperplateError, code="picture_gone", status=410, title="The picture that was delivered is gone"):
    """The picture that was delivered under an Idempotency-Key was removed since."""


class NotFound(CopperplateError, code="not_found", status=404, title="There is nothing at this address"):
    """There is no such page."""


class MethodNotAllowed(CopperplateError, code="method_not_allowed", status=405, title="The method is not offered here"):
    """The page is there, the method is not; `allowed` lists those that are, as in `Allow`."""

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Use {allowed}.")
        self.allowed = allowed


class NotGenerated(CopperplateError, code="not_generated", status=404, title="This picture has not been made yet"):
    """There is no such picture yet, and this request may not make one."""


class NotCached(CopperplateError, code="not_cached", status=504, title="This picture is not stored"):
    """The request asks for what is stored and nothing else (RFC 9111, 5.2.1.7), and nothing is."""


class GenerationFailed(CopperplateError, code="generation_failed", title="The picture could not be made"):
    """The picture could not be made; a negative entry remembers it until `retry_after_seconds` have passed.

    `is_remembered`: the entry was there before this request, which nothing was tried for.
    """

    def __init__(self, failure_class: FailureClass, retry_after: timedelta, *, is_remembered: bool = False) -> None:
        super().__init__(failure_class.public_message)
        self.failure_class = failure_class
        self.is_remembered = is_remembered
        self.retry_after_seconds = max(1, round(retry_after.total_seconds()))

    @property
    def http_status(self) -> int:
        """422 where the prompt is at fault, 502 for unusable output, 503 where waiting helps."""
        return self.failure_class.http_status


_UNCOLLECTED = "The provider was asked for the picture and it could not be fetched yet. Ask again after Retry-After."


class StillGenerating(CopperplateError, code="still_generating", status=503, title="The picture is still being made"):
    """The wait is over; the generation goes on and a later request will find its picture.

    With a `rest`: the picture is paid for, and the request that is sent after so long fetches it.
    """

    retry_after_seconds = 5

    def __init__(self, rest: timedelta | None = None) -> None:
        super().__init__(*(() if rest is None else (_UNCOLLECTED,)))
        self.rest = rest
        if rest is not None:
            self.retry_after_seconds = max(1, round(rest.total_seconds()))


class TooManyWaiters(
    CopperplateError, code="too_many_waiters", status=503, title="Too many requests wait for this picture"
):
    """This process already holds as many waiters for this picture as it may."""

    retry_after_seconds = 5


class Unavailable(CopperplateError, code="unavailable", status=503, title="A service we need does not answer"):
    """Something Copperplate needs does not answer. Its message may name paths and is for the log only."""

    retry_after_seconds = 5


class LedgerUnavailable(Unavailable, code="ledger_unavailable", title="The database does not answer"):
    """The database does not answer."""


class PoolerExhausted(LedgerUnavailable, code="pooler_exhausted", title="The database has no session free"):
    """A pooler in front of the database accepts connections, but has no session of the database free."""


class StoreUnavailable(Unavailable, code="store_unavailable", title="The object store does not answer"):
    """The object store does not answer, or refuses."""


class FolderUnavailable(
    StoreUnavailable, code="folder_unavailable", title="The folder of pictures cannot be used at the moment"
):
    """The folder of pictures cannot be read or written: a full disk, a missing right."""


class CdnUnavailable(Unavailable, code="cdn_unavailable", title="The CDN does not answer"):
    """The CDN did not purge: the outbox tells it again, or its copies expire."""


class RedisUnavailable(Unavailable, code="redis_unavailable", title="Redis does not answer"):
    """The server of `REDIS_URL` cannot be reached, or refuses; pictures are served without it."""


class KeysUnavailable(Unavailable, code="keys_unavailable", title="Nobody can be recognised at the moment"):
    """The signing keys cannot be fetched, so no token can be verified."""


class Misconfigured(CopperplateError, code="misconfigured", status=503, title="Copperplate is not configured"):
    """Settings are missing or wrong; the message names every one of them."""


class LedgerMisconfigured(Misconfigured, code="ledger_misconfigured", title="The database is not configured"):
    """The database refuses because of a setting or a right; a generation is not given up for it, but resumed later."""


class StoreMisconfigured(Misconfigured, code="store_misconfigured", title="The object store is not configured"):
    """The object store refuses because of a setting; a generation is not given up for it, but resumed later."""


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
    `Retry-After` of the provider, already bounded. The message goes to the ledger, never to a caller or a log.
    `usage` is the bill that was reported for an unusable picture. `full_text` is all that the
    service said, of which the message may show a part; where that repeats the prompt, an operator reads `discreet`.
    `of_model` is True where the service refuses the model that was named, and may take another; `of_input` where it
    could not load the picture to work on.
    """

    usage: Mapping[str, int] = MappingProxyType({})
    full_text: str = ""
    discreet: str = ""
    of_model: bool = False
    of_input: bool = False

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


class NoPicture(ProviderFailed):
    """The bytes are no whole picture: cut short on their way, a page in their place, or spoilt for good."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureClass.BAD_OUTPUT, message)


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
    """Add the bill of an unusable picture to the failure that is raised within."""
    try:
        yield
    except ProviderFailed as failed:
        failed.usage = usage
        raise
