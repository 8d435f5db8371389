"""Two people who signed in, with supabase-js: each reads what is theirs, nothing of the other, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from scripts import npm
from tests.contract.ledger.credits import acquire_charged, complete_charged
from tests.contract.ledger.harness import failure
from tests.support.pictures import picture_request
from tests.support.postgrest_server import make_jwt
from tests.support.supabase_js import SupabaseJs, check_installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.standin.supabase import Supabase

    SignIn = Callable[..., SupabaseJs]

ALICE = UUID("6a1f9c5e-0000-4000-8000-00000000a11c")
BOB = UUID("6a1f9c5e-0000-4000-8000-000000000b0b")
FORBIDDEN, NOT_POSSIBLE = "42501", "55000"
MINE = ("my_credits", "my_credit_ledger", "my_generations")
CLOSED = ("generation_status", "image_cache", "memoji_cache")
TABLES = ("accounts", "credit_ledger", "reservations")


@pytest.fixture
def sign_in(project: Supabase) -> SignIn:
    """A front end of whoever these claims say; `sub` is the user."""
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(f"no supabase-js: {error}")
    return lambda **claims: SupabaseJs(
        url=project.url, key=project.publishable_key, token=make_jwt("authenticated", **claims)
    )


@pytest.fixture
async def history(owner_url: str) -> None:
    """Alice had a fox made and was told, a hen failed, a cow is being made; Bob has credits and asked for the fox."""
    ledger = PostgresLedger(owner_url)
    await ledger.open()
    await ledger.grant_credits(ALICE, 5, "order 17")
    await ledger.grant_credits(BOB, 2, "order 18")
    await complete_charged(ledger, picture_request("fox"), ALICE)
    await ledger.deliver(ALICE, picture_request("fox").generation_key, {}, None)
    hen = await acquire_charged(ledger, picture_request("hen"), ALICE)
    assert isinstance(hen, Lead)
    await ledger.fail(picture_request("hen").generation_key, hen.fence, failure(FailureClass.MODERATED))
    await acquire_charged(ledger, picture_request("cow"), ALICE)
    await ledger.begin_request(BOB, picture_request("fox").generation_key, "k")
    await ledger.close()


def snapshot(owner_url: str) -> list[Any]:
    """Every row that has to do with credits."""
    with psycopg.connect(owner_url) as connection:
        return [
            row
            for table in ("accounts", "credit_ledger", "reservations", "user_requests", "submits")
            for row in connection.execute(f"select to_jsonb(t)::text from copperplate.{table} as t order by 1".encode())
        ]


@pytest.mark.usefixtures("history")
async def test_each_reads_their_own_credits_ledger_and_generations(sign_in: SignIn) -> None:
    balance, ledger, generations = sign_in(sub=str(ALICE)).ask(*(("select", view) for view in MINE))
    assert [(row["balance"], row["held"], row["available"]) for row in balance.data] == [(4, 1, 3)]
    assert [(row["kind"], row["delta"]) for row in ledger.data] == [("grant", 5), ("settle", -1)]
    told = {row["prompt_hash"]: (row["status"], row["credits"]) for row in generations.data}
    assert told == {
        picture_request("fox").generation_key: ("completed", 1),
        picture_request("hen").generation_key: ("failed", 0),
        picture_request("cow").generation_key: ("generating", 0),
    }
    balance, ledger, generations = sign_in(sub=str(BOB)).ask(*(("select", view) for view in MINE))
    assert [(row["balance"], row["held"]) for row in balance.data] == [(2, 0)]
    assert [(row["kind"], row["ref"]) for row in ledger.data] == [("grant", "order 18")]
    assert generations.data == []


@pytest.mark.usefixtures("history")
async def test_a_settled_row_of_the_ledger_names_the_generation_it_paid(sign_in: SignIn) -> None:
    ledger, generations = sign_in(sub=str(ALICE)).ask(("select", "my_credit_ledger"), ("select", "my_generations"))
    paid = {row["ref"] for row in ledger.data if row["kind"] == "settle"}
    assert [row["prompt_hash"] for row in generations.data if row["id"] in paid] == [
        picture_request("fox").generation_key
    ]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "claims",
    [{"sub": str(UUID(int=0))}, {}, {"sub": None}, {"sub": str(ALICE).replace("a11c", "a11d")}],
    ids=["nobody", "no sub", "sub is null", "off by one"],
)
async def test_somebody_else_sees_nothing(sign_in: SignIn, claims: dict[str, Any]) -> None:
    answers = sign_in(**claims).ask(*(("select", view) for view in MINE))
    assert [(each.code, each.data) for each in answers] == [(None, [])] * 3


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("sub", ["alice", "1 or true", "6a1f9c5e", ""])
async def test_a_sub_that_is_no_id_of_a_user_is_refused(sign_in: SignIn, sub: str) -> None:
    answers = sign_in(sub=sub).ask(*(("select", view) for view in MINE))
    assert [(each.code, each.data) for each in answers] == [("22P02", None)] * 3


@pytest.mark.usefixtures("history")
async def test_nobody_who_is_not_signed_in_sees_anything(project: Supabase) -> None:
    for key in (project.publishable_key, project.anon_key):
        answers = SupabaseJs(url=project.url, key=key).ask(*(("select", view) for view in (*MINE, *CLOSED)))
        assert [(each.code, each.data) for each in answers] == [(FORBIDDEN, None)] * 6


@pytest.mark.usefixtures("history")
async def test_what_the_server_knows_of_a_generation_is_shown_to_nobody(sign_in: SignIn) -> None:
    alice = sign_in(sub=str(ALICE))
    for view in CLOSED:
        for columns in ("*", "prompt_hash", "recipe", "prompt", "provider_urls", "error_message"):
            [answer] = alice.ask(("selectColumns", view, columns))
            assert answer.data is None
            assert answer.code in (FORBIDDEN, "42703"), (view, columns)
    # Nor through what is related to what she may read.
    for view in MINE:
        [answer] = alice.ask(("selectColumns", view, "*, generation_status(*)"))
        assert (answer.code, answer.data) == ("PGRST200", None)


@pytest.mark.usefixtures("history")
async def test_tables_behind_the_views_are_out_of_reach(sign_in: SignIn) -> None:
    for call, table in ((call, table) for call in ("select", "delete") for table in TABLES):
        [answer] = sign_in(sub=str(ALICE)).ask((call, table))
        assert answer.code in ("42P01", "PGRST205")  # by the version of PostgREST
    answers = sign_in(sub=str(ALICE)).ask(*(("selectInSchema", "copperplate", table) for table in TABLES))
    assert [each.code for each in answers] == ["PGRST106"] * 3


@pytest.mark.usefixtures("history")
async def test_nobody_changes_what_is_theirs_or_anybodys(sign_in: SignIn, owner_url: str) -> None:
    before = snapshot(owner_url)
    alice = sign_in(sub=str(ALICE))
    rows = {
        "my_credits": {"balance": 10**6},
        "my_credit_ledger": {"delta": 10**6, "kind": "grant", "ref": "mine"},
        "my_generations": {"prompt_hash": "0" * 64, "kind": "memoji"},
    }
    for view, row in rows.items():
        calls = [(verb, view, row) for verb in ("insert", "upsert", "updateAll")]
        for call, answer in zip([*calls, ("deleteAll", view)], alice.ask(*calls, ("deleteAll", view)), strict=True):
            assert answer.code in (FORBIDDEN, NOT_POSSIBLE), call
            assert answer.data is None
    asked = {"p_user": str(ALICE)}
    answers = alice.ask(
        ("rpc", "grant_credits", {**asked, "p_amount": 100, "p_ref": "mine"}),
        ("rpc", "get_credits", {"p_user": str(BOB)}),
        ("rpc", "refund_credits", {"p_reservation": str(UUID(int=1))}),
        ("rpc", "forget_user", {"p_user": str(BOB)}),
        ("rpc", "is_requested_by", {**asked, "p_generation_key": "0" * 64}),
        ("rpc", "begin_request", {**asked, "p_generation_key": "0" * 64}),
        ("rpc", "deliver_generation", {**asked, "p_generation_key": "0" * 64, "p_answer": {}}),
        ("rpc", "audit_credits", {}),
        ("rpc", "get_memoji_stats", {}),
        ("rpc", "cleanup_old_memoji", {}),
    )
    assert [(each.code, each.data) for each in answers] == [(FORBIDDEN, None)] * len(answers)
    # The function itself, not only a table that it would have touched.
    assert all((each.message or "").startswith("permission denied for function") for each in answers)
    inner = alice.ask(("rpc", "signed_in_user"), ("rpc", "note_user_deleted"), ("rpc", "give_back", {}))
    assert [each.code for each in inner] == ["PGRST202"] * 3
    assert snapshot(owner_url) == before


@pytest.mark.usefixtures("history")
async def test_a_forgotten_user_whose_token_is_still_good_sees_nothing(sign_in: SignIn, owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("select public.forget_user(%s)", [ALICE])
    answers = sign_in(sub=str(ALICE)).ask(*(("select", view) for view in MINE))
    assert [(each.code, each.data) for each in answers] == [(None, [])] * 3
