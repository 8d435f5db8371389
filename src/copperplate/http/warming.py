"""Warming over HTTP: a batch of the caller's for what is missing of a list, or of what was asked for most."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from copperplate.access.owners import named_owner
from copperplate.api_keys import Scope
from copperplate.denials import InvalidBatch, MissingScope, WarmingNeedsKey
from copperplate.errors import IdempotencyConflict, InvalidBody, Unauthorized
from copperplate.http.batches import read_wishes, sent_items
from copperplate.http.parameters import refuse_unknown_members
from copperplate.operations.popular import DEFAULT_TOP, MAX_DAYS, MAX_TOP, popular_items
from copperplate.operations.warming_plan import plan_warming
from copperplate.operations.wish_lists import with_defaults
from copperplate.prices import MICRO
from copperplate.recipes.kinds import IMAGE
from copperplate.wishes import NewBatch, Priority, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from copperplate.access.caller import Caller
    from copperplate.operations.warming_plan import WarmingPlan
    from copperplate.services import Services
    from copperplate.wishes import NewWish

# What is to be warmed: one of these.
_SOURCES: Final = ("items", "prompts", "popular_days")
_SAID: Final = ("dimensions", "format", "model")
MEMBERS: Final = (*_SOURCES, "top", *_SAID, "dry_run", "max_usd")
MAX_USD: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingRequest:
    """What a request for warming comes to, and the batch that makes it: None for a dry run, and where nothing is left.

    `duplicates` are items whose generation another item had asked for.
    """

    pictures: int
    duplicates: int
    plan: WarmingPlan
    batch: UUID | None


async def keep_warming(
    body: Mapping[str, Any], caller: Caller, services: Services, *, idempotency_key: str | None
) -> WarmingRequest:
    """Keep the batch that a JSON object asks for; with `dry_run` nothing is written.

    Where an error is raised nothing is kept: `Unauthorized`, `WarmingNeedsKey`, `MissingScope`, `InvalidBody`, what
    `keep_batch` raises.
    """
    owner = _owner_of(caller)
    refuse_unknown_members(dict(body), MEMBERS)
    is_dry_run, max_micro_usd = _flag(body, "dry_run"), _money(body, "max_usd")
    wishes, duplicates = await read_wishes(
        await _items_of(body, caller, services), caller, services, owner=owner, usual=Priority.LOW
    )
    plan = await plan_warming(
        wishes,
        ledger=services.ledger,
        price_of=lambda wish: services.price_of(wish.recipe),
        max_micro_usd=max_micro_usd,
    )
    batch = None if is_dry_run else await _keep(wishes, plan, body, services, owner, idempotency_key)
    return WarmingRequest(pictures=len(wishes), duplicates=duplicates, plan=plan, batch=batch)


async def _keep(
    wishes: Sequence[NewWish],
    plan: WarmingPlan,
    body: Mapping[str, Any],
    services: Services,
    owner: str,
    idempotency_key: str | None,
) -> UUID | None:
    left_out = {wish.generation_key for wish in plan.left_out}
    kept = tuple(wish for wish in wishes if wish.generation_key not in left_out)
    if not kept:
        return None
    # Of the request: what is missing, and what is popular, may be other pictures when it is repeated.
    digest = hashlib.sha256(json.dumps(["warm", body], sort_keys=True).encode(errors="surrogatepass")).hexdigest()
    made = await services.ledger.create_batch(
        NewBatch(owner=owner, wishes=kept, purpose=Purpose.WARM, idempotency_key=idempotency_key, digest=digest)
    )
    if made is None:
        raise IdempotencyConflict("Send a new Idempotency-Key with another request.")
    # `serve` is told by the ledger; on Vercel the end of this very call makes some.
    services.work.note_due()
    return made


def _owner_of(caller: Caller) -> str:
    if caller.is_unknown:
        raise Unauthorized("Warming needs an API key with the scope `generate`.")
    if caller.key is None:
        raise WarmingNeedsKey
    return named_owner(caller)


async def _items_of(body: Mapping[str, Any], caller: Caller, services: Services) -> list[Any]:
    named = [name for name in _SOURCES if body.get(name) is not None]
    if len(named) != 1:
        raise InvalidBatch(f"Name what is to be warmed, by one of {', '.join(_SOURCES)}.")
    said = {name: body[name] for name in _SAID if body.get(name) is not None}
    if "popular_days" in named:
        return await _popular(body, said, caller, services)
    if body.get("top") is not None:
        raise InvalidBody("top goes with popular_days.")
    if "prompts" in named:
        return [{**said, "prompt": prompt} for prompt in sent_items(body, "prompts")]
    return [with_defaults(item, said) if isinstance(item, dict) else item for item in sent_items(body)]


async def _popular(
    body: Mapping[str, Any], said: Mapping[str, Any], caller: Caller, services: Services
) -> list[dict[str, Any]]:
    if caller.key is None or Scope.ADMIN not in caller.key.scopes:
        raise MissingScope("What others ask for is told to API keys with the scope `admin` beside `generate`.")
    items = await popular_items(
        services.ledger,
        days=_number(body, "popular_days", MAX_DAYS),
        top=_number(body, "top", MAX_TOP) if body.get("top") is not None else DEFAULT_TOP,
        is_offered=services.offers,
        said=said,
    )
    # A key has no credits, which pay for memoji.
    return [with_defaults(item, said) for item in items if item["kind"] == IMAGE.name]


def _number(body: Mapping[str, Any], name: str, most: int) -> int:
    value = body[name]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
        return value
    raise InvalidBody(f"{name} is a whole number from 1 to {most:,}.")


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidBody(f"{name} is true or false.")


def _money(body: Mapping[str, Any], name: str) -> int | None:
    """Dollars, as millionths of one, rounded down; exact as they were written."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_USD:
        return int(Decimal(str(value)) * MICRO)
    raise InvalidBody(f"{name} is a number of dollars from 0 to {MAX_USD:,}.")
