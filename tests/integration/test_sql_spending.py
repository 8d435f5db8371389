"""The files of sql/ that compare spending with caps, on a database in which the answers are known."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.access.api_keys import make_key
from copperplate.api_keys import Scope
from copperplate.budgets import Budget
from copperplate.ports.access import NewApiKey
from tests.contract.ledger.budget_operations import ADDRESS, PRICE, UNKNOWN, WALL, spend
from tests.integration.test_sql_files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from copperplate.adapters.ledger.postgres import PostgresLedger

    Ask = Callable[[str], list[dict[str, Any]]]

DOLLARS = Decimal(PRICE) / 1_000_000


@pytest.fixture
def ask(editor: psycopg.Connection[dict[str, Any]]) -> Ask:
    """Runs a file and answers its rows."""
    return lambda name: editor.execute((FOLDER / name).read_bytes()).fetchall()


def move_to_yesterday(editor: psycopg.Connection[dict[str, Any]]) -> None:
    editor.execute("update copperplate.budget_usage set day = day - 1 where day > '-infinity'")


async def make(ledger: PostgresLedger, prefix: str, cap_micro_usd: int | None) -> Budget:
    digest = make_key(prefix).digest
    scopes = frozenset({Scope.GENERATE})
    key = await ledger.create_api_key(
        NewApiKey(
            prefix=prefix, digest=digest, name=f"of {prefix}", tier="t", scopes=scopes, cap_micro_usd=cap_micro_usd
        )
    )
    return Budget(name=f"key:{key.id}", is_own=True)


async def test_spend_by_key(ledger: PostgresLedger, ask: Ask) -> None:
    used = await make(ledger, "AAAAAAAA", 90_000)
    await make(ledger, "BBBBBBBB", None)
    await ledger.set_budget(f"prepaid/{used.name}", 500_000, 9)
    for prompt in ("a", "b"):
        await spend(ledger, prompt, used, WALL)
    rows = [
        (row["prefix"], row["name"], row["per"], row["spent_usd"], row["cap_usd"], row["pictures"], row["cap_pictures"])
        for row in ask("spend_by_key.sql")
    ]
    assert rows == [
        ("AAAAAAAA", "of AAAAAAAA", "a day", 2 * DOLLARS, Decimal("0.09"), 2, None),
        ("AAAAAAAA", "of AAAAAAAA", "once", 2 * DOLLARS, Decimal("0.5"), 2, 9),
        ("BBBBBBBB", "of BBBBBBBB", "a day", 0, None, 0, None),
    ]


async def test_spend_by_user(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: Ask) -> None:
    much, little = (Budget(name=f"user:{uuid4()}", share_of="all", permille=100, is_own=True) for _ in range(2))
    await spend(ledger, "before", little, WALL)
    move_to_yesterday(editor)
    for prompt, user in (("a", much), ("b", much), ("c", little)):
        await spend(ledger, prompt, user, WALL)
    rows = [(row["user_id"], row["spent_usd"], row["cap_usd"], row["pictures"]) for row in ask("spend_by_user.sql")]
    assert rows == [
        (much.name.removeprefix("user:"), 2 * DOLLARS, Decimal("0.5"), 2),
        (little.name.removeprefix("user:"), DOLLARS, Decimal("0.5"), 1),
        (little.name.removeprefix("user:"), DOLLARS, Decimal("0.5"), 1),
    ]


async def test_spend_by_day(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: Ask) -> None:
    await spend(ledger, "before", WALL)
    move_to_yesterday(editor)
    await ledger.set_budget("all", 100_000, 40)
    for prompt in ("a", "b"):
        await spend(ledger, prompt, WALL)
    today, yesterday = ask("spend_by_day.sql")
    assert (today["spent_usd"], today["cap_usd"], today["used_percent"]) == (2 * DOLLARS, Decimal("0.1"), 60)
    assert (today["pictures"], today["cap_pictures"]) == (2, 40)
    assert (yesterday["spent_usd"], yesterday["cap_usd"], yesterday["cap_pictures"]) == (DOLLARS, 5, None)
    assert (today["day"] - yesterday["day"]).days == 1


async def test_spend_of_strangers_names_no_address(ledger: PostgresLedger, ask: Ask) -> None:
    other = Budget(name="address:198.51.100.9", share_of="anonymous", permille=100, is_own=True)
    for prompt, address in (("a", ADDRESS), ("b", ADDRESS), ("c", other)):
        await spend(ledger, prompt, address, UNKNOWN, WALL)
    [row] = ask("spend_of_strangers.sql")
    assert (row["spent_usd"], row["share_usd"], row["pictures"]) == (3 * DOLLARS, Decimal("2.5"), 3)
    assert (row["addresses"], row["most_by_one_usd"]) == (2, 2 * DOLLARS)
    assert not {name for name in row if "digest" in name}


async def test_the_share_of_strangers_is_none_that_caps_set_since_forbid(ledger: PostgresLedger, ask: Ask) -> None:
    await ledger.set_budget("all", 999_999_999_000_000, None)
    await spend(ledger, "a", ADDRESS, UNKNOWN, WALL)
    assert [row["share_usd"] for row in ask("spend_of_strangers.sql")] == [Decimal("499999999.5")]
    await ledger.set_budget("all", 5_000_000, None)
    assert [row["share_usd"] for row in ask("spend_of_strangers.sql")] == [5], "no more than the whole has"
    await ledger.set_budget("all", None, None)
    await spend(ledger, "of somebody known", WALL)
    assert [row["share_usd"] for row in ask("spend_of_strangers.sql")] == [5]
    await ledger.set_budget("anonymous", 1_000_000, 7)
    [row] = ask("spend_of_strangers.sql")
    assert (row["share_usd"], row["share_pictures"]) == (1, 7)
