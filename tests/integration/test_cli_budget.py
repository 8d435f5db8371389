"""`copperplate budget` over a real Postgres: exact amounts, names of known forms, and nothing done by halves."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.budgets import Budget
from copperplate.cli import main
from tests.contract.ledger.budget_operations import PRICE, STRANGERS, spend_for_good

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]

# The last ones are beyond what a budget takes, and beyond int64.
NO_AMOUNTS = [
    *(
        "-1",
        "-0.01",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e3",
        "$5",
        "+5",
        "0x10",
        "1_000",
        "1,000",
        "٣",
        "5.",
        ".5",
        "",
        " ",
    ),
    *("5 ", " 5", "5\n", "None", "OFF", "0.0000001", "1000000000", "9223372036854775808", "9" * 30),
]
NO_NAMES = [
    *(
        "",
        " ",
        "ALL",
        "wall",
        "all ",
        "all\n",
        "everything",
        "address:192.0.2.7",
        "address:*",
        "address",
        "user:",
        "user:*",
    ),
    *(
        "user:bob",
        "key:",
        "key:cp_",
        "key:abc",
        "key:abcdEFG1x",
        "link:",
        "link:A",
        "link:" + "l" * 17,
        "provider:",
        "tier:x",
    ),
    *("provider:fall", "model:fal", "model:fal/", "model:dall/e", "model:fal/a b", "prepaid/", "prepaid/prepaid/all"),
    *("prepaid/address:192.0.2.7", "anonymous:", "ALL:", "null"),
]
NO_TIMES = [
    "",
    "now",
    "0h",
    "-1h",
    "1.5h",
    "90",
    "2y",
    "6 h",
    "4000d",
    "2026-12-24",
    "2026-12-24T18:00",
    "18:00Z",
    "٢h",
    "9" * 9 + "h",
]


@pytest.fixture
def budget(owner_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one command: exit code, output, what was said beside it."""
    monkeypatch.setenv("DATABASE_URL", owner_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["budget", *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def told(budget: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    """By name."""
    code, output, said = budget(*arguments, "--json")
    assert code == 0, said
    return {row["budget"]: row for row in json.loads(output)}


def rows(owner_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(owner_url) as connection:
        columns = "name, cap_micro_usd, cap_pictures, override_micro_usd, override_pictures, override_until is not null"
        return connection.execute(f"select {columns} from copperplate.budgets order by name").fetchall()


def spend_once(owner_url: str, *budgets: Budget) -> None:
    async def run() -> None:
        ledger = PostgresLedger(owner_url)
        await ledger.open()
        try:
            await spend_for_good(ledger, str(uuid4()), *budgets)
        finally:
            await ledger.close()

    asyncio.run(run())


def test_a_fresh_deployment_shows_the_wall_and_the_strangers_half(budget: Command) -> None:
    shown = told(budget, "show")
    assert {name: (row["used_usd"], row["cap_usd"], row["left_usd"]) for name, row in shown.items()} == {
        "all": (0, 5, 5),
        "anonymous": (0, 2.5, 2.5),
    }
    code, output, _ = budget("show")
    assert code == 0
    assert output.splitlines()[1].split()[:4] == ["all", "$0.00", "$5.00", "$5.00"]


def test_what_is_spent_is_shown_and_no_address_is(budget: Command, owner_url: str) -> None:
    spend_once(owner_url, *STRANGERS)
    shown = told(budget, "show")
    assert {name: row["used_usd"] for name, row in shown.items()} == dict.fromkeys(
        ("all", "anonymous", "address:*"), 0.03
    )
    assert "192.0.2.7" not in budget("show")[1]
    assert shown["all"]["resets_at"].endswith("T00:00:00Z")


@pytest.mark.parametrize(
    ("amount", "micro_usd", "shown"),
    [
        ("0", 0, "$0.00"),
        ("0.000001", 1, "$0.000001"),
        ("0.1", 100_000, "$0.10"),
        ("19.99", 19_990_000, "$19.99"),
        ("999999999.999999", 999_999_999_999_999, "$999999999.999999"),
    ],
)
def test_amounts_are_exact(budget: Command, owner_url: str, amount: str, micro_usd: int, shown: str) -> None:
    code, output, _ = budget("set", "all", "--usd", amount)
    assert (code, output.splitlines()[1].split()[2:4]) == (0, [shown, shown])
    assert rows(owner_url) == [("all", micro_usd, None, None, None, False)]
    assert round(told(budget, "show", "all")["all"]["cap_usd"] * 1_000_000) == micro_usd


def test_zero_is_a_cap_and_off_leaves_it_to_the_settings(budget: Command, owner_url: str) -> None:
    assert told(budget, "set", "all", "--usd", "0", "--pictures", "0")["all"]["left_usd"] == 0
    assert rows(owner_url) == [("all", 0, 0, None, None, False)]
    after = told(budget, "set", "all", "--usd", "off", "--pictures", "off")["all"]
    assert (after["cap_usd"], after["cap_pictures"]) == (5, None)
    assert rows(owner_url) == []


def test_what_is_not_named_stays(budget: Command, owner_url: str) -> None:
    budget("set", "all", "--usd", "3")
    budget("set", "all", "--pictures", "70")
    assert rows(owner_url) == [("all", 3_000_000, 70, None, None, False)]
    budget("override", "all", "--usd", "9", "--until", "2h")
    code, _, said = budget("set", "all", "--usd", "4")
    assert (code, "An override stands until" in said, "`copperplate budget override all --end`" in said) == (
        1,
        True,
        True,
    )
    assert rows(owner_url) == [("all", 3_000_000, 70, 9_000_000, None, True)]
    assert budget("set", "all", "--usd", "4", "--pictures", "70")[0] == 0
    assert rows(owner_url) == [("all", 4_000_000, 70, 9_000_000, None, True)]


@pytest.mark.parametrize("option", ["--usd", "--pictures"])
def test_what_is_closed_altogether_is_opened_by_one_cap(budget: Command, owner_url: str, option: str) -> None:
    assert budget("set", "all", "--usd", "0", "--pictures", "0")[0] == 0
    assert budget("set", "all", option, "5")[0] == 0
    caps = (5_000_000, None) if option == "--usd" else (None, 5)
    assert rows(owner_url) == [("all", *caps, None, None, False)]


def test_a_prepaid_cap_stands_beside_the_daily_one(budget: Command) -> None:
    user = str(uuid4())
    shown = told(budget, "set", f"user:{user.upper()}", "--usd", "20", "--prepaid")
    assert list(shown) == [f"prepaid/user:{user}"]
    assert (shown[f"prepaid/user:{user}"]["cap_usd"], shown[f"prepaid/user:{user}"]["resets_at"]) == (20, None)
    both = told(budget, "show", f"user:{user}")
    assert {name: row["cap_usd"] for name, row in both.items()} == {f"user:{user}": 0.5, f"prepaid/user:{user}": 20}


@pytest.mark.parametrize("name", ["all", "key"])
def test_a_daily_cap_is_set_beside_a_prepaid_one(budget: Command, owner_url: str, name: str) -> None:
    name = f"key:{uuid4()}" if name == "key" else name
    for usd in ("20", "off"):
        budget("set", name, "--usd", usd, "--prepaid")
        assert told(budget, "set", name, "--usd", "0")[name]["left_usd"] == 0
        assert told(budget, "set", name, "--pictures", "7")[name]["cap_usd"] == 0
        assert rows(owner_url)[0][:3] == (name, 0, 7)
        budget("set", name, "--usd", "off", "--pictures", "off")


def test_a_reset_asks_first(budget: Command, owner_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spend_once(owner_url, *STRANGERS)
    assert budget("reset", "all")[0] == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    assert budget("reset", "all")[0] == 1
    assert told(budget, "show", "all")["all"]["used_usd"] == PRICE / 1_000_000
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    code, _, said = budget("reset", "all")
    assert (code, "budget all" in said) == (0, True)
    assert told(budget, "show", "all")["all"]["used_usd"] == 0
    spend_once(owner_url, *STRANGERS)
    assert told(budget, "reset", "all", "--yes")["all"]["used_usd"] == 0
    assert budget("audit")[0] == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_override_stands_for_a_while_and_can_be_ended(budget: Command, owner_url: str) -> None:
    before = datetime.now(UTC)
    shown = told(budget, "override", "anonymous", "--usd", "7.5", "--pictures", "9", "--until", "6h")["anonymous"]
    until = datetime.fromisoformat(shown["override_until"])
    assert abs(until - before - timedelta(hours=6)) < timedelta(minutes=2)
    assert (shown["cap_usd"], shown["cap_pictures"]) == (7.5, 9)
    until = told(budget, "override", "anonymous", "--usd", "1", "--until", "2w")["anonymous"]["override_until"]
    assert abs(datetime.fromisoformat(until) - before - timedelta(weeks=2)) < timedelta(minutes=2)
    later = (before + timedelta(days=2)).replace(microsecond=0).isoformat()
    assert told(budget, "override", "anonymous", "--usd", "0", "--until", later)["anonymous"]["cap_pictures"] is None
    assert told(budget, "override", "anonymous", "--end")["anonymous"]["override_until"] is None
    assert rows(owner_url) == []


def test_an_override_that_is_over_before_it_begins_is_refused(budget: Command, owner_url: str) -> None:
    code, _, said = budget("override", "all", "--usd", "1", "--until", "2020-01-01T00:00Z")
    assert (code, "--until is 2020-01-01T00:00:00Z" in said, "[invalid_request]" in said) == (1, True, True)
    assert rows(owner_url) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "all"),
        ("override", "all"),
        ("override", "all", "--usd", "1"),
        ("override", "all", "--until", "1h"),
        ("override", "all", "--end", "--usd", "1", "--until", "1h"),
        ("override", "all", "--end", "--until", "1h"),
        ("set", "--usd", "1"),
        ("reset", "--yes"),
        ("override", "all", "--usd", "off", "--until", "1h"),
    ],
    ids=" ".join,
)
def test_half_a_command_does_nothing(budget: Command, owner_url: str, arguments: tuple[str, ...]) -> None:
    assert budget(*arguments)[0] == 2
    assert rows(owner_url) == []


@pytest.mark.parametrize("value", NO_AMOUNTS)
def test_what_is_no_amount_is_refused_before_anything_is_done(budget: Command, owner_url: str, value: str) -> None:
    for option in ("--usd", "--pictures"):
        if option == "--pictures" and value == "1000000000":
            continue
        for command in (("set", "all"), ("override", "all", "--until", "1h")):
            assert budget(*command, f"{option}={value}")[0] == 2
    assert rows(owner_url) == []


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused_before_anything_is_done(budget: Command, owner_url: str, name: str) -> None:
    for command in (("show",), ("set", "--usd=1"), ("reset", "--yes"), ("override", "--usd=1", "--until=1h")):
        code, _, said = budget(*command, "--", name)
        assert code == 2, said
    assert rows(owner_url) == []


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_end_is_refused_before_anything_is_done(budget: Command, owner_url: str, value: str) -> None:
    assert budget("override", "all", "--usd", "1", f"--until={value}")[0] == 2
    assert rows(owner_url) == []


@pytest.mark.parametrize(
    "name", ["all", "anonymous", "link:blog-2", "provider:fal", "provider:openai", "model:fal/fal-ai/flux/schnell"]
)
def test_every_kind_of_name_can_be_set_and_shown(budget: Command, owner_url: str, name: str) -> None:
    assert told(budget, "set", name, "--usd", "1")[name]["cap_usd"] == 1
    assert told(budget, "show", name)[name]["cap_usd"] == 1
    assert [row[0] for row in rows(owner_url)] == [name]


def test_an_audit_that_finds_a_fault_fails(budget: Command, owner_url: str) -> None:
    spend_once(owner_url, *STRANGERS)
    code, output, said = budget("audit", "--json")
    assert (code, json.loads(output), said) == (0, {"counters": 3, "faults": []}, "")
    with psycopg.connect(owner_url) as connection:
        connection.execute("update copperplate.budget_usage set pictures = 7 where budget = 'all' and pictures = 1")
    code, _, said = budget("audit")
    assert (code, "all" in said) == (1, True)


def test_a_fault_of_an_address_or_a_user_names_nobody(budget: Command, owner_url: str) -> None:
    user = str(uuid4())
    spend_once(owner_url, *STRANGERS)
    spend_once(owner_url, Budget(name=f"user:{user}", is_own=True))
    with psycopg.connect(owner_url) as connection:
        connection.execute("update copperplate.budget_usage set pictures = 7 where pictures = 1")
        [digest] = connection.execute(
            "select distinct budget from copperplate.budget_usage where budget like 'address:%'"
        ).fetchall()
    code, output, said = budget("audit")
    assert code == 1
    assert digest[0].removeprefix("address:") not in output + said


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("model:fal/no-such-model", "no model fal/no-such-model"),
        ("model:fal/fal-ai/flux/schnell", ""),
        ("link:nosuch", "no key nosuch"),
        ("link:blog-2", ""),
        ("key:11111111-1111-1111-1111-111111111111", "no API key 11111111-1111"),
        ("provider:openai", ""),
    ],
)
def test_a_cap_that_bounds_nothing_is_set_with_a_warning(
    budget: Command, monkeypatch: pytest.MonkeyPatch, name: str, warned: str
) -> None:
    monkeypatch.setenv("FAL_KEY", "stand-in")
    monkeypatch.setenv("COPPERPLATE_URL_SIGNING_KEYS", f"blog-2:{'s' * 32}")
    for command in (("set", name), ("override", name, "--until", "1h"), ("set", name, "--prepaid")):
        code, _, said = budget(*command, "--usd", "1")
        assert (code, warned in said, bool(said)) == (0, True, bool(warned))


def test_a_key_is_shown_by_its_prefix_and_a_revoked_one_is_given_nothing(
    budget: Command, owner_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)
    named, identified = f"key:{key['prefix']}", f"key:{key['id']}"
    for command in (
        ("set", named, "--usd", "1"),
        ("set", named, "--usd", "9", "--prepaid"),
        ("show", named),
        ("show",),
    ):
        code, output, said = budget(*command)
        assert (code, said, key["id"] in output) == (0, "", False)
        assert named in output
    assert list(told(budget, "show", named)) == [identified, f"prepaid/{identified}"]
    assert main(["keys", "revoke", key["prefix"], "--yes"]) == 0
    before = rows(owner_url)
    for command in (("set", named), ("set", identified), ("override", named, "--until", "1h")):
        code, _, said = budget(*command, "--usd", "1")
        assert (code, f"cp_{key['prefix']}… is revoked" in said) == (1, True)
    assert rows(owner_url) == before
