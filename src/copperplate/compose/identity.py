"""Which verifier checks the tokens of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.compose.installed import not_installed

if TYPE_CHECKING:
    from copperplate.ports import Clock, Verifier
    from copperplate.settings import Settings


def make_verifier(settings: Settings, clock: Clock) -> Verifier:
    """The verifier of tokens: by the Supabase project's keys, and its legacy secret where that is set.

    Where there is neither, every sign-in is refused with a message that names what to set. Nothing is imported before
    the first token.
    """
    from copperplate.adapters.supabase.keys import SigningKeys
    from copperplate.adapters.supabase.users import LOCAL_ISSUER, NobodySignsIn, SupabaseUsers

    if settings.supabase_url is None and settings.supabase_jwt_secret is None:
        return NobodySignsIn("set SUPABASE_URL (and SUPABASE_JWT_SECRET for a legacy project)")
    if missing := not_installed("users", "jwt", "cryptography", "httpx"):
        return NobodySignsIn(missing)
    url = settings.supabase_url
    return SupabaseUsers(
        issuer=LOCAL_ISSUER if url is None else f"{url}/auth/v1",
        keys=None if url is None else SigningKeys(f"{url}/auth/v1/.well-known/jwks.json", clock),
        secret=settings.supabase_jwt_secret,
        clock=clock,
    )
