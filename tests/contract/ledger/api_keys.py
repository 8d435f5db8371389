"""What every ledger promises of API keys."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.api_keys import Scope
from copperplate.budgets import Budget, Refused, Spending
from copperplate.errors import LedgerUnavailable
from copperplate.ledger_answers import Lead
from copperplate.ports.access import ApiKeyRecord, FoundApiKey, KeyState, NewApiKey
from tests.contract.ledger.harness import LONG_LEASE
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.ledger_answers import AcquireResult
    from tests.contract.ledger.harness import LedgerHarness

HOUR = timedelta(hours=1)


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def new_key(prefix: str = "abcdEFG1", **given: Any) -> NewApiKey:
    return NewApiKey(
        **{
            "prefix": prefix,
            "digest": digest_of(prefix),
            "name": "the shop's 'ключ'",
            "tier": "premium",
            "scopes": frozenset({Scope.GENERATE, Scope.PURGE}),
            **given,
        }
    )


async def found(harness: LedgerHarness, name: str) -> FoundApiKey:
    result: FoundApiKey | None = await harness.ledger.find_api_key(digest_of(name))
    assert result is not None
    return result


async def ask(harness: LedgerHarness, key: ApiKeyRecord, name: str) -> AcquireResult:
    """Acquire a picture that is booked to a key."""
    spending = Spending(payer="", amount_micro_usd=1, budgets=(Budget(name=f"key:{key.id}", is_own=True),))
    result: AcquireResult = await harness.ledger.acquire(
        picture_request(f"{key.prefix} {name}"), leader=uuid4(), lease_duration=LONG_LEASE, spending=spending
    )
    return result


def caps(key: ApiKeyRecord) -> tuple[int | None, int | None]:
    return key.cap_micro_usd, key.cap_pictures


class ApiKeyContract:
    """A key is found by its digest while it is in force; one that is revoked is revoked for good."""

    async def test_a_key_is_found_by_its_digest_with_what_was_said_of_it(self, harness: LedgerHarness) -> None:
        new = new_key(cap_micro_usd=7, cap_pictures=10**15)
        made = await harness.ledger.create_api_key(new)
        shown, given = asdict(made), asdict(new)
        for name in ("prefix", "name", "tier", "scopes", "is_visible", "cap_micro_usd", "cap_pictures"):
            assert shown[name] == given[name]
        assert (made.expires_at, made.revoked_at, made.last_used_at, made.previous_until) == (None, None, None, None)
        result = await found(harness, new.prefix)
        assert (result.state, result.left) == (KeyState.ACTIVE, None)
        assert replace(result.key, last_used_at=None) == made

    async def test_a_digest_that_is_no_keys_is_nobodys(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_api_key(new_key())
        for unknown in (digest_of("another"), "", "abcdEFG1", digest_of("abcdEFG1").upper()):
            assert await harness.ledger.find_api_key(unknown) is None

    async def test_a_key_is_made_once_however_often_the_call_is_sent(self, harness: LedgerHarness) -> None:
        first = await harness.ledger.create_api_key(new_key(cap_pictures=3))
        assert await harness.ledger.create_api_key(new_key(cap_pictures=3)) == first
        assert await harness.ledger.list_api_keys() == [first]

    async def test_a_prefix_and_a_digest_are_one_keys(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_api_key(new_key())
        with pytest.raises(LedgerUnavailable):
            await harness.ledger.create_api_key(new_key(digest=digest_of("other")))
        with pytest.raises(LedgerUnavailable):
            await harness.ledger.create_api_key(new_key("ABCDefg1", digest=digest_of("abcdEFG1")))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"scopes": frozenset()},
            {"scopes": frozenset({"root"})},
            {"is_visible": True},  # with a scope beside generate
            {"is_visible": True, "scopes": frozenset({Scope.ADMIN})},
            {"cap_micro_usd": -1},
            {"cap_pictures": -1},
            {"cap_micro_usd": 10**15 + 1},
            {"expires_in": timedelta(0)},
        ],
    )
    async def test_what_is_no_key_is_not_kept(self, harness: LedgerHarness, wrong: dict[str, Any]) -> None:
        with pytest.raises(LedgerUnavailable):
            await harness.ledger.create_api_key(new_key(**wrong))
        assert await harness.ledger.list_api_keys() == []

    async def test_a_visible_key_spends_nothing_again_once_its_caps_are_taken_off(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        visible = await ledger.create_api_key(
            new_key("visible0", is_visible=True, scopes=frozenset({Scope.GENERATE}), cap_pictures=5)
        )
        told = await ledger.set_budget(f"key:{visible.id}", None, None)
        assert (told.cap_micro_usd, told.cap_pictures) == (0, 0)
        secret = await ledger.create_api_key(new_key("secret00", cap_pictures=5))
        told = await ledger.set_budget(f"key:{secret.id}", None, None)
        assert (told.cap_micro_usd, told.cap_pictures) == (None, None)

    async def test_a_visible_key_spends_nothing_unless_somebody_says_how_much(self, harness: LedgerHarness) -> None:
        visible = {"is_visible": True, "scopes": frozenset({Scope.GENERATE})}
        assert caps(await harness.ledger.create_api_key(new_key("visible0", **visible))) == (0, 0)
        assert caps(await harness.ledger.create_api_key(new_key("visible1", **visible, cap_pictures=5))) == (None, 5)
        assert caps(await harness.ledger.create_api_key(new_key("secret00"))) == (None, None)
        assert caps(await harness.ledger.create_api_key(new_key("secret01", cap_micro_usd=0))) == (0, None)

    async def test_use_is_noted_once_an_hour(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_api_key(new_key())
        first = (await found(harness, "abcdEFG1")).key.last_used_at
        assert first is not None
        await harness.advance(3_000)
        assert (await found(harness, "abcdEFG1")).key.last_used_at == first
        await harness.advance(1_000)
        later = (await found(harness, "abcdEFG1")).key.last_used_at
        assert later is not None
        assert later - first >= HOUR

    async def test_a_key_ends_when_it_was_said_to(self, harness: LedgerHarness) -> None:
        made = await harness.ledger.create_api_key(new_key(expires_in=HOUR))
        assert made.expires_at == made.created_at + HOUR
        result = await found(harness, "abcdEFG1")
        assert result.left is not None
        assert timedelta(minutes=50) < result.left <= HOUR
        await harness.advance(3_601)
        assert (await found(harness, "abcdEFG1")).state is KeyState.EXPIRED
        assert await harness.ledger.rotate_api_key("abcdEFG1", digest_of("next"), HOUR) is None

    async def test_a_rotated_key_is_good_for_its_grace(self, harness: LedgerHarness) -> None:
        made = await harness.ledger.create_api_key(new_key())
        for _ in range(2):  # a repeated call
            rotated = await harness.ledger.rotate_api_key("abcdEFG1", digest_of("next"), HOUR)
            assert rotated is not None
            assert (rotated.id, rotated.scopes) == (made.id, made.scopes)
        old, new = await found(harness, "abcdEFG1"), await found(harness, "next")
        assert (old.state, new.state, new.left) == (KeyState.ACTIVE, KeyState.ACTIVE, None)
        assert old.left is not None
        assert timedelta(minutes=50) < old.left <= HOUR
        await harness.advance(3_601)
        assert (await found(harness, "abcdEFG1")).state is KeyState.ROTATED
        assert (await found(harness, "next")).state is KeyState.ACTIVE

    async def test_without_a_grace_the_old_key_ends_at_once(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_api_key(new_key())
        await harness.ledger.rotate_api_key("abcdEFG1", digest_of("next"), HOUR)
        await harness.ledger.rotate_api_key("abcdEFG1", digest_of("third"), timedelta(0))
        assert (await found(harness, "next")).state is KeyState.ROTATED
        assert await harness.ledger.find_api_key(digest_of("abcdEFG1")) is None, "its grace ended with the next"
        assert (await found(harness, "third")).state is KeyState.ACTIVE

    async def test_a_revoked_key_ends_with_all_its_digests_and_its_budget(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_api_key(new_key(cap_micro_usd=500))
        await harness.ledger.rotate_api_key("abcdEFG1", digest_of("next"), HOUR)
        revoked = await harness.ledger.revoke_api_key("abcdEFG1")
        assert revoked is not None
        assert caps(revoked) == (0, 0)
        assert await harness.ledger.revoke_api_key("abcdEFG1") == revoked
        for name in ("abcdEFG1", "next"):
            assert (await found(harness, name)).state is KeyState.REVOKED
        assert await harness.ledger.rotate_api_key("abcdEFG1", digest_of("third"), HOUR) is None
        assert await harness.ledger.list_api_keys() == [revoked]

    async def test_what_a_key_may_spend_is_its_budget_and_revoking_ends_it(self, harness: LedgerHarness) -> None:
        keys = {
            "secret00": await harness.ledger.create_api_key(new_key("secret00")),
            "visible0": await harness.ledger.create_api_key(
                new_key("visible0", is_visible=True, scopes=frozenset({Scope.GENERATE}))
            ),
            "onlyone0": await harness.ledger.create_api_key(new_key("onlyone0", cap_pictures=1)),
        }
        results = {f"{name} {turn}": await ask(harness, key, turn) for turn in "ab" for name, key in keys.items()}
        assert [name for name, result in results.items() if isinstance(result, Lead)] == [
            *("secret00 a", "onlyone0 a", "secret00 b")
        ]
        for name, key in keys.items():
            await harness.ledger.revoke_api_key(name)
            result = await ask(harness, key, "c")
            assert isinstance(result, Refused)
            assert result.refusal.budget == f"key:{key.id}"

    async def test_a_key_that_is_not_there_is_neither_rotated_nor_revoked(self, harness: LedgerHarness) -> None:
        assert await harness.ledger.rotate_api_key("abcdEFG1", digest_of("next"), HOUR) is None
        assert await harness.ledger.revoke_api_key("abcdEFG1") is None
        assert await harness.ledger.list_api_keys() == []
