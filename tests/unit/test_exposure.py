"""What `doctor` says of the wall: what a day may cost, through whom, and what should be done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copperplate.access import shares
from copperplate.access.exposure import Remark, remarks_on
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SIGNING = {"COPPERPLATE_URL_SIGNING_KEYS": "one:" + "s" * 32}


async def remarks(
    variables: Mapping[str, str],
    *,
    billable: tuple[str, ...] = ("fal",),
    wall: tuple[int | None, int | None] = (None, None),
) -> dict[str, Remark]:
    """By what they are about; `wall` is what the operator set."""
    settings, ledger = Settings.from_env(dict(variables)), MemoryLedger(FakeClock())
    await ledger.set_budget("all", *wall)
    states = await ledger.read_budgets(shares.named(settings, ()))
    return {remark.what: remark for remark in remarks_on(settings, billable, states)}


async def test_by_default_a_day_costs_five_dollars_and_strangers_have_half_of_it() -> None:
    told = (await remarks({}))["budget"]
    assert not told.is_warning
    for part in (
        "fal may cost at most $5.00 a day (UTC), $0.00 of it today",
        "callers nobody knows share $2.50 of it, one address $0.25",
        "a signed-in user has $0.50",
    ):
        assert part in told.detail


async def test_what_the_operator_set_counts_before_the_settings() -> None:
    told = (await remarks({"COPPERPLATE_DAILY_BUDGET_USD": "80"}, wall=(10_000_000, 200)))["budget"]
    assert "at most $10.00 and 200 pictures a day" in told.detail
    assert "share $5.00 of it, one address $0.50" in told.detail


async def test_a_wall_that_is_off_is_a_warning_wherever_something_costs() -> None:
    told = (await remarks({"COPPERPLATE_DAILY_BUDGET_USD": "off"}, billable=("openai", "fal", "fal")))["budget"]
    assert told.is_warning
    assert "what fal, openai may cost a day has no limit" in told.detail
    assert "COPPERPLATE_DAILY_BUDGET_USD" in told.detail


@pytest.mark.parametrize("wall", [(None, 500), (0, None), (3_000_000, None)])
async def test_any_cap_is_a_wall(wall: tuple[int | None, int | None]) -> None:
    off = {"COPPERPLATE_DAILY_BUDGET_USD": "off", "COPPERPLATE_ACCESS": "keys"}
    assert not (await remarks(off, wall=wall))["budget"].is_warning


EVERYTHING = "callers nobody knows can use up everything"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DAILY_BUDGET_USD": "off", "DAILY_BUDGET_PICTURES": "5"}, "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES"),
        ({"DAILY_BUDGET_PICTURES": "5"}, "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES"),
        ({"DAILY_BUDGET_PICTURES": "5", "ANONYMOUS_BUDGET_PICTURES": "5"}, "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES"),
        ({"ANONYMOUS_BUDGET_USD": "50"}, "COPPERPLATE_ANONYMOUS_BUDGET_USD"),
        ({"ANONYMOUS_BUDGET_USD": "5"}, "COPPERPLATE_ANONYMOUS_BUDGET_USD"),
    ],
)
async def test_strangers_who_can_use_up_everything_are_a_warning(variables: dict[str, str], named: str) -> None:
    told = (await remarks({f"COPPERPLATE_{name}": value for name, value in variables.items()}))["budget"]
    assert told.is_warning
    assert f"{EVERYTHING}: set {named} lower than" in told.detail


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ANONYMOUS_BUDGET_USD": "4.99"},
        {"ANONYMOUS_BUDGET_USD": "0", "DAILY_BUDGET_PICTURES": "5"},
        {"DAILY_BUDGET_PICTURES": "5", "ANONYMOUS_BUDGET_PICTURES": "4"},
        {"DAILY_BUDGET_USD": "off", "DAILY_BUDGET_PICTURES": "5", "ANONYMOUS_BUDGET_PICTURES": "4"},
        {"DAILY_BUDGET_USD": "off", "DAILY_BUDGET_PICTURES": "5", "ACCESS": "keys"},
        {"DAILY_BUDGET_USD": "0"},
    ],
)
async def test_strangers_who_leave_some_are_none(variables: dict[str, str]) -> None:
    told = (await remarks({f"COPPERPLATE_{name}": value for name, value in variables.items()}))["budget"]
    assert not told.is_warning
    assert EVERYTHING not in told.detail


async def test_nobody_is_said_to_have_more_than_the_wall() -> None:
    more = {f"COPPERPLATE_{name}_BUDGET_USD": "80" for name in ("ANONYMOUS", "USER")}
    told = (await remarks({**more, "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": "9"}, wall=(None, 3)))["budget"]
    assert (
        "callers nobody knows share $5.00 and 3 pictures of it, one address $5.00; a signed-in user has $5.00"
        in told.detail
    )
    assert "80" not in told.detail


async def test_where_nothing_costs_nothing_is_warned_of() -> None:
    told = await remarks({"COPPERPLATE_DAILY_BUDGET_USD": "off"}, billable=())
    assert not any(remark.is_warning for remark in told.values())
    assert "nothing costs money here" in told["budget"].detail


@pytest.mark.parametrize("mode", ["open", "signed", "keys"])
async def test_the_access_mode_is_said_with_who_may_spend(mode: str) -> None:
    told = await remarks({"COPPERPLATE_ACCESS": mode, **SIGNING})
    assert told["access"].detail.startswith(f"{mode}: ")
    assert ("callers nobody knows" in told["budget"].detail) is (mode == "open")
    assert ("lets no stranger spend" in told["access"].detail) is (mode == "open")
    assert "ssss" not in str(told)


async def test_signed_without_a_key_to_sign_with_is_a_warning() -> None:
    told = await remarks({"COPPERPLATE_ACCESS": "signed"})
    assert told["access"].is_warning
    assert "COPPERPLATE_URL_SIGNING_KEYS" in told["access"].detail


@pytest.mark.parametrize(
    ("variables", "is_warned"),
    [
        ({}, False),
        ({"COPPERPLATE_PUBLIC_BASE_URL": "http://127.0.0.1:8000"}, False),
        ({"COPPERPLATE_PUBLIC_BASE_URL": "https://pictures.example.com"}, True),
        (
            {
                "COPPERPLATE_PUBLIC_BASE_URL": "https://pictures.example.com",
                "COPPERPLATE_TRUSTED_PROXIES": "10.0.0.0/8",
            },
            False,
        ),
        ({"COPPERPLATE_PUBLIC_BASE_URL": "https://pictures.example.com", "VERCEL": "1"}, False),
    ],
)
async def test_a_proxy_that_is_not_named_makes_all_callers_one_address(
    variables: dict[str, str], *, is_warned: bool
) -> None:
    told = await remarks(variables)
    assert ("proxies" in told) is is_warned
    if is_warned:
        assert told["proxies"].is_warning
        assert "COPPERPLATE_TRUSTED_PROXIES" in told["proxies"].detail


async def test_an_override_is_what_a_day_may_cost_while_it_stands() -> None:
    settings, ledger = Settings.from_env({}), MemoryLedger(FakeClock())
    [wall, unknown] = await ledger.read_budgets(shares.named(settings, ()))
    states = [replace(wall, cap_micro_usd=50_000_000, used_micro_usd=1_250_000), unknown]
    [told, *_] = remarks_on(settings, ["fal"], states)
    assert "at most $50.00 a day (UTC), $1.25 of it today" in told.detail


@pytest.mark.parametrize("page", ["README.md", "docs/vercel.md"])
async def test_the_first_screen_says_what_the_settings_make_of_a_day(page: str) -> None:
    settings, ledger = Settings.from_env({}), MemoryLedger(FakeClock())
    budgets = (*shares.named(settings, ()), shares.of_address("192.0.2.1"))
    whole, unknown, address = [state.cap_micro_usd for state in await ledger.read_budgets(budgets)]
    assert whole is not None
    assert (unknown, address) == (whole // 2, whole // 20)
    head = (ROOT / page).read_text().partition("\n## ")[0]
    for part in (
        f"${whole / 1e6:.2f}",
        "half of it",
        f"a tenth of that half (${whole / 2e7:.2f})",
        "COPPERPLATE_DAILY_BUDGET_USD",
    ):
        assert part in head.replace("\n", " "), part
