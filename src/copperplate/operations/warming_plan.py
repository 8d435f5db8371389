"""What a list of pictures comes to before anything is spent: what exists, what is missing, what that costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidRequest
from copperplate.operations.wish_lists import MAX_FAULTS, ListFault
from copperplate.wishes import joined_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from copperplate.operations.wish_lists import Listed
    from copperplate.ports import Wishes
    from copperplate.wishes import NewWish

# Of one call of the ledger, and of one batch.
CHUNK: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WishList:
    """What a list asks for, no generation twice; `lines` tells the line that first asked for each.

    `duplicates` asked for a generation that an earlier line had asked for. `faults` are the first of the `faulty`.
    """

    wishes: tuple[NewWish, ...]
    lines: Mapping[str, int]
    duplicates: int
    faults: tuple[ListFault, ...]
    faulty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingPlan:
    """Which wishes of a list are made: those that are not `existing`, but for those `left_out` for want of money.

    `cost_micro_usd` is what the chosen cost by the price table, without the `unpriced` ones, whose price nobody knows.
    `booked_micro_usd` is what budgets are asked for: those count as pictures of the dearest model.
    `work_seconds` is how long the chosen take one after the other, by the median of each model's last pictures; None
    where a model of theirs has none in this list.
    """

    existing: int
    chosen: tuple[NewWish, ...] = field(repr=False)
    left_out: tuple[NewWish, ...] = field(repr=False)
    cost_micro_usd: int
    booked_micro_usd: int
    unpriced: int
    work_seconds: float | None = None

    @property
    def missing(self) -> int:
        """How many are not stored."""
        return len(self.chosen) + len(self.left_out)

    def seconds(self, in_flight: int) -> int | None:
        """Roughly how long the chosen take, so many at a time; None where nothing tells."""
        if not self.chosen:
            return 0
        return None if self.work_seconds is None else max(1, round(self.work_seconds / in_flight))


def gather(listed: Iterable[Listed | ListFault], wish_of: Callable[[Mapping[str, Any]], NewWish]) -> WishList:
    """Read a whole list; `wish_of` makes the wish of an item, or raises the `InvalidRequest` that is wrong with it."""
    wishes: dict[str, NewWish] = {}
    lines: dict[str, int] = {}
    faults: list[ListFault] = []
    duplicates = faulty = 0
    for each in listed:
        found = each if isinstance(each, ListFault) else _wish_or_fault(each, wish_of)
        if isinstance(found, ListFault):
            faulty += 1
            if len(faults) < MAX_FAULTS:
                faults.append(found)
        elif (known := wishes.get(found.generation_key)) is None:
            wishes[found.generation_key] = found
            lines[found.generation_key] = each.line
        else:
            duplicates += 1
            wishes[found.generation_key] = replace(known, paths=joined_paths(known.paths, found.paths))
    return WishList(
        wishes=tuple(wishes.values()), lines=lines, duplicates=duplicates, faults=tuple(faults), faulty=faulty
    )


def _wish_or_fault(listed: Listed, wish_of: Callable[[Mapping[str, Any]], NewWish]) -> NewWish | ListFault:
    try:
        return wish_of(listed.item)
    except InvalidRequest as error:
        return ListFault.of(listed.line, error)


async def plan_warming(
    wishes: Sequence[NewWish],
    *,
    ledger: Wishes,
    price_of: Callable[[NewWish], int | None],
    max_micro_usd: int | None = None,
) -> WarmingPlan:
    """What is missing of `wishes`, and what it costs; `price_of` knows the table. Nothing is written.

    With `max_micro_usd` as many are chosen as that pays, in their order: one that it does not pay any more is left out,
    and a cheaper one behind it may still be chosen.
    """
    stored: set[str] = set()
    for chunk in chunks(wishes):
        stored |= await ledger.stored_keys([wish.generation_key for wish in chunk])
    chosen, left_out = _choose([wish for wish in wishes if wish.generation_key not in stored], max_micro_usd)
    prices = [price_of(wish) for wish in chosen]
    return WarmingPlan(
        existing=len(stored),
        chosen=tuple(chosen),
        left_out=tuple(left_out),
        cost_micro_usd=sum(price or 0 for price in prices),
        booked_micro_usd=sum(map(amount_of, chosen)),
        unpriced=prices.count(None),
        work_seconds=await _work_seconds(chosen, [wish for wish in wishes if wish.generation_key in stored], ledger),
    )


def _choose(missing: Sequence[NewWish], max_micro_usd: int | None) -> tuple[list[NewWish], list[NewWish]]:
    chosen: list[NewWish] = []
    left_out: list[NewWish] = []
    booked = 0
    for wish in missing:
        if max_micro_usd is not None and booked + amount_of(wish) > max_micro_usd:
            left_out.append(wish)
        else:
            chosen.append(wish)
            booked += amount_of(wish)
    return chosen, left_out


async def _work_seconds(chosen: Sequence[NewWish], stored: Sequence[NewWish], ledger: Wishes) -> float | None:
    by_model = Counter(map(_model_of, chosen))
    # The ledger tells the usual time of a generation it knows: one of each model is enough.
    samples = {_model_of(wish): wish.generation_key for wish in stored}
    seconds = 0.0
    for model, number in by_model.items():
        if model not in samples:
            return None
        known = await ledger.generation_state(samples[model], with_usual_time=True)
        if known is None or known.usual_seconds is None:
            return None
        seconds += number * known.usual_seconds
    return seconds


def _model_of(wish: NewWish) -> tuple[str, str]:
    return str(wish.recipe["kind"]), str(wish.recipe["model"])


def amount_of(wish: NewWish) -> int:
    """What budgets are asked for, in millionths of a dollar; nothing where the provider bills nothing."""
    return 0 if wish.spending is None else wish.spending.amount_micro_usd


def chunks(wishes: Sequence[NewWish], size: int | None = None) -> Iterator[tuple[NewWish, ...]]:
    """So many at a time: unless said, as many as one call of the ledger, or one batch, takes."""
    remaining = iter(wishes)
    while chunk := tuple(islice(remaining, size or CHUNK)):
        yield chunk
