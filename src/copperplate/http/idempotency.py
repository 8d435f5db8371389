"""`Idempotency-Key`: reading it, and what it does for single images. For memoji see `UserRequests`."""

from __future__ import annotations

import contextlib
import hashlib
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError, IdempotencyConflict, InvalidIdempotencyKey
from copperplate.wishes import NewBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

    from copperplate.ports import Wishes
    from copperplate.wishes import NewWish

_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")


def read_idempotency_key(request: Request) -> str | None:
    """The key that a request brings, if it does. Raises `InvalidIdempotencyKey`."""
    sent = request.headers.getlist("idempotency-key")
    if not sent:
        return None
    if len(sent) > 1 or _KEY.fullmatch(sent[0]) is None:
        raise InvalidIdempotencyKey("Send one Idempotency-Key of 1 to 255 printable ASCII characters.")
    return sent[0]


@asynccontextmanager
async def remembered(wish: NewWish, idempotency_key: str, ledger: Wishes) -> AsyncIterator[bool]:
    """While the block answers a wish under its key: whether the picture was stored at the first request.

    The ledger keeps it as a batch of one, so that its owner's keys stand for one thing, batch or picture. Where the
    block raises, its caller is told that nothing was made, and the wish is withdrawn. Raises `IdempotencyConflict`.
    """
    digest = hashlib.sha256(f"single {wish.generation_key}".encode()).hexdigest()
    batch = await ledger.create_batch(
        NewBatch(owner=wish.owner, wishes=(wish,), idempotency_key=idempotency_key, digest=digest)
    )
    if batch is None:
        raise IdempotencyConflict("Send a new Idempotency-Key with another request.")
    try:
        [member] = await ledger.batch_members(batch, limit=1)
        yield member.cached
    except CopperplateError:
        with contextlib.suppress(CopperplateError):
            await ledger.cancel_batch(batch)
        raise
