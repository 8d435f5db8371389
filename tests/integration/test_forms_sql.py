"""The forms of one picture as people see them in SQL: who paid, how long it took, and the questions of `sql/`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from copperplate.budgets import Budget, Spending
from copperplate.ledger_answers import Lead
from copperplate.recipes.memoji import MemojiRecipe, request_of
from tests.contract.ledger.credits import ALICE, BOB, complete_charged
from tests.contract.ledger.forms import WEBP, form, made
from tests.contract.ledger.harness import LEASE, complete
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    import psycopg

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.model import PictureRequest

    Editor = psycopg.Connection[dict[str, Any]]

FOLDER = Path(__file__).parents[2] / "sql"
KEY_ID = uuid4()


async def complete_spending(ledger: PostgresLedger, asked: PictureRequest, *own: Budget) -> None:
    spending = Spending(
        payer=own[0].name, amount_micro_usd=50, budgets=(*own, Budget(name="all", cap_micro_usd=10_000))
    )
    held = await ledger.acquire(asked, leader=uuid4(), lease_duration=LEASE, spending=spending)
    assert isinstance(held, Lead), held
    key, fence, made_of = asked.generation_key, held.fence, upload(asked.generation_key)
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="p", spending=spending)
    assert await ledger.intend_upload(key, fence, made_of, usage={})
    assert await ledger.complete(key, fence, made_of, url=None)
    wish = form(prompt=str(asked.recipe["prompt"]))
    original = next(each for each in await ledger.originals_without_placeholder(100) if each.generation_key == key)
    stored = made(wish)
    assert await ledger.intend_rendition(original, stored)
    assert await ledger.record_rendition(original, stored)


def payers(editor: Editor) -> dict[str, str | None]:
    rows = editor.execute("select prompt, payer from public.image_cache").fetchall()
    return {row["prompt"]: row["payer"] for row in rows}


async def test_an_entry_says_who_paid_until_they_are_forgotten(ledger: PostgresLedger, editor: Editor) -> None:
    own = {
        "user": Budget(name=f"user:{ALICE}", is_own=True),
        "key": Budget(name=f"key:{KEY_ID}", is_own=True),
        "stranger": Budget(name="anonymous"),
    }
    for prompt, budget in own.items():
        await complete_spending(ledger, form(prompt=prompt), budget)
    assert payers(editor) == {"user": f"user:{ALICE}", "key": f"key:{KEY_ID}", "stranger": None}
    await ledger.forget_user(ALICE)
    assert payers(editor) == {"user": None, "key": f"key:{KEY_ID}", "stranger": None}


async def test_whoever_paid_with_credits_is_named_before_any_budget(ledger: PostgresLedger, editor: Editor) -> None:
    await ledger.grant_credits(BOB, 5, "g")
    asked = request_of(MemojiRecipe(model="m", hair="short"))
    await complete_charged(ledger, asked, BOB)
    assert editor.execute("select payer from public.memoji_cache").fetchall() == [{"payer": f"user:{BOB}"}]
    await ledger.forget_user(BOB)
    assert editor.execute("select payer from public.memoji_cache").fetchall() == [{"payer": None}]


async def test_a_visible_key_is_named_as_any_other(ledger: PostgresLedger, editor: Editor) -> None:
    await complete_spending(ledger, form(prompt="fox"), Budget(name=f"key:{KEY_ID}", is_own=True))
    # As its submits are booked: to what was set aside for it.
    editor.execute("update copperplate.submits set budgets = array['prepaid/' || budgets[1], 'all']")
    assert payers(editor) == {"fox": f"key:{KEY_ID}"}


async def test_credits_that_paid_for_a_picture_before_pay_for_no_later_one(
    ledger: PostgresLedger, editor: Editor
) -> None:
    await ledger.grant_credits(BOB, 5, "g")
    asked = request_of(MemojiRecipe(model="m", hair="short"))
    await complete_charged(ledger, asked, BOB)
    # He was told the address, so nothing is given back.
    editor.execute("update copperplate.reservations set delivered_at = closed_at")
    editor.execute("delete from public.memoji_cache")
    await complete(ledger, asked, "again")
    assert editor.execute("select payer from public.memoji_cache").fetchall() == [{"payer": None}]


async def test_a_picture_made_again_is_not_said_to_be_paid_by_who_paid_before(
    ledger: PostgresLedger, editor: Editor
) -> None:
    await complete_spending(ledger, form(prompt="again"), Budget(name=f"user:{ALICE}", is_own=True))
    editor.execute("delete from public.image_cache")
    await complete_spending(ledger, form(prompt="again"), Budget(name="anonymous"))
    assert payers(editor) == {"again": None}


async def test_forms_of_a_picture_are_listed_by_either_key(ledger: PostgresLedger, editor: Editor) -> None:
    original = await complete(ledger, form())
    for wish in (form(), form(side=16), form(WEBP, side=16)):
        await ledger.intend_rendition(original, made(wish))
        await ledger.record_rendition(original, made(wish))
    await complete(ledger, picture_request("another"), "another")
    question = (FOLDER / "renditions_of_picture.sql").read_text()
    example = question.split("'")[1]
    for key in (form().generation_key, form(side=16).rendition_key):
        rows = editor.execute(question.replace(example, key).encode()).fetchall()
        assert [(row["format"], row["width"], row["is_original"], row["is_shown"]) for row in rows] == [
            ("png", 64, True, False),
            ("jpg", 16, False, False),
            ("jpg", 64, False, True),
            ("webp", 16, False, True),
        ]


async def test_entry_audit_is_empty_until_a_hand_changes_an_entry(ledger: PostgresLedger, editor: Editor) -> None:
    await complete_spending(ledger, form(), Budget(name="anonymous"))
    question = (FOLDER / "entry_audit.sql").read_bytes()
    assert editor.execute(question).fetchall() == []
    editor.execute("update copperplate.cache_entries set file_size = file_size + 1 where is_original")
    [row] = editor.execute(question).fetchall()
    assert (row["kind"], row["fault"], row["found"] - row["expected"]) == ("image", "total of stored bytes", -1)
