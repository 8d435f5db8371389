"""API keys in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.adapters.memory.budget_states import BudgetRow
from copperplate.adapters.memory.budgets import MAX_MICRO_USD
from copperplate.adapters.memory.tables import MemoryTables
from copperplate.api_keys import Scope
from copperplate.errors import LedgerUnavailable
from copperplate.ports.access import ApiKeyRecord, FoundApiKey, KeyState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.ports import Clock
    from copperplate.ports.access import NewApiKey

USE_NOTED_EVERY = timedelta(hours=1)


@dataclass(slots=True)
class _KeyRow:
    key: ApiKeyRecord
    digest: str
    previous_digest: str | None = None

    @property
    def budget(self) -> str:
        """The name of what it may spend."""
        return f"key:{self.key.id}"


class MemoryApiKeys(MemoryTables):
    """`ApiKeys` over a dictionary by prefix. Every method runs without yielding, so it is atomic."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._api_keys: dict[str, _KeyRow] = {}

    async def create_api_key(self, new: NewApiKey) -> ApiKeyRecord:
        """See `ApiKeys.create_api_key`."""
        if (row := self._api_keys.get(new.prefix)) is not None and row.digest == new.digest:
            return self._shown(row)
        _check(new)
        if row is not None or self._with_digest(new.digest) is not None:
            raise LedgerUnavailable("this prefix is another key's")
        now = self._clock.now()
        has_no_cap = new.is_visible and new.cap_micro_usd is None and new.cap_pictures is None
        key = ApiKeyRecord(
            id=uuid4(),
            prefix=new.prefix,
            name=new.name,
            tier=new.tier,
            scopes=new.scopes,
            is_visible=new.is_visible,
            created_at=now,
            expires_at=None if new.expires_in is None else now + new.expires_in,
            revoked_at=None,
            last_used_at=None,
            previous_until=None,
            cap_micro_usd=None,
            cap_pictures=None,
        )
        row = self._api_keys[new.prefix] = _KeyRow(key, new.digest)
        if has_no_cap:
            self._budgets[row.budget] = BudgetRow(0, 0)
        elif new.cap_micro_usd is not None or new.cap_pictures is not None:
            self._budgets[row.budget] = BudgetRow(new.cap_micro_usd, new.cap_pictures)
        return self._shown(row)

    async def find_api_key(self, digest: str) -> FoundApiKey | None:
        """See `ApiKeys.find_api_key`."""
        if (row := self._with_digest(digest)) is None:
            return None
        now = self._clock.now()
        ends = [row.key.expires_at, row.key.previous_until if row.previous_digest == digest else None]
        until = min((end for end in ends if end is not None), default=None)
        state = row.key.state(now)
        if state is KeyState.ACTIVE and until is not None and until <= now:
            state = KeyState.ROTATED
        used = row.key.last_used_at
        if state is KeyState.ACTIVE and (used is None or used <= now - USE_NOTED_EVERY):
            row.key = replace(row.key, last_used_at=now)
        return FoundApiKey(key=self._shown(row), state=state, left=None if until is None else until - now)

    async def list_api_keys(self) -> Sequence[ApiKeyRecord]:
        """See `ApiKeys.list_api_keys`."""
        return sorted(map(self._shown, self._api_keys.values()), key=lambda key: (key.created_at, key.prefix))

    async def rotate_api_key(self, prefix: str, digest: str, grace: timedelta) -> ApiKeyRecord | None:
        """See `ApiKeys.rotate_api_key`."""
        now = self._clock.now()
        row = self._api_keys.get(prefix)
        if row is not None and row.digest == digest:
            return self._shown(row)
        if row is None or row.key.state(now) is not KeyState.ACTIVE:
            return None
        row.previous_digest = row.digest
        row.digest = digest
        row.key = replace(row.key, previous_until=now + grace)
        return self._shown(row)

    async def revoke_api_key(self, prefix: str) -> ApiKeyRecord | None:
        """See `ApiKeys.revoke_api_key`."""
        if (row := self._api_keys.get(prefix)) is None:
            return None
        revoked_at = row.key.revoked_at or self._clock.now()
        row.key = replace(row.key, revoked_at=revoked_at)
        self._budgets[row.budget] = BudgetRow(0, 0)
        return self._shown(row)

    def _shown(self, row: _KeyRow) -> ApiKeyRecord:
        """With the caps of its budget."""
        caps = self._budgets.get(row.budget, BudgetRow())
        return replace(row.key, cap_micro_usd=caps.cap_micro_usd, cap_pictures=caps.cap_pictures)

    def _is_visible_key(self, name: str) -> bool:
        return any(row.budget == name and row.key.is_visible for row in self._api_keys.values())

    def _is_key_over(self, name: str) -> bool:
        now = self._clock.now()
        over = (KeyState.REVOKED, KeyState.EXPIRED)
        return any(row.budget == name and row.key.state(now) in over for row in self._api_keys.values())

    def _with_digest(self, digest: str) -> _KeyRow | None:
        rows = self._api_keys.values()
        return next((row for row in rows if digest in (row.digest, row.previous_digest)), None)


def _check(new: NewApiKey) -> None:
    """The constraints of `copperplate.api_keys`."""
    is_known = new.scopes and new.scopes <= set(Scope) and (not new.is_visible or new.scopes == {Scope.GENERATE})
    caps = (new.cap_micro_usd or 0, new.cap_pictures or 0)
    has_ended = new.expires_in is not None and new.expires_in <= timedelta(0)
    if not is_known or has_ended or not 0 <= min(caps) <= max(caps) <= MAX_MICRO_USD:
        raise LedgerUnavailable("not an API key")
