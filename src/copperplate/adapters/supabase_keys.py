"""How a Supabase key is sent. Both generations are known by their form."""

from __future__ import annotations


def key_headers(key: str) -> dict[str, str]:
    """The headers that carry `key`.

    A legacy key is a JWT and goes into `Authorization` too. `sb_secret_…` is none: the services refuse
    it there, and the gateway puts in its place what they want.
    """
    return {"apikey": key} if key.startswith("sb_") else {"apikey": key, "Authorization": f"Bearer {key}"}
