"""The cleanup route: Vercel's cron calls it with GET, people with POST."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request

from copperplate.care import clean
from copperplate.errors import Misconfigured, Unauthorized
from copperplate.http import schemas
from copperplate.http.api import PROBLEMS, Served, fresh

if TYPE_CHECKING:
    from copperplate.settings import Settings

router = APIRouter(dependencies=[Depends(fresh)])


@router.get("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
@router.post("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
async def clean_up(request: Request, services: Served) -> schemas.CleanupAnswer:
    """Remove what was not served for 30 days, with its objects. Needs `Authorization: Bearer <CRON_SECRET>`.

    Runs may overlap and may be repeated; each ends within four minutes, and the next one goes on.
    """
    _authorise(request, services.settings)
    cleaned = await clean(services.ledger, [kind.store for kind in services.kinds.values()], clock=services.clock)
    return schemas.CleanupAnswer(success=True, **asdict(cleaned))


def _authorise(request: Request, settings: Settings) -> None:
    """Fails closed: without a secret nobody is let in. Compares in constant time."""
    if settings.cron_secret is None:
        raise Misconfigured("This route is closed until CRON_SECRET is set. See docs/settings.md.")
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    # Headers are decoded as latin-1; the secret was set as UTF-8. Bytes are compared.
    is_right = hmac.compare_digest(secret.encode("latin-1"), settings.cron_secret.encode(errors="surrogateescape"))
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthorized("Send Authorization: Bearer with the value of CRON_SECRET.")
