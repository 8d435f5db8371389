"""A model of credits: what every call on a ledger must answer, with dictionaries and no interleaving."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.contract.ledger.harness import LEASE

if TYPE_CHECKING:
    from uuid import UUID

DAY, HOLD, ABANDONED, REST = 86_400.0, 900.0, 600.0, 60.0
ANSWER = {"url": "https://example.com/a.png"}


@dataclass(slots=True, eq=False)
class Account:
    """What somebody has, known by name or not any more."""

    balance: int = 0
    held: int = 0


@dataclass(slots=True)
class Reservation:
    """Credits taken for one generation."""

    key: str
    account: Account
    amount: int
    expires: float
    state: str = "held"
    is_delivered: bool = False


@dataclass(slots=True)
class Generation:
    """Who leads a picture, or what became of it."""

    leader: UUID
    lease_until: float
    window: float
    fence: int = 0
    attempt: int = 1
    state: str = "led"
    retry_at: float = 0.0


@dataclass(slots=True)
class Asked:
    """What somebody asked for, and the answer that was delivered."""

    account: Account
    name: str | None
    key: str
    since: float
    answer: dict[str, Any] | None = None


@dataclass
class Model:
    """What every call must answer, in whatever state and however often it is made."""

    now: float = 0.0
    accounts: dict[UUID, Account] = field(default_factory=dict)
    nobodys: list[Account] = field(default_factory=list)
    grants: dict[str, tuple[Account, int]] = field(default_factory=dict)
    reservations: list[Reservation] = field(default_factory=list)
    generations: dict[str, Generation] = field(default_factory=dict)
    asks: list[Asked] = field(default_factory=list)
    settled: int = 0
    refunded: int = 0

    def grant(self, user: UUID, amount: int, ref: str) -> str:
        account = self.accounts.get(user)
        if ref not in self.grants:
            account = self.accounts.setdefault(user, Account())
            account.balance += amount
            self.grants[ref] = (account, amount)
        return "granted" if self.grants[ref] == (account, amount) else "refused"

    def acquire(self, key: str, leader: UUID, user: UUID, amount: int) -> str:
        found = self.generations.get(key)
        if found is not None and found.state == "completed":
            return "Hit"
        if found is not None and found.state != "led" and found.retry_at > self.now:
            return "Negative"
        until = self.now + LEASE.total_seconds()
        if found is not None and found.state == "led" and found.lease_until > self.now:
            if found.leader != leader:
                return "Wait"
            found.lease_until = until
            return "Lead"
        if not self._reserve(key, user, amount):
            return "InsufficientCredits"
        self._claim(key, found, leader, until)
        return "New lead"

    def _reserve(self, key: str, user: UUID, amount: int) -> bool:
        held = [each for each in self.of(key) if each.state == "held"]
        inherited = [each for each in held if each.expires >= self.now]
        if inherited:
            inherited[0].expires = self.now + HOLD
            return True
        account = self.accounts.get(user, Account())
        if account.balance - self.held_by(account) < amount:
            return False
        for each in self.reservations:
            if each in held or (each.account is account and self.has_lapsed(each)):
                self._give_back(each)
        account.held += amount
        self.reservations.append(Reservation(key, account, amount, self.now + HOLD))
        return True

    def _claim(self, key: str, found: Generation | None, leader: UUID, until: float) -> None:
        new = Generation(leader, until, self.now)
        if found is not None and found.window >= self.now - DAY:
            new.window = found.window
            new.attempt = found.attempt + (found.state == "failed")
        self.generations[key] = new

    def complete(self, key: str, fence: int) -> bool:
        found = self._newest(key, fence)
        if found is not None and found.state == "led":
            found.state = "completed"
            for each in self.of(key):
                if each.state == "held":
                    each.state = "settled"
                    each.account.held -= each.amount
                    each.account.balance -= each.amount
                    self.settled += each.amount
        return found is not None and found.state == "completed"

    def fail(self, key: str, fence: int) -> bool:
        found = self._newest(key, fence)
        if found is not None and found.state == "led":
            found.state, found.retry_at = "failed", self.now + REST
            self._give_back_all(key)
        return found is not None and found.state in ("failed", "abandoned")

    def report_missing(self, key: str, fence: int) -> bool:
        found = self._newest(key, fence)
        if found is None or found.state != "completed":
            return False
        found.state = "failed"
        found.retry_at = self.now if found.attempt < 2 else found.window + DAY
        self._give_back_all(key)
        return True

    def purge(self, key: str) -> int:
        found = self.generations.pop(key, None)
        if found is not None:
            self._give_back_all(key)
        return 0 if found is None else 1

    def refund(self, key: str, number: int) -> bool:
        mine = self.of(key)
        return bool(mine) and self._give_back(mine[number % len(mine)])

    def sweep(self) -> int:
        dead = [
            each
            for each in self.generations.values()
            if each.state == "led" and each.lease_until < self.now - ABANDONED
        ]
        for each in dead:
            each.state, each.retry_at = "abandoned", self.now
        for held in self.reservations:
            if self.has_lapsed(held):
                self._give_back(held)
        self.asks = [each for each in self.asks if each.since >= self.now - DAY]
        return len(dead)

    def has_lapsed(self, held: Reservation) -> bool:
        worked_on = self.generations.get(held.key)
        is_led = worked_on is not None and worked_on.state == "led" and worked_on.lease_until > self.now
        return held.state == "held" and held.expires < self.now and not is_led

    def held_by(self, account: Account) -> int:
        """Without what lapsed, whether a sweep came by or not."""
        mine = [each for each in self.reservations if each.account is account and each.state == "held"]
        return sum(each.amount for each in mine if not self.has_lapsed(each))

    def begin_request(self, user: UUID, key: str, name: str | None) -> tuple[bool, Any]:
        account = self.accounts.setdefault(user, Account())
        mine = self._asked(account, name)
        if mine is not None and mine.since < self.now - DAY:
            self.asks.remove(mine)
            mine = None
        if mine is None:
            mine = Asked(account, name, key, self.now)
            self.asks.append(mine)
        return mine.key != key, mine.answer

    def deliver(self, user: UUID, key: str, name: str | None) -> dict[str, Any]:
        account = self.accounts.get(user, Account())
        for each in self.of(key):
            each.is_delivered |= each.account is account and each.state == "settled"
        answer = {**ANSWER, "credits": account.balance - self.held_by(account)}
        mine = self._asked(account, name)
        if mine is None or mine.key != key:
            return answer
        mine.answer = mine.answer or answer
        return mine.answer

    def is_requested_by(self, user: UUID, key: str) -> bool:
        account = self.accounts.get(user)
        asked = any(each.account is account and each.key == key for each in self.asks)
        return asked or any(each.account is account and each.key == key for each in self.reservations)

    def forget(self, user: UUID) -> bool:
        account = self.accounts.pop(user, None)
        if account is None:
            return False
        self.nobodys.append(account)
        self.asks = [each for each in self.asks if each.account is not account]
        return True

    def of(self, key: str) -> list[Reservation]:
        return [each for each in self.reservations if each.key == key]

    def sums(self) -> dict[str, Any]:
        """What an audit must find."""
        accounts = [*self.accounts.values(), *self.nobodys]
        return {
            "balance": sum(each.balance for each in accounts),
            "held": sum(self.held_by(each) for each in accounts),
            "granted": sum(granted for _, granted in self.grants.values()),
            "settled": self.settled,
            "refunded": self.refunded,
            "faults": [],
        }

    def _newest(self, key: str, fence: int) -> Generation | None:
        found = self.generations.get(key)
        return found if found is not None and found.fence == fence else None

    def _asked(self, account: Account, name: str | None) -> Asked | None:
        named = (each for each in self.asks if each.account is account and each.name == name)
        return next(named, None) if name is not None else None

    def _give_back_all(self, key: str) -> None:
        for each in self.of(key):
            self._give_back(each)

    def _give_back(self, each: Reservation) -> bool:
        if each.is_delivered:
            return False
        if each.state == "held":
            each.state = "released"
            each.account.held -= each.amount
        elif each.state == "settled":
            each.state = "refunded"
            each.account.balance += each.amount
            self.refunded += each.amount
        return True
