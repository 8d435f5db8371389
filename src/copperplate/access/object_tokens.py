"""What permits to load a private object for a while, and shows to whom the name of an upload was given.

Both are HMAC-SHA256 with the secret of the object's store (`ObjectStore.address_secret`). Pure: no clock, no I/O.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Final

from copperplate.denials import InvalidSignature, SignatureExpired

_TOKEN: Final = re.compile(r"([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})")
# Half of a name is random, and half the code that binds it to its owner: 128 bits each.
_HALF: Final = 32
_UPLOAD: Final = re.compile(r"([0-9]{4}/[0-9]{2})/([0-9a-f]{32})([0-9a-f]{32})\.([a-z]{3,4})")
_FORGED: Final = "This address was not made here, or was changed since. Ask for a new one."
_OVER: Final = "The time of this address is over. Ask for a new one."


def object_token(secret: bytes, bucket: str, path: str, expires_at: datetime) -> str:
    """What permits anybody who has it to load this object until then; `expires_at` counts in whole seconds."""
    expires = str(int(expires_at.timestamp()))
    return f"{expires}.{_code_of_object(secret, bucket, path, expires)}"


def seconds_left(token: str, secret: bytes, bucket: str, path: str, now: datetime) -> int:
    """How long a token as received permits this object to be loaded, in s, at least 1.

    Raises `InvalidSignature`, `SignatureExpired`.
    """
    found = _TOKEN.fullmatch(token)
    if found is None or not hmac.compare_digest(_code_of_object(secret, bucket, path, found[1]), found[2]):
        raise InvalidSignature(_FORGED)
    expires_at = datetime.fromtimestamp(int(found[1]), UTC)
    if expires_at <= now:
        raise SignatureExpired(_OVER)
    return max(1, int((expires_at - now).total_seconds()))


def name_upload(secret: bytes, owner: str, *, now: datetime, ending: str) -> str:
    """A new name `YYYY/MM/<64 hexadecimal digits>.<ending>`: nobody can guess it, and it shows for whom it was made."""
    month, nonce = f"{now:%Y/%m}", secrets.token_hex(_HALF // 2)
    return f"{month}/{nonce}{_code_of_upload(secret, owner, month, nonce, ending)}.{ending}"


def is_upload_of(owner: str, path: str, secret: bytes) -> bool:
    """Whether a name was made for this owner by `name_upload`."""
    found = _UPLOAD.fullmatch(path)
    if found is None:
        return False
    month, nonce, code, ending = found.groups()
    return hmac.compare_digest(_code_of_upload(secret, owner, month, nonce, ending), code)


def _code_of_object(secret: bytes, bucket: str, path: str, expires: str) -> str:
    digest = hmac.digest(secret, f"object\n{bucket}\n{path}\n{expires}".encode(), "sha256")
    return urlsafe_b64encode(digest)[:43].decode()


def _code_of_upload(secret: bytes, owner: str, *name: str) -> str:
    text = "\n".join(("upload", owner, *name))
    return hmac.digest(secret, text.encode(), "sha256").hex()[:_HALF]
