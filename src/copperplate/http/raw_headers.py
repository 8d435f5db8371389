"""Headers as ASGI has them."""

from __future__ import annotations

RawHeaders = list[tuple[bytes, bytes]]
