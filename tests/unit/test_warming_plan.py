"""What a list comes to before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.budgets import Spending
from copperplate.errors import InvalidText
from copperplate.model import PictureFormat
from copperplate.operations import warming_plan
from copperplate.operations.warming_plan import gather, plan_warming
from copperplate.operations.wish_lists import MAX_FAULTS, Listed, ListFault
from copperplate.recipes.image import image_request
from copperplate.wishes import NewWish
from tests.support.coordinator_harness import CoordinatorHarness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import PictureRequest

MODEL = "copperplate/painter-1"


def request_of(text: str, model: str = MODEL) -> PictureRequest:
    return image_request(prompt=text, width=64, height=64, format=PictureFormat.JPG, model=model)


def wish_of(text: str, *, price: int | None = None, model: str = MODEL, path: str = "/a") -> NewWish:
    asked = request_of(text, model)
    spending = None if price is None else Spending(payer="owner", amount_micro_usd=price, budgets=())
    return NewWish(
        generation_key=asked.generation_key, recipe=asked.recipe, owner="owner", spending=spending, paths=(path,)
    )


def listed(*texts: str) -> list[Listed | ListFault]:
    return [Listed(line=line, item={"prompt": text}) for line, text in enumerate(texts, 1)]


def read(item: Mapping[str, Any]) -> NewWish:
    if item["prompt"].startswith("bad"):
        raise InvalidText("this is bad")
    return wish_of(item["prompt"], path=item.get("path", "/a"))


def test_a_generation_that_is_asked_for_again_is_one_wish_in_every_form() -> None:
    items = [
        Listed(line=3, item={"prompt": "a fox", "path": "/a.jpg"}),
        Listed(line=5, item={"prompt": "a  fox", "path": "/a.png"}),
        Listed(line=6, item={"prompt": "a heron"}),
        Listed(line=9, item={"prompt": "a fox", "path": "/a.jpg"}),
    ]
    found = gather(items, read)
    assert [wish.paths for wish in found.wishes] == [("/a.jpg", "/a.png"), ("/a",)]
    assert found.duplicates == 2
    assert [found.lines[wish.generation_key] for wish in found.wishes] == [3, 6]


def test_faults_of_items_and_of_lines_are_told_in_their_order_and_the_first_alone_by_name() -> None:
    items = [ListFault(line=1, code="invalid_body", message="no JSON"), *listed(*["bad"] * MAX_FAULTS, "a fox")[1:]]
    found = gather(items, read)
    assert (found.faulty, len(found.wishes)) == (MAX_FAULTS, 1)
    assert [(fault.line, fault.code) for fault in found.faults[:2]] == [(1, "invalid_body"), (2, "invalid_text")]
    more = gather(listed(*["bad"] * 50), read)
    assert (more.faulty, len(more.faults)) == (50, MAX_FAULTS)


def test_an_error_that_is_no_fault_of_an_item_ends_the_reading() -> None:
    def fail(item: Mapping[str, Any]) -> NewWish:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gather(listed("a fox"), fail)


async def plan_of(*wishes: NewWish, ledger: MemoryLedger | None = None, **options: Any) -> warming_plan.WarmingPlan:
    options = {"price_of": lambda wish: wish.spending and wish.spending.amount_micro_usd, **options}
    return await plan_warming(wishes, ledger=ledger or MemoryLedger(FakeClock()), **options)


async def test_what_is_stored_is_not_made_again() -> None:
    harness = CoordinatorHarness()
    process = harness.process()
    await (await harness.begin(process, request_of("a fox")))
    plan = await plan_of(wish_of("a fox", price=3), wish_of("a heron", price=3), ledger=harness.ledger)
    assert (plan.existing, plan.missing, plan.cost_micro_usd) == (1, 1, 3)
    assert [wish.recipe["prompt"] for wish in plan.chosen] == ["a heron"]


async def test_what_is_stored_is_asked_for_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming_plan, "CHUNK", 2)
    ledger = MemoryLedger(FakeClock())
    asked: list[int] = []

    async def stored_keys(keys: list[str]) -> frozenset[str]:
        asked.append(len(keys))
        return frozenset(keys[:1])

    monkeypatch.setattr(ledger, "stored_keys", stored_keys)
    plan = await plan_of(*(wish_of(f"fox {number}", price=1) for number in range(5)), ledger=ledger)
    assert (asked, plan.existing, plan.missing) == ([2, 2, 1], 3, 2)


async def test_as_many_are_chosen_as_the_money_pays_and_cheaper_ones_behind_a_dear_one_too() -> None:
    wishes = [wish_of(str(price), price=price) for price in (30, 100, 20, 50, 1)]
    plan = await plan_of(*wishes, max_micro_usd=100)
    assert [wish.recipe["prompt"] for wish in plan.chosen] == ["30", "20", "50"]
    assert [wish.recipe["prompt"] for wish in plan.left_out] == ["100", "1"]
    assert (plan.missing, plan.booked_micro_usd) == (5, 100)


async def test_with_no_money_what_costs_nothing_is_chosen() -> None:
    plan = await plan_of(wish_of("a fox", price=1), wish_of("a heron"), max_micro_usd=0)
    assert ([len(plan.chosen), len(plan.left_out)]) == [1, 1]


async def test_unknown_prices_are_counted_and_booked_as_the_gate_books_them() -> None:
    wishes = [wish_of("a fox", price=40), wish_of("a heron", price=3)]
    plan = await plan_of(*wishes, price_of=lambda wish: None if wish.recipe["prompt"] == "a fox" else 3)
    assert (plan.cost_micro_usd, plan.unpriced, plan.booked_micro_usd) == (3, 1, 43)


async def test_the_time_is_that_of_each_models_last_pictures() -> None:
    harness = CoordinatorHarness(seconds=4.0)
    process = harness.process()
    task = await harness.begin(process, request_of("a fox"))
    await harness.clock.advance(4.0)
    await task
    stored = wish_of("a fox", price=3)
    plan = await plan_of(stored, wish_of("a heron", price=3), wish_of("a wren", price=3), ledger=harness.ledger)
    assert plan.work_seconds == pytest.approx(8.0)
    unknown = replace(wish_of("a heron", price=3, model="other"), generation_key="0" * 64)
    assert (await plan_of(stored, unknown, ledger=harness.ledger)).work_seconds is None
    assert (await plan_of(stored, ledger=harness.ledger)).work_seconds == 0
