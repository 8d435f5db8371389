"""Signed URLs: whoever holds one may have its picture made until it expires (ADR 0045). Pure: no clock, no I/O.

What is signed is the generation's key, not the URL's spelling: every spelling, format and size of one generation shares
a signature, and what enters no key stays outside it.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from copperplate.errors import InvalidQuery, Misconfigured, NotFound
from copperplate.recipes.image import DEFAULT_MODEL, standard_settings
from copperplate.recipes.url import (
    UrlSignature,
    in_format,
    parse_picture_query,
    parse_picture_url,
    split_url,
    without_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from copperplate.model import PictureRequest

# Expiry is rounded up to it, so that addresses signed within an hour are one address to a CDN.
EXPIRY_STEP: Final = timedelta(hours=1)
_EXPIRY_STEP_SECONDS: Final = int(EXPIRY_STEP.total_seconds())
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION: Final = "copperplate-url-v1"
# ASCII only, and fullmatch: `\d` takes digits of every script, `$` a line break.
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,11}")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# What may stand in a query as it is (RFC 3986), and the percent sign of what is encoded already.
_QUERY_SAFE: Final = "!$&'()*+,;=:@/?-._~%"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One secret and the id by which URLs name it."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of a deployment, none to two: the first signs, each verifies."""

    keys: tuple[SigningKey, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]] | None) -> SigningKeys:
        """From ids and secrets, as the setting has them."""
        return cls(tuple(SigningKey(key_id=key_id, secret=secret) for key_id, secret in pairs or ()))

    def find(self, key_id: str) -> SigningKey | None:
        """The key of that id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def signing_key(self, key_id: str | None = None) -> SigningKey:
        """The key of that id, else the first; raises `Misconfigured` where there is none."""
        if not self.keys:
            raise Misconfigured("COPPERPLATE_URL_SIGNING_KEYS is not set: there is no key to sign with.")
        if key_id is None:
            return self.keys[0]
        if (found := self.find(key_id)) is None:
            raise Misconfigured(f"COPPERPLATE_URL_SIGNING_KEYS has no key {key_id!r}.")
        return found


class Verdict(StrEnum):
    """What a signature is worth."""

    VALID = "valid"
    EXPIRED = "expired"  # one of ours, and its time is over
    FORGED = "forged"  # incomplete, in a wrong form, by an unknown key, or of another picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, and the id of the key that signed; None where none of ours did."""

    verdict: Verdict
    key_id: str | None = None


_FORGED: Final = Judgement(verdict=Verdict.FORGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUrl:
    """A picture's URL with its signature, ready to be handed out, and what was signed."""

    url: str = field(repr=False)
    picture_request: PictureRequest
    key_id: str
    expires_at: datetime


def round_expiry(expires_at: datetime) -> datetime:
    """The full hour (UTC) at or after a time."""
    return _EPOCH - (_EPOCH - expires_at) // EXPIRY_STEP * EXPIRY_STEP


def sign(generation_key: str, key: SigningKey, expires_at: datetime) -> UrlSignature:
    """The signature of one generation by one key; `expires_at`, an aware time, is rounded up to the hour."""
    expires = str((round_expiry(expires_at) - _EPOCH) // timedelta(seconds=1))
    if _EXPIRES.fullmatch(expires) is None:
        raise ValueError("a signature expires after 1970")
    return UrlSignature(key_id=key.key_id, expires=expires, signature=_mac(generation_key, key, expires))


def verify(signature: UrlSignature, generation_key: str, *, keys: SigningKeys, now: datetime) -> Judgement:
    """Judge what a URL brought against the generation that it asks for; never raises, whatever it is given."""
    key = keys.find(signature.key_id)
    if (
        key is None
        or _SIGNATURE.fullmatch(signature.signature) is None
        or _EXPIRES.fullmatch(signature.expires) is None
        or int(signature.expires) % _EXPIRY_STEP_SECONDS
    ):
        return _FORGED
    # Text against text: of the four spellings base64 has for the last byte's spare bits, ours is one.
    if not hmac.compare_digest(_mac(generation_key, key, signature.expires), signature.signature):
        return _FORGED
    is_over = now.timestamp() >= int(signature.expires)
    return Judgement(verdict=Verdict.EXPIRED if is_over else Verdict.VALID, key_id=key.key_id)


def sign_url(
    url: str,
    *,
    key: SigningKey,
    expires_at: datetime,
    default_model: str = DEFAULT_MODEL,
    model_parameters: Callable[[str], Iterable[str]] = standard_settings,
) -> SignedUrl:
    """Sign a picture's URL, or the path and query of one; a signature that it has is replaced.

    What is signed is what a server with this default model and these fixed parameters makes of it. Raises `NotFound`
    where it is no picture's URL, and the `InvalidRequest` that a server would answer.
    """
    address, _, fragment = url.partition("#")
    path, query = split_url(address)
    kept = _unsigned(query)
    parsed = parse_picture_url(
        in_format(unquote(path)), kept.encode(), default_model=default_model, model_parameters=model_parameters
    )
    if parsed is None:
        raise NotFound("This is not a picture's address. Those read /1024x1024.jpg?text=A%20beautiful%20sunset")
    signature = sign(parsed.picture_request.generation_key, key, expires_at)
    signed_query = f"{kept}&{signature.as_query()}"
    parse_picture_query(signed_query.encode())  # its limits hold with the signature too
    return SignedUrl(
        url=f"{address.partition('?')[0]}?{signed_query}" + (f"#{fragment}" if fragment else ""),
        picture_request=parsed.picture_request,
        key_id=key.key_id,
        expires_at=round_expiry(expires_at),
    )


def _unsigned(query: str) -> str:
    """A query without a signature, as it may be sent: what no URL can hold is percent-encoded, and means the same."""
    try:
        encoded = quote(query, safe=_QUERY_SAFE)
    except UnicodeEncodeError as exc:
        raise InvalidQuery("The address holds half a character (a lone surrogate). Send it as UTF-8.") from exc
    return "&".join(part for part in without_signature(encoded).split("&") if part)


def _mac(generation_key: str, key: SigningKey, expires: str) -> str:
    message = f"{_VERSION}\n{key.key_id}\n{expires}\n{generation_key}"
    digest = hmac.digest(key.secret.encode(), message.encode(), "sha256")
    return urlsafe_b64encode(digest)[:43].decode()
