"""What Supabase Storage and the way to it say when something is wrong, and what that means to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
import httpx

from copperplate.errors import ObjectConflict, ObjectMissing, StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

Ours: TypeAlias = ObjectConflict | ObjectMissing | StoreMisconfigured | StoreUnavailable
Row: TypeAlias = tuple[frozenset[str | int], type[Ours], bool, str]

# The first row that shares a mark with the answer decides: what it means, whether the same call may
# succeed if it is sent again, and what to say. Marks are the words of Storage's body (`code`, which
# not every release sends, and `error`, which storage3 keeps) and the status, the body's before HTTP's.
REFUSALS: Final[tuple[Row, ...]] = (
    # Only in Storage's own words: a gateway's 404 must never pass for a lost object.
    (frozenset({"NoSuchKey", "not_found"}), ObjectMissing, False, "has no object at that path"),
    (
        frozenset({"NoSuchBucket", "Bucket not found"}),
        StoreMisconfigured,
        False,
        (
            "does not exist: run `copperplate migrate` with DATABASE_URL set, or create it in the Supabase dashboard "
            "(to a key that expired, none exists)"
        ),
    ),
    (
        frozenset({"KeyAlreadyExists", "ResourceAlreadyExists", "Duplicate"}),
        ObjectConflict,
        False,
        "holds other bytes at that path",
    ),
    (
        frozenset({"EntityTooLarge", "Payload too large", 413}),
        StoreMisconfigured,
        False,
        "takes no object of this size: raise its size limit, or the project's, in the Supabase dashboard",
    ),
    (
        frozenset({"InvalidMimeType", "invalid_mime_type", 415}),
        StoreMisconfigured,
        False,
        "does not take pictures: allow image/jpeg, image/png, image/webp and image/avif in the Supabase dashboard",
    ),
    (
        frozenset({"InvalidJWT", "AccessDenied", "Unauthorized", 401, 403}),
        StoreMisconfigured,
        False,
        "refuses our key: set SUPABASE_SECRET_KEY to the project's secret key (sb_secret_…)",
    ),
    (frozenset({404}), StoreUnavailable, False, "was not asked: no Storage at SUPABASE_URL, or it is paused"),
    (
        frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504, *range(520, 528), 530, 540, 544}),
        StoreUnavailable,
        True,
        "is not served at the moment",
    ),
    (frozenset(), StoreUnavailable, False, "gave an answer we do not know"),
)
# What is raised instead of an answer; every path is written once, so any call may be sent again.
ERRORS: Final[tuple[tuple[type[Exception], bool, str], ...]] = (
    (httpx.TimeoutException, True, "did not answer in time"),
    (TimeoutError, True, "did not answer in time"),
    (httpx.UnsupportedProtocol, False, "is not at SUPABASE_URL: that is no https address"),
    (httpx.TransportError, True, "cannot be reached, or the connection broke"),
    (httpx.HTTPError, True, "gave an answer we cannot read"),
    (httpx.InvalidURL, False, "is not at SUPABASE_URL: that is no address"),
    (httpx.StreamError, True, "gave an answer we cannot read"),
    # What the transport below httpx leaves as it is.
    (aiohttp.ClientError, True, "cannot be reached, or the connection broke"),
    # Of a body that is not the JSON it should be.
    (ValueError, True, "gave an answer we cannot read"),
    (LookupError, True, "gave an answer we cannot read"),
    (TypeError, True, "gave an answer we cannot read"),
)


def refusal(bucket: str, *marks: object) -> tuple[Ours, bool]:
    """Our error for an answer with these marks, and whether the call may be sent again."""
    given = {int(mark) if str(mark).isdecimal() else mark for mark in map(str, marks)}
    for known, ours, again, meaning in REFUSALS:
        if not known or known & given:
            return ours(f"bucket {bucket} {meaning}"), again
    raise AssertionError("the last row takes everything")


def marks_of(status: int, body: Mapping[str, object]) -> tuple[object, ...]:
    """The marks of an answer that was read by ourselves."""
    return body.get("code"), body.get("error"), body.get("statusCode", status)


def trouble(bucket: str, error: Exception) -> tuple[StoreUnavailable, bool]:
    """Our error where there was no answer that can be read, and whether the call may be sent again."""
    for foreign, again, meaning in ERRORS:
        if isinstance(error, foreign):
            return StoreUnavailable(f"bucket {bucket} {meaning} ({type(error).__name__})"), again
    raise error
