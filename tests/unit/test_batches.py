"""Batches over HTTP: what is kept of many items, what is told of them, who may see and cancel, and what is no batch."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import LOCAL_ISSUER, make_local_token
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import Scope
from copperplate.budgets import Charge, Credits
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.http.batches import MAX_BODY_BYTES, MAX_FAULTS
from copperplate.http.items import read_item
from copperplate.http.schemas.batches import CountsOut
from copperplate.recipes.display import WIDTHS
from copperplate.wishes import MAX_PATHS, Priority, Settlement, State, WishStatus
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.tokens import SECRET, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.work.step import Report

POST = "/api/generate"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
NOBODYS = UUID("5b2e7a44-0c1d-4f3e-9a6b-7c8d9e0f1a2b")
SIDE = {"width": 64, "height": 64}


def of(user: UUID) -> dict[str, str]:
    """The header of a signed-in person."""
    return {"authorization": f"Bearer {make_local_token(user, SECRET, seconds=600)}"}


def fox(prompt: str = "a red fox", **members: Any) -> dict[str, Any]:
    return {"prompt": prompt, **SIDE, **members}


def foxes(number: int) -> list[dict[str, Any]]:
    return [fox(f"fox {each}") for each in range(number)]


def generation_key_of(services: MemoryServices, item: dict[str, Any]) -> str:
    return read_item(item, services).picture_request.generation_key


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def key(services: MemoryServices) -> dict[str, str]:
    """The header of an API key that may generate."""
    return {"authorization": f"Bearer {(await keep_key(services.ledger)).text}"}


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    is_fresh = answer.headers["cache-control"] == "no-store"
    return is_fresh and (answer.status_code, answer.json()["code"]) == (status, code)


def kept_by(services: MemoryServices) -> int:
    """How many batches and wishes there are."""
    return len(services.ledger._wish_batches) + len(services.ledger._wishes)


async def make_all(services: MemoryServices) -> Report:
    """Let a work step make whatever is due."""
    return await services.work.run(within_seconds=60)


# --- what is kept ---------------------------------------------------------------------------------


async def test_a_batch_is_kept_and_told_by_its_address(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    items = [fox(title="Reynard", style="ink", thread_id="t-1"), fox("a blue fox", format="webp", w=32)]
    made = await client.post(POST, json={"items": items, "thread_id": "all"}, headers=key)
    told = made.json()
    assert (made.status_code, made.headers["location"]) == (202, f"/api/batches/{told['id']}")
    assert (made.headers["cache-control"], made.headers["retry-after"]) == ("no-store", "2")
    assert (told["success"], told["status"], told["thread_id"]) == (True, "pending", "all")
    assert (told["total"], told["duplicates"], told["cached"]) == (2, 0, 0)
    assert told["counts"] == {"pending": 2, "generating": 0, "completed": 0, "failed": 0, "canceled": 0}
    assert told["estimate_usd"] == 0.006
    assert told["events"] == f"http://pictures.test/api/batches/{told['id']}/events"
    look = (await client.get(made.headers["location"])).json()
    assert {name: look[name] for name in told if name != "duplicates"} == {
        name: told[name] for name in told if name != "duplicates"
    }
    first, second = look["members"]
    assert (first["position"], first["kind"], first["status"], first["cached"]) == (0, "image", "pending", False)
    assert first["url"] == "http://pictures.test/64x64.jpg?text=a%20red%20fox"
    assert (first["title"], first["style"], first["thread_id"], first["error"]) == ("Reynard", "ink", "t-1", None)
    assert second["urls"] == ["http://pictures.test/64x64.webp?text=a%20blue%20fox&w=32"]
    assert (second["title"], second["style"], second["thread_id"]) == (None, None, None)
    assert look["next_after"] is None
    # Nothing was asked of the provider by keeping it and looking at it.
    assert services.image_provider.submits == 0


async def test_a_wish_of_a_batch_books_what_its_maker_may_spend(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    await client.post(POST, json={"items": [fox(), fox("blue", priority="usual")]}, headers=key)
    first, second = (row.asked for row in services.ledger._wishes.values())
    assert first.spending is not None
    assert first.owner == first.spending.payer
    assert first.owner.startswith("key:")
    assert [budget.name.partition(":")[0] for budget in first.spending.budgets] == ["key", "model", "provider", "all"]
    assert (first.priority, second.priority, first.charge) == (Priority.LOW, Priority.USUAL, None)


async def test_memoji_are_charged_to_who_is_signed_in(client: httpx.AsyncClient, services: MemoryServices) -> None:
    items = [{"kind": "memoji", "hair": "bob"}, fox()]
    made = await client.post(POST, json={"items": items}, headers=of(ALICE))
    assert made.status_code == 202
    memoji, image = (row.asked for row in services.ledger._wishes.values())
    assert (memoji.owner, memoji.charge, image.charge) == (f"user:{ALICE}", Charge(user=ALICE), None)
    assert memoji.spending is not None
    assert "all" in [budget.name for budget in memoji.spending.budgets]


async def test_what_is_stored_already_is_done_at_once(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    assert (await client.get("/64x64.jpg?text=a%20red%20fox", headers=key)).status_code == 200
    some = await client.post(POST, json={"items": [fox(), fox("blue")]}, headers=key)
    told = some.json()
    assert (some.status_code, told["status"], told["cached"], told["estimate_usd"]) == (202, "pending", 1, 0.003)
    everything = await client.post(POST, json={"items": [fox(format="png")]}, headers=key)
    told = everything.json()
    assert (everything.status_code, told["status"], told["cached"], told["estimate_usd"]) == (200, "completed", 1, 0)
    [member] = (await client.get(everything.headers["location"])).json()["members"]
    assert (member["status"], member["cached"]) == ("completed", True)
    assert (await client.get(member["url"])).headers["x-cache"] == "HIT"
    assert services.image_provider.submits == 1


async def test_items_of_one_generation_are_one_member(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    items = [fox(title="one"), fox(" a  red fox ", format="png", priority="usual"), fox(title="three"), fox("blue")]
    made = (await client.post(POST, json={"items": items}, headers=key)).json()
    assert (made["total"], made["duplicates"]) == (2, 2)
    member = (await client.get(f"/api/batches/{made['id']}")).json()["members"][0]
    assert [url.partition("?")[0][-3:] for url in member["urls"]] == ["jpg", "png"]
    assert (member["url"], member["title"]) == (member["urls"][0], "one")
    assert next(iter(services.ledger._wishes.values())).asked.priority == Priority.USUAL


async def test_a_member_has_a_bounded_number_of_forms(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    forms: list[dict[str, Any]] = [
        {"format": name, "w": width} for width in WIDTHS for name in ("jpg", "png", "webp", "avif")
    ]
    assert len(forms) < MAX_PATHS
    items = [fox(width=2048, height=2048, q=q, **form) for form in forms for q in (40, 60)]
    made = (await client.post(POST, json={"items": items}, headers=key)).json()
    assert (made["total"], made["duplicates"]) == (1, len(items) - 1)
    assert [len(row.asked.paths) for row in services.ledger._wishes.values()] == [MAX_PATHS]


async def test_n_makes_variants_by_their_seeds(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    made = (await client.post(POST, json={"items": [fox(n=3), fox("blue", n=1), fox(seed=2)]}, headers=key)).json()
    assert (made["total"], made["duplicates"]) == (4, 1)
    look = (await client.get(f"/api/batches/{made['id']}")).json()
    assert [member["url"].partition("?")[2] for member in look["members"]] == [
        "text=a%20red%20fox",
        "text=a%20red%20fox&seed=1",
        "text=a%20red%20fox&seed=2",
        "text=blue",
    ]
    await make_all(services)
    assert services.image_provider.submits == 4
    look = (await client.get(f"/api/batches/{made['id']}")).json()
    assert (look["status"], look["counts"]["completed"]) == ("completed", 4)


# --- idempotency ----------------------------------------------------------------------------------


async def test_the_same_key_and_items_are_the_same_batch(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    headers = {**key, "idempotency-key": "order 1"}
    first = await client.post(POST, json={"items": [fox(), fox("blue")]}, headers=headers)
    kept = kept_by(services)
    # Spelled otherwise, it is the same all the same.
    again = await client.post(POST, json={"items": [fox(" a red  fox"), fox("blue", kind="image")]}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    await make_all(services)
    done = await client.post(POST, json={"items": [fox(), fox("blue")]}, headers=headers)
    assert (done.status_code, done.json()["id"], done.json()["status"]) == (200, first.json()["id"], "completed")
    assert kept_by(services) == kept


@pytest.mark.parametrize(
    "other",
    [
        {"items": [fox()]},
        {"items": [fox("blue"), fox()]},
        {"items": [fox(), fox("blue", format="png")]},
        {"items": [fox(), fox("blue")], "priority": "usual"},
    ],
)
async def test_the_same_key_with_another_request_is_a_conflict(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str], other: dict[str, Any]
) -> None:
    headers = {**key, "idempotency-key": "order 1"}
    await client.post(POST, json={"items": [fox(), fox("blue")]}, headers=headers)
    kept = kept_by(services)
    assert is_problem(await client.post(POST, json=other, headers=headers), 409, "idempotency_conflict")
    assert kept_by(services) == kept
    # Somebody else's key of the same name is another one.
    assert (await client.post(POST, json=other, headers={**of(ALICE), "idempotency-key": "order 1"})).status_code == 202


# --- who may --------------------------------------------------------------------------------------


async def test_a_batch_needs_a_name(client: httpx.AsyncClient, services: MemoryServices) -> None:
    stranger = Tokens(LOCAL_ISSUER, SystemClock().now()).hs(is_anonymous=True)
    purger = (await keep_key(services.ledger, Scope.PURGE)).text
    body = {"items": [fox()]}
    assert is_problem(await client.post(POST, json=body), 401, "unauthorized")
    for credential, status, code in (
        (stranger, 403, "batch_needs_name"),
        (purger, 403, "missing_scope"),
        ("not-ours", 401, "unauthorized"),
    ):
        answer = await client.post(POST, json=body, headers={"authorization": f"Bearer {credential}"})
        assert is_problem(answer, status, code)
    assert kept_by(services) == 0


async def test_memoji_of_a_key_are_refused(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    answer = await client.post(POST, json={"items": [fox(), {"kind": "memoji"}]}, headers=key)
    assert is_problem(answer, 401, "unauthorized")
    assert kept_by(services) == 0


async def test_more_open_wishes_than_one_caller_may_have_are_429_and_nothing_is_kept(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copperplate.adapters.memory.wishes.MAX_OPEN_WISHES", 3)
    await client.post(POST, json={"items": foxes(2)}, headers=key)
    kept = kept_by(services)
    answer = await client.post(POST, json={"items": [fox("one"), fox("two")]}, headers=key)
    assert is_problem(answer, 429, "too_many_open_wishes")
    assert answer.headers["retry-after"] == "60"
    assert kept_by(services) == kept
    # Somebody else has room, and so has its caller for one more.
    for headers in (of(ALICE), key):
        assert (await client.post(POST, json={"items": [fox("one")]}, headers=headers)).status_code == 202
    await make_all(services)
    assert (await client.post(POST, json={"items": [fox("two"), fox("three")]}, headers=key)).status_code == 202


async def test_a_batch_with_memoji_is_told_to_its_owner_alone(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    made = await client.post(POST, json={"items": [fox(), {"kind": "memoji"}]}, headers=of(ALICE))
    address = made.headers["location"]
    for who in ({}, of(BOB), key):
        assert is_problem(await client.get(address, headers=who), 404, "not_found")
        assert is_problem(await client.delete(address, headers=who), 404, "not_found")
        assert is_problem(await client.post(f"{address}/cancel", headers=who), 404, "not_found")
    look = (await client.get(address, headers=of(ALICE))).json()
    # What follows its progress sends no credential.
    for told in (made.json(), look):
        assert re.fullmatch(rf"http://pictures\.test{address}/events\?token=[\w-]{{43}}", told["events"])
    assert [member["kind"] for member in look["members"]] == ["image", "memoji"]
    assert look["members"][1]["url"].startswith("http://pictures.test/api/images/")
    assert len(services.ledger._watches) == 1
    await services.ledger.cancel_batch(UUID(look["id"]))
    # Nobody follows what has ended.
    ended = (await client.get(address, headers=of(ALICE))).json()
    assert (ended["status"], ended["events"]) == ("canceled", f"http://pictures.test{address}/events")
    assert len(services.ledger._watches) == 1


async def test_only_its_owner_cancels_a_batch(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(3)}, headers=key)).headers["location"]
    other = {"authorization": f"Bearer {(await keep_key(services.ledger)).text}"}
    for method, path in (("DELETE", address), ("POST", f"{address}/cancel")):
        assert is_problem(await client.request(method, path), 401, "unauthorized")
        assert is_problem(await client.request(method, path, headers=of(ALICE)), 403, "not_owner")
        assert is_problem(await client.request(method, path, headers=other), 403, "not_owner")
        answer = await client.request(method, f"{path}?dry_run=true", headers=key)
        assert is_problem(answer, 400, "unknown_parameter")
    assert (await client.get(address)).json()["counts"]["canceled"] == 0
    assert (await client.delete(address, headers=key)).status_code == 200


# --- cancel ---------------------------------------------------------------------------------------


async def test_canceling_a_batch_that_has_ended_leaves_it_completed(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(2)}, headers=key)).headers["location"]
    await make_all(services)
    before = (await client.get(address)).json()
    told = (await client.delete(address, headers=key)).json()
    assert (told["status"], told["withdrawn"], told["under_way"]) == ("completed", 0, 0)
    assert (await client.get(address)).json() == before
    assert (before["status"], before["canceled_at"]) == ("completed", None)


async def test_canceling_withdraws_what_is_not_under_way_and_says_what_that_saves(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(5)}, headers=key)).headers["location"]
    taken = await services.ledger.take_wishes(in_flight=2, held_for=services.coordinator._timings.lease)
    answer = await client.post(f"{address}/cancel", headers=key)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (200, "canceled")
    assert (told["withdrawn"], told["under_way"], told["saved_usd"]) == (3, 2, 0.009)
    again = (await client.delete(address, headers=key)).json()
    assert again["status"] == "canceled"
    assert (again["withdrawn"], again["under_way"], again["saved_usd"]) == (0, 2, 0)
    look = (await client.get(address)).json()
    assert (look["status"], look["counts"]["canceled"]) == ("canceled", 3)
    assert look["canceled_at"] is not None
    assert [member["status"] for member in look["members"]][2:] == ["canceled"] * 3
    for wish in taken:
        assert await services.ledger.settle_wish(wish.id, Settlement(status=WishStatus.COMPLETED))
    # What was withdrawn is not made by anybody any more.
    assert await services.ledger.take_wishes(in_flight=9, held_for=services.coordinator._timings.lease) == []


async def test_what_somebody_else_has_asked_for_is_not_saved(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    ours = (await client.post(POST, json={"items": foxes(3)}, headers=key)).headers["location"]
    theirs = (await client.post(POST, json={"items": foxes(2)}, headers=of(ALICE))).headers["location"]
    told = (await client.delete(ours, headers=key)).json()
    assert (told["withdrawn"], told["saved_usd"]) == (3, 0.003)
    assert (await client.get(theirs)).json()["counts"]["pending"] == 2


# --- how it goes on -------------------------------------------------------------------------------


async def test_members_are_made_one_by_one_and_what_fails_is_a_result(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    services.image_provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    made = await client.post(POST, json={"items": foxes(9)}, headers=key)
    # On Vercel the end of that call makes some.
    assert services.work.is_due
    await services.ledger.take_down(generation_key_of(services, fox("fox 8")), reason="complaint")
    report = await make_all(services)
    assert (report.made, report.failed, report.put_back) == (7, 2, 0)
    look = (await client.get(made.headers["location"])).json()
    assert (look["status"], look["counts"]["completed"], look["counts"]["failed"]) == ("completed", 7, 2)
    failed = {member["position"]: member["error"] for member in look["members"] if member["error"]}
    assert {position: (error["code"], error["retry"]) for position, error in failed.items()} == {
        0: ("moderated", False),
        8: ("taken_down", False),
    }
    assert services.image_provider.submits == 8
    pictures = [await client.get(member["url"]) for member in look["members"] if member["status"] == "completed"]
    assert {(picture.status_code, picture.headers["x-cache"]) for picture in pictures} == {(200, "HIT")}


async def test_on_vercel_the_call_itself_makes_some_at_its_end() -> None:
    services = memory_services(environ={"VERCEL": "1", "VERCEL_URL": "pictures.test"})
    headers = {"x-api-key": (await keep_key(services.ledger)).text}
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="https://pictures.test") as client:
        made = await client.post(POST, json={"items": foxes(6)}, headers=headers)
        look = (await client.get(made.headers["location"])).json()
    # Kept and answered before any of them was begun.
    assert (made.status_code, made.json()["counts"]["pending"]) == (202, 6)
    assert look["counts"]["completed"] == services.settings.work_items == services.image_provider.submits
    await services.request_meter.close()


async def test_who_asks_for_a_member_does_not_wait_for_its_turn_and_pays_once(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(5)}, headers=key)).headers["location"]
    urgent = await client.get("/64x64.jpg?text=fox%204")
    assert (urgent.status_code, urgent.headers["x-cache"]) == (200, "MISS")
    look = (await client.get(address)).json()
    assert (look["members"][4]["status"], look["members"][4]["cached"]) == ("completed", False)
    assert look["counts"]["pending"] == 4
    await make_all(services)
    assert services.image_provider.submits == 5


async def test_a_revoked_key_pays_for_nothing_more(client: httpx.AsyncClient, services: MemoryServices) -> None:
    kept = await keep_key(services.ledger)
    headers = {"authorization": f"Bearer {kept.text}"}
    address = (await client.post(POST, json={"items": foxes(3)}, headers=headers)).headers["location"]
    await services.ledger.revoke_api_key(kept.record.prefix)
    await make_all(services)
    look = (await client.get(address)).json()
    errors = [(member["error"]["code"], member["error"]["retry"]) for member in look["members"]]
    assert errors == [("unauthorized", False)] * 3
    assert services.image_provider.submits == 0


async def test_members_of_a_key_with_a_cap_of_zero_need_not_be_asked_for_anew(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    headers = {"authorization": f"Bearer {(await keep_key(services.ledger, cap_pictures=0)).text}"}
    address = (await client.post(POST, json={"items": foxes(1)}, headers=headers)).headers["location"]
    await make_all(services)
    [member] = (await client.get(address)).json()["members"]
    assert (member["error"]["code"], member["error"]["retry"]) == ("spending_refused", False)
    assert "nothing is set aside" in member["error"]["detail"]


async def test_of_a_forgotten_user_nothing_more_is_made(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await services.ledger.grant_credits(ALICE, 5, "g")
    await client.post(POST, json={"items": [*foxes(2), {"kind": "memoji"}]}, headers=of(ALICE))
    await services.ledger.forget_user(ALICE)
    await make_all(services)
    assert services.image_provider.submits == 0


async def test_memoji_of_a_batch_cost_credits_and_are_told_to_who_asked(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await services.ledger.grant_credits(ALICE, 1, "g")
    items = [{"kind": "memoji", "hair": "bob"}, {"kind": "memoji", "hair": "bun"}]
    address = (await client.post(POST, json={"items": items}, headers=of(ALICE))).headers["location"]
    await services.work.run(within_seconds=60, in_flight=1)
    look = (await client.get(address, headers=of(ALICE))).json()
    assert [member["status"] for member in look["members"]] == ["completed", "failed"]
    assert look["members"][1]["error"]["code"] == "not_enough_credits"
    assert await services.ledger.credits(ALICE) == Credits(balance=0, held=0)
    assert (await client.get(look["members"][0]["url"])).headers["content-type"] == "image/png"
    told = await client.get(f"/api/generations/{look['members'][0]['key']}", headers=of(ALICE))
    assert (told.status_code, told.json()["status"]) == (200, "completed")


# --- what is told ---------------------------------------------------------------------------------


async def test_a_member_that_failed_says_why_and_whether_to_ask_anew(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(6)}, headers=key)).headers["location"]
    codes = {
        "moderated": False,
        "taken_down": False,
        "bad_output": True,
        "budget_exhausted": True,
        "abandoned": True,
        "missing_scope": False,
    }
    for row, code in zip(list(services.ledger._wishes.values()), codes, strict=True):
        await services.ledger.settle_wish(row.id, Settlement(status=WishStatus.FAILED, code=code))
    look = (await client.get(address)).json()
    assert (look["status"], look["counts"]["failed"]) == ("completed", 6)
    assert {member["error"]["code"]: member["error"]["retry"] for member in look["members"]} == codes
    details = [member["error"]["detail"] for member in look["members"]]
    assert len(set(details)) == len(details)
    assert not [detail for detail in details if "Retry-After" in detail or len(detail) < 12]


async def test_members_are_told_by_page(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    address = (await client.post(POST, json={"items": foxes(205)}, headers=key)).headers["location"]
    positions, after, pages = [], -1, 0
    while after is not None:
        page = (await client.get(f"{address}?after={after}")).json()
        assert page["total"] == 205
        positions += [member["position"] for member in page["members"]]
        after, pages = page["next_after"], pages + 1
    assert (positions, pages) == (list(range(205)), 3)
    page = (await client.get(f"{address}?after=2&limit=2")).json()
    assert ([member["position"] for member in page["members"]], page["next_after"]) == ([3, 4], 4)
    beyond = (await client.get(f"{address}?after=2147483647")).json()
    assert (beyond["members"], beyond["next_after"]) == ([], None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=-1", "limit=all", "after=-2", "after=x", "after=2147483648", "limit="]
)
async def test_a_page_that_is_none_is_a_fault(client: httpx.AsyncClient, key: dict[str, str], query: str) -> None:
    address = (await client.post(POST, json={"items": [fox()]}, headers=key)).headers["location"]
    assert is_problem(await client.get(f"{address}?{query}"), 400, "invalid_request")


@pytest.mark.parametrize(
    "name",
    [
        str(NOBODYS),
        "0",
        "x" * 5_000,
        "%00",
        "%F0%9F%A6%8A",
        NOBODYS.hex,
        str(NOBODYS).upper(),
        f"%7B{NOBODYS}%7D",
        f"urn:uuid:{NOBODYS}",
        "' or 1=1 --",
        "..%2F..",
        f"{NOBODYS}%20",
        "٣" * 8,
    ],
)
async def test_an_id_of_nothing_is_not_found(client: httpx.AsyncClient, key: dict[str, str], name: str) -> None:
    assert is_problem(await client.get(f"/api/batches/{name}"), 404, "not_found")
    assert is_problem(await client.delete(f"/api/batches/{name}", headers=key), 404, "not_found")
    assert is_problem(await client.post(f"/api/batches/{name}/cancel", headers=key), 404, "not_found")


async def test_any_origin_may_ask(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    address = (await client.post(POST, json={"items": [fox()]}, headers=key)).headers["location"]
    for path in (address, f"{address}/cancel", f"/api/batches/{NOBODYS}"):
        answer = await client.request("OPTIONS", path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
    assert (await client.get(address)).headers["access-control-allow-origin"] == "*"


# --- what is no batch -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"items": []}, "invalid_batch"),
        ({"items": {}}, "invalid_batch"),
        ({"items": "a red fox"}, "invalid_batch"),
        ({"items": 3}, "invalid_batch"),
        ({"items": [fox()] * 1_001}, "invalid_batch"),
        ({"items": [{}] * 10_000}, "invalid_batch"),
        ({"items": [fox(n=16)] * 63}, "invalid_batch"),
        ({"items": [fox()], "priority": "urgent"}, "invalid_batch"),
        ({"items": [fox()], "priority": 2}, "invalid_batch"),
        ({"items": [fox()], "thread_id": "x" * 201}, "invalid_body"),
        ({"items": [fox()], "thread_id": 7}, "invalid_body"),
        ({"items": [fox()], "prompt": "a red fox"}, "unknown_parameter"),
        ({"items": [fox()], "n": 2}, "unknown_parameter"),
        ({"items": [fox()], "owner": "key:1"}, "unknown_parameter"),
    ],
)
async def test_what_is_no_batch_is_refused_and_nothing_is_kept(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str], body: dict[str, Any], code: str
) -> None:
    assert is_problem(await client.post(POST, json=body, headers=key), 400, code)
    assert (kept_by(services), services.image_provider.submits) == (0, 0)


async def test_a_batch_of_one_and_of_a_thousand_are_kept(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    for number in (1, 1_000):
        made = await client.post(POST, json={"items": foxes(number)}, headers=key)
        assert (made.status_code, made.json()["total"]) == (202, number)
    variants = await client.post(POST, json={"items": [fox(f"{each}", n=10) for each in range(100)]}, headers=key)
    assert variants.json()["total"] == 1_000


FAULTS = [
    ("a red fox", "invalid_body"),
    (None, "invalid_body"),
    ([fox()], "invalid_body"),
    ({}, "invalid_text"),
    (fox(""), "invalid_text"),
    (fox(width=9_999), "invalid_size"),
    (fox(width="64"), "invalid_size"),
    (fox(format="gif"), "invalid_format"),
    (fox(seed=-1), "invalid_seed"),
    (fox(model="nobody/knows"), "invalid_model"),
    (fox(colour="red"), "unknown_parameter"),
    (fox(kind="song"), "invalid_body"),
    (fox(priority="now"), "invalid_body"),
    (fox(n=0), "invalid_body"),
    (fox(n=17), "invalid_body"),
    (fox(n=2.0), "invalid_body"),
    (fox(n=True), "invalid_body"),
    (fox(n=2, seed=1), "invalid_seed"),
    ({"kind": "memoji", "n": 2}, "invalid_body"),
]


async def test_faulty_items_are_named_by_their_index_and_nothing_is_kept(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    assert len(FAULTS) < MAX_FAULTS
    items = [each for fault, _ in FAULTS for each in (fox(), fault)]
    answer = await client.post(POST, json={"items": items}, headers=key)
    assert is_problem(answer, 400, "invalid_items")
    told = answer.json()["items"]
    assert [(each["index"], each["code"]) for each in told] == [
        (2 * index + 1, code) for index, (_, code) in enumerate(FAULTS)
    ]
    assert all(set(each) == {"index", "code", "detail"} and each["detail"] for each in told)
    assert (kept_by(services), services.image_provider.submits) == (0, 0)


async def test_of_many_faulty_items_twenty_are_named(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    answer = await client.post(POST, json={"items": [fox(width=0, n=2)] * 500}, headers=key)
    assert is_problem(answer, 400, "invalid_items")
    assert [each["index"] for each in answer.json()["items"]] == list(range(MAX_FAULTS))
    assert answer.json()["detail"].startswith("At least 20")
    assert len(answer.content) < 10_000


async def test_what_is_said_of_faulty_items_is_short_however_long_they_are(
    client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    long = "x" * 40_000
    names = ("prompt", "model", "kind", "priority", "format", "seed", "dimensions", "fit", "title", "n", long)
    items = [{**fox(), name: long} for name in names] + [{"kind": "memoji", "hair": long}, {"kind": "memoji", long: 1}]
    answer = await client.post(POST, json={"items": items}, headers=key)
    assert is_problem(answer, 400, "invalid_items")
    assert [each["index"] for each in answer.json()["items"]] == list(range(len(items)))
    assert len(answer.content) < 8_000


async def test_a_body_has_a_mebibyte_at_most(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    headers = {**key, "content-type": "application/json"}
    items = json.dumps({"items": [fox()]})
    largest = items + " " * (MAX_BODY_BYTES - len(items))
    assert (await client.post(POST, content=largest, headers=headers)).status_code == 202
    kept = kept_by(services)
    assert is_problem(await client.post(POST, content=largest + " ", headers=headers), 413, "body_too_large")
    assert kept_by(services) == kept


async def test_too_many_items_are_counted(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    answer = await client.post(POST, json={"items": [{}] * 10_000}, headers=key)
    assert answer.json()["detail"].startswith("There are 10,000 items")


async def test_a_page_of_another_origin_may_read_why_it_was_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(POST, json={"items": [{}]})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "*")


def test_every_state_has_its_count() -> None:
    assert set(CountsOut.model_fields) == {state.value for state in State}
