"""Until when an address to upload to is good, as the token in it says."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime


def expiry_in(token: str) -> datetime:
    """The time `exp` of a JWT (RFC 7519), which Storage has signed and alone verifies.

    Raises LookupError, TypeError or ValueError where it has none.
    """
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return datetime.fromtimestamp(int(claims["exp"]), UTC)
