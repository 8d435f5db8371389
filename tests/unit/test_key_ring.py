"""The key ring: few look-ups, none for what cannot be a key, and nobody pays for the wrong keys of another address."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from copperplate.access import api_keys, wrong_keys
from copperplate.access.api_keys import KeyRing, digest_of, is_whole, make_key
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.api_keys import ApiKey
from copperplate.denials import TooManyWrongKeys
from copperplate.errors import LedgerUnavailable, Unauthorized
from tests.support.api_keys import keep_key
from tests.support.api_keys import wrong_keys as wrong_forms

HERE, THERE = "192.0.2.1", "2001:db8::/64"


class CountingLedger(MemoryLedger):
    """Counts look-ups, which can be held up or fail."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.lookups = 0
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def find_api_key(self, digest: str) -> Any:
        self.lookups += 1
        await self.gate.wait()
        if self.is_away:
            raise LedgerUnavailable("the database does not answer")
        return await super().find_api_key(digest)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> CountingLedger:
    return CountingLedger(clock)


@pytest.fixture
def ring(ledger: CountingLedger, clock: FakeClock) -> KeyRing:
    return KeyRing(keys=ledger, clock=clock)


async def refusal_of(ring: KeyRing, text: str, address: str = HERE) -> Unauthorized:
    with pytest.raises(Unauthorized) as refused:
        await ring.find(text, address)
    assert refused.value.challenge == 'Bearer error="invalid_token"'
    return refused.value


LOOKUPS_AT_ONCE = wrong_keys.BURST + wrong_keys.SPARE


async def use_up(ring: KeyRing, address: str) -> None:
    for _ in range(LOOKUPS_AT_ONCE):
        await refusal_of(ring, make_key().text, address)
    with pytest.raises(TooManyWrongKeys):
        await ring.find(make_key().text, address)


# --- the form --------------------------------------------------------------------------------------


def test_a_key_is_a_word_with_a_check() -> None:
    made = [make_key() for _ in range(50)]
    for key in made:
        assert re.fullmatch(r"cp_[0-9A-Za-z]{57}", key.text)
        assert key.text[3:11] == key.prefix
        assert is_whole(key.text)
        assert key.digest == digest_of(key.text)
        assert key.text not in repr(key)
        assert key.text[11:] not in repr(key)
    assert len({key.text for key in made}) == len({key.prefix for key in made}) == 50
    letters = {letter for key in made for letter in key.text[11:54]}
    assert letters == set(api_keys.ALPHABET)


def test_a_rotated_key_keeps_its_prefix_alone() -> None:
    old = make_key()
    new = make_key(old.prefix)
    assert new.prefix == old.prefix
    assert sum(a == b for a, b in zip(new.text[11:54], old.text[11:54], strict=True)) < 20


def test_no_single_change_of_a_key_keeps_its_check() -> None:
    text = make_key().text
    for place in range(len(text)):
        for letter in api_keys.ALPHABET:
            changed = text[:place] + letter + text[place + 1 :]
            assert is_whole(changed) is (changed == text)


def test_wrong_forms_are_many_and_hardly_any_has_a_check_that_fits() -> None:
    text = make_key().text
    wrong = list(wrong_forms(text))
    assert text not in wrong
    assert len(set(wrong)) >= 100
    assert sum(map(is_whole, wrong)) == 24


# --- finding ---------------------------------------------------------------------------------------


async def test_a_key_is_looked_up_once_in_ten_seconds(ring: KeyRing, ledger: CountingLedger, clock: FakeClock) -> None:
    kept = await keep_key(ledger)
    for _ in range(3):
        found = await ring.find(kept.text, HERE)
        assert isinstance(found, ApiKey)
        assert found.id == kept.record.id
    assert ledger.lookups == 1
    await clock.advance(10)
    await ring.find(kept.text, THERE)
    assert ledger.lookups == 2


async def test_a_key_that_many_bring_at_once_is_looked_up_once(ring: KeyRing, ledger: CountingLedger) -> None:
    kept = await keep_key(ledger)
    ledger.gate.clear()
    asking = [asyncio.create_task(ring.find(kept.text, HERE)) for _ in range(500)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    ledger.gate.set()
    found = await asyncio.gather(*asking[1:])
    assert {key.id for key in found} == {kept.record.id}
    assert ledger.lookups == 1


async def test_a_revoked_key_is_refused_within_ten_seconds(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    kept = await keep_key(ledger)
    await ring.find(kept.text, HERE)
    await ledger.revoke_api_key(kept.record.prefix)
    await clock.advance(10)
    assert "revoked" in str(await refusal_of(ring, kept.text))
    await refusal_of(ring, kept.text)
    assert ledger.lookups == 2


async def test_a_key_is_never_remembered_beyond_its_end(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    kept = await keep_key(ledger, expires_in=timedelta(seconds=4))
    await ring.find(kept.text, HERE)
    await clock.advance(4)
    assert "expired" in str(await refusal_of(ring, kept.text))


async def test_a_rotated_key_is_good_for_its_grace(ring: KeyRing, ledger: CountingLedger, clock: FakeClock) -> None:
    kept = await keep_key(ledger)
    new = make_key(kept.record.prefix)
    await ledger.rotate_api_key(new.prefix, new.digest, timedelta(seconds=15))
    assert (await ring.find(kept.text, HERE)).id == (await ring.find(new.text, HERE)).id == kept.record.id
    await clock.advance(10)
    await ring.find(kept.text, HERE)
    await clock.advance(5)
    assert "replaced" in str(await refusal_of(ring, kept.text))
    assert (await ring.find(new.text, HERE)).id == kept.record.id


async def test_a_key_that_was_replaced_at_once_says_so_and_counts_as_no_wrong_one(
    ring: KeyRing, ledger: CountingLedger
) -> None:
    for _ in range(2 * LOOKUPS_AT_ONCE):
        kept = await keep_key(ledger)
        await ledger.rotate_api_key(kept.record.prefix, make_key(kept.record.prefix).digest, timedelta(0))
        assert "replaced" in str(await refusal_of(ring, kept.text))


async def test_a_key_that_is_gone_is_forgotten(ring: KeyRing, ledger: CountingLedger, clock: FakeClock) -> None:
    kept = await keep_key(ledger)
    await ring.find(kept.text, HERE)
    for _ in range(2):
        await ledger.rotate_api_key(kept.record.prefix, make_key(kept.record.prefix).digest, timedelta(0))
    await clock.advance(10)
    await refusal_of(ring, kept.text)
    assert len(ring._found) == 0


# --- wrong keys ------------------------------------------------------------------------------------


async def test_a_key_that_was_mistyped_costs_no_look_up(ring: KeyRing, ledger: CountingLedger) -> None:
    kept = await keep_key(ledger)
    wrong = list(wrong_forms(kept.text))[:-24]  # the last ones are whole
    assert len(wrong) >= 60
    for number, text in enumerate(wrong):
        refused = await refusal_of(ring, text, f"192.0.2.{number}")
        assert text not in str(refused)
        assert kept.text not in str(refused)
    assert ledger.lookups == 0


async def test_a_wrong_key_is_looked_up_once_in_ten_seconds(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    text = make_key().text
    for _ in range(1_000):
        await refusal_of(ring, text)
    assert ledger.lookups == 1
    await clock.advance(10)
    await refusal_of(ring, text)
    assert ledger.lookups == 2


@pytest.mark.parametrize("is_at_once", [False, True])
async def test_wrong_keys_of_one_address_are_bounded_in_rate(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock, is_at_once: bool
) -> None:
    texts = [make_key().text for _ in range(1_000)]
    if is_at_once:
        answers = await asyncio.gather(*(ring.find(text, HERE) for text in texts), return_exceptions=True)
    else:
        answers = [(await asyncio.gather(ring.find(text, HERE), return_exceptions=True))[0] for text in texts]
    refused = [answer for answer in answers if isinstance(answer, TooManyWrongKeys)]
    assert ledger.lookups == LOOKUPS_AT_ONCE == 1_000 - len(refused)
    assert {error.retry_after_seconds for error in refused} == {2}
    await clock.advance(2)
    for text in texts[-9:]:  # one of the address, and eight of those that all share
        await refusal_of(ring, text)
    with pytest.raises(TooManyWrongKeys):
        await ring.find(texts[-10], HERE)


async def test_keys_that_were_mistyped_keep_no_right_key_out(ring: KeyRing, ledger: CountingLedger) -> None:
    kept = await keep_key(ledger)
    for number in range(10 * LOOKUPS_AT_ONCE):
        await refusal_of(ring, f"cp_{number}")
    await use_up_the_address(ring, HERE)
    assert (await ring.find(kept.text, HERE)).id == kept.record.id
    assert len(ring._unknown) == wrong_keys.BURST


async def test_mistyped_keys_push_no_wrong_key_out_of_memory(
    ring: KeyRing, ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_UNKNOWN", 5)
    text = make_key().text
    await refusal_of(ring, text)
    for number in range(10):
        await refusal_of(ring, f"cp_{number}")
    await refusal_of(ring, text)
    assert ledger.lookups == 1


async def use_up_the_address(ring: KeyRing, address: str) -> None:
    for _ in range(wrong_keys.BURST):
        await refusal_of(ring, make_key().text, address)


async def test_right_key_gets_in_beside_wrong_ones_of_its_address(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    """As behind a proxy that nobody named: all who send keys have one address."""
    kept = [await keep_key(ledger) for _ in range(3 * wrong_keys.SPARE)]
    await use_up_the_address(ring, HERE)
    for key in kept:  # right ones are given back, to whom they were taken from
        assert (await ring.find(key.text, HERE)).id == key.record.id
    await use_up_what_is_left(ring, wrong_keys.SPARE)
    another = await keep_key(ledger)
    with pytest.raises(TooManyWrongKeys):
        await ring.find(another.text, HERE)
    await clock.advance(wrong_keys.SPARE_EVERY_SECONDS)
    assert (await ring.find(another.text, HERE)).id == another.record.id


async def use_up_what_is_left(ring: KeyRing, count: int) -> None:
    for _ in range(count):
        await refusal_of(ring, make_key().text)


async def test_look_ups_past_the_rate_of_an_address_are_bounded_over_all_addresses(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    for number in range(20):
        await asyncio.gather(
            *(ring.find(make_key().text, str(number)) for _ in range(2 * LOOKUPS_AT_ONCE)), return_exceptions=True
        )
    assert ledger.lookups == 20 * wrong_keys.BURST + wrong_keys.SPARE
    await clock.advance(1)
    await asyncio.gather(*(ring.find(make_key().text, "0") for _ in range(2 * LOOKUPS_AT_ONCE)), return_exceptions=True)
    assert ledger.lookups == 20 * wrong_keys.BURST + wrong_keys.SPARE + 1 / wrong_keys.SPARE_EVERY_SECONDS


async def test_right_keys_are_not_affected_by_another_address(ring: KeyRing, ledger: CountingLedger) -> None:
    kept = await keep_key(ledger)
    await use_up(ring, HERE)
    assert (await ring.find(kept.text, THERE)).id == kept.record.id


async def test_a_key_in_use_is_not_affected_by_wrong_ones_of_its_address(
    ring: KeyRing, ledger: CountingLedger, clock: FakeClock
) -> None:
    kept = await keep_key(ledger)
    await ring.find(kept.text, HERE)
    await use_up(ring, HERE)
    for _ in range(10):
        await clock.advance(10)  # it has to be looked up again
        await use_up_what_is_left(ring, 5 + wrong_keys.SPARE)
        with pytest.raises(TooManyWrongKeys):
            await ring.find(make_key().text, HERE)
        assert (await ring.find(kept.text, HERE)).id == kept.record.id


async def test_right_keys_and_a_ledger_that_is_away_count_as_no_wrong_keys(
    ring: KeyRing, ledger: CountingLedger
) -> None:
    kept = [await keep_key(ledger) for _ in range(3 * wrong_keys.BURST)]
    ledger.is_away = True
    for key in kept:
        with pytest.raises(LedgerUnavailable):
            await ring.find(key.text, HERE)
    ledger.is_away = False
    for key in kept:
        assert (await ring.find(key.text, HERE)).id == key.record.id


async def test_what_is_remembered_is_bounded(ring: KeyRing, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MAX_UNKNOWN", 50), ("MAX_FOUND", 5)):
        monkeypatch.setattr(api_keys, name, most)
    monkeypatch.setattr(wrong_keys, "MAX_ADDRESSES", 20)
    for number in range(200):
        await refusal_of(ring, make_key().text, str(number))
    assert len(ring._unknown) == 50
    assert len(ring._wrong_keys._full_at) == 20


async def test_keys_in_use_that_are_remembered_are_bounded(
    ring: KeyRing, ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_FOUND", 5)
    kept = [await keep_key(ledger) for _ in range(8)]
    for key in kept:
        await ring.find(kept[0].text, HERE)  # the one in use stays
        await ring.find(key.text, HERE)
    assert len(ring._found) == 5
    assert ledger.lookups == 8
