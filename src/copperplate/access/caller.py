"""One caller, as a request identifies them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copperplate.api_keys import ApiKey
    from copperplate.model import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request. Without a key, a user or a signature: somebody nobody knows, at an address.

    `address` is an IPv4 address, an IPv6 network of 64 bits, or `unknown`. Key and user were verified. `is_owner` is
    true of the owner's own tools alone, which no request over HTTP is.
    """

    address: str = field(default="unknown", repr=False)
    key: ApiKey | None = None
    user: User | None = None
    is_owner: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether neither a key nor a sign-in says who this is."""
        return self.key is None and self.user is None and not self.is_owner


# Who runs the command line: whoever can, has the database's password.
THE_OWNER: Final = Caller(is_owner=True)
