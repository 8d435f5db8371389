"""Batches over HTTP: from the items of a body to wishes, all of them or none."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from copperplate.access.owners import named_owner
from copperplate.budgets import Charge
from copperplate.denials import InvalidBatch, InvalidItems, MemojiNeedsSignIn
from copperplate.errors import (
    IdempotencyConflict,
    InvalidRequest,
    LedgerMisconfigured,
    LedgerUnavailable,
    NotFound,
)
from copperplate.generation.lookup import LookupOptions
from copperplate.http.items import PRIORITIES, read_echo, read_item
from copperplate.http.parameters import refuse_unknown_members
from copperplate.operations.variants import variants_of
from copperplate.recipes.kinds import KINDS, MEMOJI
from copperplate.wishes import Batch, NewBatch, Priority, State, joined_paths
from copperplate.work.promises import new_wish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from copperplate.access.caller import Caller
    from copperplate.http.items import Item
    from copperplate.services import Services
    from copperplate.wishes import NewWish

MAX_ITEMS: Final = 1_000
MAX_BODY_BYTES: Final = 1024 * 1024
# So many faulty items are named.
MAX_FAULTS: Final = 20
MEMBERS: Final = ("items", "priority", "thread_id")
# After so many items other requests have their turn.
AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """A batch that the ledger keeps, and how many items repeated the generation of another one."""

    batch: Batch
    duplicates: int


async def keep_batch(
    body: Mapping[str, Any], caller: Caller, services: Services, *, idempotency_key: str | None
) -> KeptBatch:
    """Keep the batch that a JSON object with `items` asks for; under an `idempotency_key`, the one it stands for.

    Where an error is raised nothing is kept, so nothing is spent: `Unauthorized`, `Forbidden`, `InvalidBatch`,
    `InvalidItems`, `UnknownParameter`, `IdempotencyConflict`, and what the ledger raises.
    """
    owner = named_owner(caller)
    refuse_unknown_members(dict(body), MEMBERS)
    usual, thread_id = _priority_of(body), read_echo(body, "thread_id")
    wishes, duplicates = await read_wishes(sent_items(body), caller, services, owner=owner, usual=usual)
    batch = NewBatch(
        owner=owner, wishes=wishes, idempotency_key=idempotency_key, digest=digest_of(wishes), thread_id=thread_id
    )
    if (kept := await services.ledger.create_batch(batch)) is None:
        raise IdempotencyConflict("Send a new Idempotency-Key with another request.")
    # `serve` is told by the ledger; on Vercel the end of this very call makes some.
    services.work.note_due()
    try:
        found = await services.ledger.find_batch(kept)
    except (LedgerUnavailable, LedgerMisconfigured):
        found = _as_asked(kept, batch, services)
    if found is None:
        raise NotFound("The batch was kept, and its user was forgotten since.")
    return KeptBatch(batch=found, duplicates=duplicates)


def _as_asked(kept: UUID, asked: NewBatch, services: Services) -> Batch:
    """A batch of which the ledger tells no more at this moment: its maker learns its id, and the rest by a look."""
    return Batch(
        id=kept,
        owner=asked.owner,
        purpose=asked.purpose,
        thread_id=asked.thread_id,
        created_at=services.clock.now(),
        canceled_at=None,
        counts={state: len(asked.wishes) if state is State.PENDING else 0 for state in State},
        cached=0,
        estimate_micro_usd=None,
        is_private=any(KINDS[str(wish.recipe["kind"])].is_private for wish in asked.wishes),
    )


async def read_wishes(
    sent: Sequence[Any], caller: Caller, services: Services, *, owner: str, usual: Priority
) -> tuple[tuple[NewWish, ...], int]:
    """The wishes of a caller for items, no generation twice, and how many items repeated another one's.

    `usual` is the priority of items that name none. Raises what `keep_batch` raises of items.
    """
    items = await _read_all(_variants_of(sent), services)
    members = [_with_priority(member, usual) for member in merged(items)]
    return await _wishes_of(members, caller, services, owner=owner), len(items) - len(members)


def merged(items: Sequence[Item]) -> list[Item]:
    """One member for each generation, in the order of its first item.

    It has the forms of all its items, `MAX_PATHS` at most, and what the first one echoes; the most urgent decides.
    """
    members: dict[str, Item] = {}
    for item in items:
        key = item.picture_request.generation_key
        first = members.get(key)
        if first is None:
            members[key] = item
            continue
        asked = [each.priority for each in (first, item) if each.priority is not None]
        members[key] = replace(first, paths=joined_paths(first.paths, item.paths), priority=min(asked, default=None))
    return list(members.values())


def digest_of(wishes: Sequence[NewWish]) -> str:
    """SHA-256 of what was asked: generations, forms and priorities, in their order."""
    asked = [[wish.generation_key, wish.priority.value, *wish.paths] for wish in wishes]
    return hashlib.sha256(json.dumps(asked, separators=(",", ":")).encode()).hexdigest()


def sent_items(body: Mapping[str, Any], name: str = "items") -> list[Any]:
    """The items that a body sends under this name. Raises `InvalidBatch` for none, and for too many."""
    sent = body.get(name)
    if not isinstance(sent, list):
        raise InvalidBatch(f"{name} is an array of 1 to {MAX_ITEMS:,}.")
    if not sent:
        raise InvalidBatch(f"{name} is empty: a batch has 1 to {MAX_ITEMS:,} items.")
    if len(sent) > MAX_ITEMS:
        raise InvalidBatch(f"There are {len(sent):,} items: a batch has 1 to {MAX_ITEMS:,}. Send several batches.")
    return sent


def _priority_of(body: Mapping[str, Any]) -> Priority:
    name = body.get("priority")
    if name is None:
        return Priority.LOW
    if not isinstance(name, str) or name not in PRIORITIES:
        raise InvalidBatch(f"priority may be {' or '.join(PRIORITIES)}.")
    return PRIORITIES[name]


def _with_priority(item: Item, usual: Priority) -> Item:
    return item if item.priority is not None else replace(item, priority=usual)


def _variants_of(sent: Sequence[Any]) -> list[tuple[int, Any]]:
    """Every item by its index, and once for each of its variants; a fault stands where its item would.

    Raises `InvalidBatch` where these are more than a batch may have.
    """
    each = ((index, variant) for index, item in enumerate(sent) for variant in variants_of(item))
    variants = list(islice(each, MAX_ITEMS + 1))
    if len(variants) > MAX_ITEMS:
        raise InvalidBatch(f"With their variants (n) there are more than {MAX_ITEMS:,} items. Send several batches.")
    return variants


async def _read_all(variants: Sequence[tuple[int, Any]], services: Services) -> list[Item]:
    """Read them, or raise `InvalidItems`; no more are looked at once enough faults are found."""
    items: list[Item] = []
    faults: dict[int, InvalidRequest] = {}
    for number, (index, sent) in enumerate(variants):
        await _give_way(number)
        try:
            if isinstance(sent, InvalidRequest):
                raise sent
            items.append(read_item(sent, services))
        except InvalidRequest as fault:
            faults.setdefault(index, fault)
            if len(faults) == MAX_FAULTS:
                break
    if faults:
        raise InvalidItems(tuple(faults.items()), has_more=len(faults) == MAX_FAULTS)
    return items


async def _wishes_of(members: Sequence[Item], caller: Caller, services: Services, *, owner: str) -> tuple[NewWish, ...]:
    wishes = []
    for number, member in enumerate(members):
        await _give_way(number)
        options = _options_of(member, caller, services)
        wishes.append(
            new_wish(
                member.picture_request,
                options,
                owner=owner,
                priority=member.priority or Priority.LOW,
                paths=member.paths,
                echo=member.echo,
            )
        )
    return tuple(wishes)


def _options_of(member: Item, caller: Caller, services: Services) -> LookupOptions:
    """What its miss may cause, and who pays. Raises the denial of the gate, and `MemojiNeedsSignIn`."""
    request = member.picture_request
    if request.kind != MEMOJI.name:
        permit = services.gate.permit(caller, request)
        if permit.denial is not None:
            raise permit.denial
        return LookupOptions(permit=permit)
    if caller.user is None:
        raise MemojiNeedsSignIn
    return LookupOptions(permit=services.gate.permit_with_credits(caller, request), charge=Charge(user=caller.user.id))


async def _give_way(number: int) -> None:
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
