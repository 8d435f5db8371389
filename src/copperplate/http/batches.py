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
from copperplate.denials import InvalidBatch, InvalidItems
from copperplate.errors import IdempotencyConflict, InvalidBody, InvalidRequest, InvalidSeed, NotFound, Unauthorized
from copperplate.generation.lookup import LookupOptions
from copperplate.http.items import PRIORITIES, read_echo, read_item
from copperplate.http.parameters import refuse_unknown_members
from copperplate.recipes.kinds import MEMOJI
from copperplate.wishes import MAX_PATHS, NewBatch, Priority
from copperplate.work.promises import new_wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from copperplate.access.caller import Caller
    from copperplate.http.items import Item
    from copperplate.services import Services
    from copperplate.wishes import Batch, NewWish

MAX_ITEMS: Final = 1_000
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_VARIANTS: Final = 16
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
    if (found := await services.ledger.find_batch(kept)) is None:
        raise NotFound("The batch was kept, and its user was forgotten since.")
    # `serve` is told by the ledger; on Vercel the end of this very call makes some.
    services.work.note_due()
    return KeptBatch(batch=found, duplicates=duplicates)


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
        paths = tuple(dict.fromkeys((*first.paths, *item.paths)))[:MAX_PATHS]
        asked = [each.priority for each in (first, item) if each.priority is not None]
        members[key] = replace(first, paths=paths, priority=min(asked, default=None))
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
    each = ((index, variant) for index, item in enumerate(sent) for variant in _variants(item))
    variants = list(islice(each, MAX_ITEMS + 1))
    if len(variants) > MAX_ITEMS:
        raise InvalidBatch(f"With their variants (n) there are more than {MAX_ITEMS:,} items. Send several batches.")
    return variants


def _variants(item: Any) -> Iterator[Any]:
    """The first variant is the picture without a seed; the others have the seeds 1 to n - 1."""
    if not isinstance(item, dict) or item.get("n") is None:
        yield item
        return
    single = {name: value for name, value in item.items() if name != "n"}
    if (fault := _fault_of_n(item)) is not None:
        yield fault
        return
    yield single
    yield from ({**single, "seed": str(number)} for number in range(1, item["n"]))


def _fault_of_n(item: dict[str, Any]) -> InvalidRequest | None:
    number = item["n"]
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_VARIANTS:
        return InvalidBody(f"n is a whole number from 1 to {MAX_VARIANTS}.")
    if item.get("kind") == MEMOJI.name:
        return InvalidBody("n is for images: a memoji's configuration has no variants.")
    if item.get("seed") is not None:
        return InvalidSeed("n makes variants by their seeds. Give n or seed, not both.")
    return None


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
    """What its miss may cause, and who pays. Raises the denial of the gate, and `Unauthorized`."""
    request = member.picture_request
    if request.kind != MEMOJI.name:
        permit = services.gate.permit(caller, request)
        if permit.denial is not None:
            raise permit.denial
        return LookupOptions(permit=permit)
    if caller.user is None:
        raise Unauthorized("A memoji needs a sign-in: an API key has no credits.")
    return LookupOptions(permit=services.gate.permit_with_credits(caller, request), charge=Charge(user=caller.user.id))


async def _give_way(number: int) -> None:
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
