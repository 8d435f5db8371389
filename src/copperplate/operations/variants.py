"""Variants of one prompt: the item `{"prompt": "a fox", "n": 3}` is three pictures, by their seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import InvalidBody, InvalidRequest, InvalidSeed
from copperplate.operations.wish_lists import MAX_ITEMS, Listed, ListFault
from copperplate.recipes.kinds import MEMOJI

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_VARIANTS: Final = 16


def variants_of(item: Any) -> Iterator[Any]:
    """The items that one item is; a fault of its `n` stands where they would.

    The first variant is the picture without a seed; the others have the seeds 1 to n - 1.
    """
    if not isinstance(item, dict) or item.get("n") is None:
        yield item
        return
    single = {name: value for name, value in item.items() if name != "n"}
    if (fault := _fault_of_n(item)) is not None:
        yield fault
        return
    yield single
    yield from ({**single, "seed": str(number)} for number in range(1, item["n"]))


def with_variants(listed: Iterable[Listed | ListFault]) -> Iterator[Listed | ListFault]:
    """A list in which each variant is an item, at the line of its item. Raises `InvalidRequest` for too many."""
    pictures = 0
    for each in listed:
        if isinstance(each, ListFault):
            yield each
            continue
        for variant in variants_of(each.item):
            pictures += 1
            if pictures > MAX_ITEMS:
                raise InvalidRequest(f"line {each.line}: one run takes {MAX_ITEMS:,} pictures. Split the list.")
            is_fault = isinstance(variant, InvalidRequest)
            yield ListFault.of(each.line, variant) if is_fault else replace(each, item=variant)


def _fault_of_n(item: Mapping[str, Any]) -> InvalidRequest | None:
    number = item["n"]
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_VARIANTS:
        return InvalidBody(f"n is a whole number from 1 to {MAX_VARIANTS}.")
    if item.get("kind") == MEMOJI.name:
        return InvalidBody("n is for images: a memoji's configuration has no variants.")
    if item.get("seed") is not None:
        return InvalidSeed("n makes variants by their seeds. Give n or seed, not both.")
    return None
