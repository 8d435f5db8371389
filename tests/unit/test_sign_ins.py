"""Sign-ins that are remembered: briefly, never beyond their end, and only those that were accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.access import sign_ins
from copperplate.access.sign_ins import SignIns
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.supabase.users import LOCAL_ISSUER, SupabaseUsers
from copperplate.errors import Unauthorized
from tests.support.tokens import SECRET, Tokens

if TYPE_CHECKING:
    from copperplate.model import User


class Counting(SupabaseUsers):
    """Counts what it verifies."""

    count = 0

    async def verify(self, token: str) -> User:
        self.count += 1
        return await super().verify(token)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verifier(clock: FakeClock) -> Counting:
    return Counting(issuer=LOCAL_ISSUER, keys=None, secret=SECRET, clock=clock)


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(LOCAL_ISSUER, clock.now())


async def test_a_token_is_verified_once_in_half_a_minute(verifier: Counting, tokens: Tokens, clock: FakeClock) -> None:
    users, token = SignIns(verifier, clock), tokens.hs()
    first = await users.verify(token)
    await clock.advance(29)
    assert await users.verify(token) == first
    assert verifier.count == 1
    await clock.advance(1)
    await users.verify(token)
    assert verifier.count == 2


async def test_no_token_is_remembered_beyond_its_end(verifier: Counting, tokens: Tokens, clock: FakeClock) -> None:
    users, now = SignIns(verifier, clock), clock.now().timestamp()
    token = tokens.hs(exp=now + 5)
    await users.verify(token)
    await clock.advance(5)
    await users.verify(token)  # by the leeway of the clocks, each time anew
    await users.verify(token)
    assert verifier.count == 3
    await clock.advance(30)
    with pytest.raises(Unauthorized):
        await users.verify(token)


async def test_what_was_refused_is_verified_anew_and_takes_no_place(
    verifier: Counting, tokens: Tokens, clock: FakeClock
) -> None:
    users = SignIns(verifier, clock)
    for token in (tokens.hs(secret=b"x" * 32), "a.b.c", "", "x"):
        for _ in range(2):
            with pytest.raises(Unauthorized):
                await users.verify(token)
    assert verifier.count == 8
    assert len(users._accepted) == 0


async def test_one_token_does_not_stand_for_another(verifier: Counting, tokens: Tokens, clock: FakeClock) -> None:
    users = SignIns(verifier, clock)
    token = tokens.hs()
    await users.verify(token)
    for place in (len(token) - 1, len(token) - 20):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Unauthorized):
            await users.verify(changed)
    assert token not in repr(users._accepted)


async def test_what_is_remembered_is_bounded(
    verifier: Counting, tokens: Tokens, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "MAX_TOKENS", 3)
    users = SignIns(verifier, clock)
    for number in range(9):
        await users.verify(tokens.hs(session_id=str(number)))
    assert len(users._accepted) == 3
