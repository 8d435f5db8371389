"""`Idempotency-Key`: reading it, and what it does for single images. For memoji see `UserRequests`."""

from __future__ import annotations

import contextlib
import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError, IdempotencyConflict, InvalidIdempotencyKey
from copperplate.wishes import NewBatch
from copperplate.work.settled import settle
from copperplate.work.settling import HANDED_OVER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A wish that is kept under a key: its id while it is open, and whether its picture was stored when it was kept."""

    was_stored: bool
    wish: int | None


@asynccontextmanager
async def remembered(
    wish: NewWish, idempotency_key: str, ledger: Wishes, *, held_for: timedelta
) -> AsyncIterator[Remembered]:
    """Keep a wish under its key while the block has it made, and ends it.

    The ledger keeps it as a batch of one, so that its owner's keys stand for one thing, batch or picture. Nobody else
    takes it for `held_for`: the caller of the block makes it. Where the block raises, its caller is told that nothing
    was made, and the wish is withdrawn. Raises `IdempotencyConflict`.

    The key stands for the generation alone: any form of one picture is the same thing to pay for, and its address says
    which form it is. Of a batch the forms count as well, since its members tell them.
    """
    digest = hashlib.sha256(f"single {wish.generation_key}".encode()).hexdigest()
    new = NewBatch(owner=wish.owner, wishes=(wish,), idempotency_key=idempotency_key, digest=digest)
    batch = await ledger.create_batch(new, held_for=held_for)
    if batch is None:
        raise IdempotencyConflict("Send a new Idempotency-Key with another request.")
    member = None
    try:
        [member] = await ledger.batch_members(batch, limit=1)
        yield Remembered(was_stored=member.cached, wish=None if member.state.is_final else member.wish)
    except Exception:
        with contextlib.suppress(CopperplateError):
            await ledger.cancel_batch(batch)
        if member is not None:
            # What is held goes on: withdrawn with the end of its hold, unless it is paid.
            await settle(ledger, member.wish, HANDED_OVER)
        raise
