"""`copperplate keys` over a real Postgres: a key is shown once, and kept nowhere."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.access.api_keys import digest_of, is_whole
from copperplate.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Keys = Callable[..., tuple[int, str, str]]

# The last four are beyond what a budget takes, and beyond int64.
NO_CAPS = [
    *("-1", "-0.01", "nan", "NaN", "inf", "-inf", "1e3", "off", "$5", "+5", "0x10", "1_000", "1,000", "٣", "5.", ".5"),
    *("", " ", "5 ", " 5", "5\n", "None", "0.0000001"),
    *("1000000000.000001", "1000000000000001", "9223372036854775808", "99999999999999999999999999"),
]
WHOLE = "cp_abcdEFG1" + "x" * 49


@pytest.fixture
def keys(owner_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keys:
    """Runs one command: exit code, output, what was said beside it."""
    monkeypatch.setenv("DATABASE_URL", owner_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["keys", *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def made(keys: Keys, *arguments: str) -> dict[str, Any]:
    code, output, _ = keys("create", "--json", *arguments)
    assert code == 0
    row: dict[str, Any] = json.loads(output)
    return row


def budget_of(owner_url: str, row: dict[str, Any]) -> tuple[int | None, int | None] | None:
    with psycopg.connect(owner_url) as connection:
        query = "select cap_micro_usd, cap_pictures from copperplate.budgets where name = %s"
        return connection.execute(query, [f"key:{row['id']}"]).fetchone()


def everything_kept(owner_url: str) -> str:
    """Every row of every table of ours, as text."""
    with psycopg.connect(owner_url) as connection:
        tables = connection.execute(
            "select c.oid::regclass::text from pg_class as c "
            "where c.relkind = 'r' and c.relnamespace in ('copperplate'::regnamespace, 'public'::regnamespace)"
        ).fetchall()
        rows = [connection.execute(f"select t::text from {name} as t").fetchall() for (name,) in tables]
    return "\n".join(text for table in rows for (text,) in table)


def test_key_is_shown_once_and_kept_nowhere(keys: Keys, owner_url: str) -> None:
    code, output, said = keys("create", "--tier", "premium", "--scopes", "generate,purge", "--name", "the shop")
    text = output.strip()
    assert code == 0
    assert is_whole(text)
    assert text not in said
    assert "premium" in said
    assert f"cp_{text[3:11]}…" in said
    kept = everything_kept(owner_url)
    assert digest_of(text) in kept
    assert text[11:] not in kept
    assert text[11:-6] not in kept
    for command in (("list",), ("list", "--json"), ("show", text[3:11]), ("show", text[:11], "--json")):
        code, output, said = keys(*command)
        assert code == 0
        assert "the shop" in output
        assert text[11:] not in output + said
        assert digest_of(text) not in output + said


def test_key_has_what_it_was_given(keys: Keys, owner_url: str) -> None:
    row = made(keys, "--tier", "t-1", "--scopes", "admin, generate", "--cap-usd", "2.5", "--cap-pictures", "0")
    assert (row["tier"], row["scopes"], row["visible"]) == ("t-1", ["admin", "generate"], False)
    assert (row["cap_usd"], row["cap_pictures"], row["state"], row["expires_at"]) == (2.5, 0, "active", None)
    assert budget_of(owner_url, row) == (2_500_000, 0)
    _, output, _ = keys("show", row["prefix"], "--json")
    assert json.loads(output) == {name: value for name, value in row.items() if name != "key"}
    plain = made(keys)
    assert (plain["tier"], plain["scopes"], plain["cap_usd"]) == ("standard", ["generate"], None)
    assert budget_of(owner_url, plain) is None
    most = made(keys, "--cap-usd", "999999999.999999", "--cap-pictures", str(10**15))
    assert budget_of(owner_url, most) == (10**15 - 1, 10**15)


@pytest.mark.parametrize(("asked", "days"), [("30", 30), ("30d", 30), ("12h", 0.5), ("8w", 56), ("36500", 36_500)])
def test_a_lifetime_is_a_duration_and_a_number_alone_is_days(keys: Keys, asked: str, days: float) -> None:
    row = made(keys, "--expires", asked)
    life = datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"])
    assert life == timedelta(days=days)


@pytest.mark.parametrize(("asked", "hours"), [((), 24), (("2",), 2), (("90m",), 1.5), (("2d",), 48), (("1w",), 168)])
def test_a_grace_is_a_duration_and_a_number_alone_is_hours(keys: Keys, asked: tuple[str, ...], hours: float) -> None:
    row, before = made(keys), datetime.now(UTC)
    grace = ("--grace", *asked) if asked else ()
    code, output, said = keys("rotate", row["prefix"], "--yes", "--json", *grace)
    assert code == 0, said
    left = datetime.fromisoformat(json.loads(output)["previous_until"]) - before
    assert abs(left - timedelta(hours=hours)) < timedelta(minutes=2)


@pytest.mark.parametrize("wrong", ["", "-1", "1.5", "2y", "2 h", "366d", "٢", "9" * 30])
def test_a_grace_that_is_none_is_refused(keys: Keys, wrong: str) -> None:
    code, output, said = keys("rotate", "abcdEFG1", "--yes", f"--grace={wrong}")
    assert (code, output) == (2, "")
    assert "a duration such as 90m" in said


def test_visible_key_has_nothing_to_spend_unless_somebody_says_how_much(keys: Keys, owner_url: str) -> None:
    assert budget_of(owner_url, made(keys, "--visible")) == (0, 0)
    assert budget_of(owner_url, made(keys, "--visible", "--cap-usd", "1")) == (1_000_000, None)
    code, output, said = keys("create", "--visible", "--scopes", "generate,admin")
    assert (code, output) == (2, "")
    assert "everybody can read" in said


@pytest.mark.parametrize("option", ["--cap-usd", "--cap-pictures"])
@pytest.mark.parametrize("cap", NO_CAPS)
def test_caps_that_are_none_are_refused(keys: Keys, option: str, cap: str) -> None:
    code, output, said = keys("create", f"{option}={cap}")
    assert (code, output) == (2, "")
    assert option in said
    assert keys("list", "--json")[1] == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--scopes", ""),
        ("--scopes", "root"),
        ("--scopes", "generate,"),
        ("--scopes", "Generate"),
        ("--tier", ""),
        ("--tier", "a tier"),
        ("--tier", "x" * 33),
        ("--name", "x" * 101),
        ("--name", "a\nb"),
        ("--expires", "0"),
        ("--expires", "30 d"),
        ("--expires", "5215w"),
        ("--expires", "36501"),
        ("--expires", "1.5"),
    ],
)
def test_what_is_no_key_is_refused(keys: Keys, arguments: tuple[str, str]) -> None:
    code, output, _ = keys("create", *arguments)
    assert (code, output) == (2, "")


def test_rotated_key_has_a_new_secret_and_the_same_rights(keys: Keys) -> None:
    row = made(keys, "--cap-usd", "3")
    code, output, _ = keys("rotate", row["prefix"], "--yes", "--json", "--grace", "2")
    rotated = json.loads(output)
    assert (code, rotated["prefix"], rotated["id"], rotated["cap_usd"]) == (0, row["prefix"], row["id"], 3)
    assert rotated["key"] != row["key"]
    assert rotated["key"][:11] == row["key"][:11]
    assert rotated["previous_until"] is not None
    code, output, _ = keys("rotate", row["prefix"], "--yes", "--grace", "0")
    assert (code, output[:11]) == (0, row["key"][:11])
    assert json.loads(keys("show", row["prefix"], "--json")[1])["previous_until"] < rotated["previous_until"]


def test_revoked_key_has_nothing_to_spend_from_that_moment(keys: Keys, owner_url: str) -> None:
    row = made(keys, "--cap-usd", "3")
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "update copperplate.budgets set override_micro_usd = 9, override_until = 'infinity' where name = %s",
            [f"key:{row['id']}"],
        )
    code, output, _ = keys("revoke", row["prefix"], "--yes", "--json")
    assert (code, json.loads(output)["state"]) == (0, "revoked")
    assert budget_of(owner_url, row) == (0, 0)
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("select from copperplate.budgets where override_until is not null").rowcount == 0
    assert keys("revoke", row["prefix"], "--yes")[0] == 0
    code, _, said = keys("rotate", row["prefix"], "--yes")
    assert code == 1
    assert said.endswith("[not_found]\n")


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_what_ends_a_key_asks_first(keys: Keys, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    row = made(keys)
    code, output, said = keys(command, row["prefix"])
    assert (code, output) == (2, "")
    assert "--yes" in said

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, expected in (("n", 1), ("", 1), ("yes", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
        code, output, said = keys(command, row["prefix"])
        assert code == expected
        assert bool(output) is (expected == 0)
        assert f"cp_{row['prefix']}…" in said


@pytest.mark.parametrize("command", [("show",), ("rotate", "--yes"), ("revoke", "--yes")])
@pytest.mark.parametrize("named", ["abcdEFG1", "cp_abcdEFG1", "cp_abcdEFG1…"])
def test_key_that_is_not_there_is_not_found(keys: Keys, command: tuple[str, ...], named: str) -> None:
    code, output, said = keys(command[0], named, *command[1:])
    assert (code, output) == (1, "")
    assert said.endswith("[not_found]\n")


@pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
@pytest.mark.parametrize("named", [WHOLE, "abc", "", "abcd-FG1", "ключключ"])
def test_keys_are_named_by_their_prefix_and_no_message_repeats_one(keys: Keys, command: str, named: str) -> None:
    code, output, said = keys(command, named)
    assert (code, output) == (2, "")
    assert "x" * 20 not in said
