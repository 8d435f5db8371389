"""Credits in memory: accounts, reservations, requests of users, and what submits cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from copperplate.budgets import Credits
from copperplate.errors import LedgerUnavailable
from copperplate.model import IdempotencyRecord, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from copperplate.budgets import Charge
    from copperplate.model import RequestCount
    from copperplate.ports import Clock

DAY_SECONDS = 86_400.0
HOLD_SECONDS = 900.0


@dataclass(slots=True, eq=False)
class _Account:
    balance: int = 0
    held: int = 0


@dataclass(slots=True, eq=False)
class _Reservation:
    generation_key: str
    account: _Account
    amount: int
    expires: float
    state: str = "held"
    is_delivered: bool = False
    id: UUID = field(default_factory=uuid4)


@dataclass(slots=True)
class _RequestRecord:
    generation_key: str
    since: float
    answer: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Submit:
    """One row of `copperplate.submits`, the book."""

    generation_key: str
    kind: str
    provider: str
    model: str
    estimate_micro_usd: int | None
    cost_micro_usd: int | None = None
    saved: int = 0
    # The UTC day of `begin_submit`, which it settles in, and what it booked in budgets: None where nothing was, or
    # where it was given back.
    day: date = date.min
    # On the clock, in seconds.
    sent: float = 0.0
    booked_micro_usd: int | None = None
    budgets: tuple[str, ...] = ()

    @property
    def price_micro_usd(self) -> int | None:
        """The bill, or else the estimate."""
        return self.estimate_micro_usd if self.cost_micro_usd is None else self.cost_micro_usd

    @property
    def is_open(self) -> bool:
        """Whether what it booked may come back yet: its bill is not known."""
        return self.booked_micro_usd is not None and self.cost_micro_usd is None

    @property
    def counted_micro_usd(self) -> int:
        """What its budgets count: what was booked, until the bill is known."""
        if self.booked_micro_usd is None:
            return 0
        return self.booked_micro_usd if self.cost_micro_usd is None else self.cost_micro_usd

    def money(self) -> Counter[str]:
        """What this row of the book adds to the sums."""
        price = self.price_micro_usd
        return Counter(
            submits=1,
            estimated=int(self.cost_micro_usd is None and price is not None),
            unpriced=int(price is None),
            spent_micro_usd=price or 0,
            saved=self.saved,
            unpriced_saved=self.saved if price is None else 0,
            saved_micro_usd=self.saved * (price or 0),
        )


class MemoryCredits:
    """`CreditLedger` over dictionaries. Every method runs without yielding, so it is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: dict[UUID, _Account] = {}
        self._nobodys: list[_Account] = []
        self._ledger: dict[tuple[str, str], tuple[_Account, int]] = {}
        self._reservations: list[_Reservation] = []
        self._requests: dict[tuple[int, str], _RequestRecord] = {}
        self._submits: list[Submit] = []

    async def credits(self, user: UUID) -> Credits:
        """See `CreditLedger.credits`."""
        account = self._accounts.get(user, _Account())
        return Credits(balance=account.balance, held=self._held_by(account))

    async def grant_credits(self, user: UUID, amount: int, ref: str) -> Credits:
        """See `CreditLedger.grant_credits`."""
        if user.hex in ref.lower().replace("-", ""):
            raise LedgerUnavailable("the reference names the user, and the ledger outlives them")
        before = self._ledger.get(("grant", ref))
        if before is None:
            account = self._accounts.setdefault(user, _Account())
            account.balance += amount
            self._ledger["grant", ref] = (account, amount)
        elif before != (self._accounts.get(user), amount):
            raise LedgerUnavailable("this reference stands for another grant")
        return await self.credits(user)

    async def refund_credits(self, reservation: UUID) -> bool:
        """See `CreditLedger.refund_credits`."""
        return any(self._give_back(held) for held in self._reservations if held.id == reservation)

    async def audit_credits(self) -> Mapping[str, Any]:
        """See `CreditLedger.audit_credits`."""
        accounts = [*self._accounts.values(), *self._nobodys]
        sums = dict.fromkeys(("grant", "settle", "refund"), 0)
        for (kind, _), (_, delta) in self._ledger.items():
            sums[kind] += delta
        return {
            "accounts": len(accounts),
            "balance": sum(account.balance for account in accounts),
            "held": sum(self._held_by(account) for account in accounts),
            "granted": sums["grant"],
            "settled": -sums["settle"],
            "refunded": sums["refund"],
            "faults": [account for account in accounts if self._is_faulty(account)],
        }

    async def begin_request(self, user: UUID, generation_key: str, idempotency_key: str | None) -> IdempotencyRecord:
        """See `CreditLedger.begin_request`."""
        account = self._accounts.setdefault(user, _Account())
        now = self._clock.monotonic()
        name = (id(account), idempotency_key or f"nameless {uuid4()}")
        if name in self._requests and self._requests[name].since < now - DAY_SECONDS:
            del self._requests[name]
        record = self._requests.setdefault(name, _RequestRecord(generation_key, now))
        return IdempotencyRecord(is_conflict=record.generation_key != generation_key, answer=record.answer)

    async def deliver(
        self, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        """See `CreditLedger.deliver`."""
        account = self._accounts.get(user, _Account())
        for reservation in self._reservations_of(generation_key):
            reservation.is_delivered |= reservation.account is account and reservation.state == "settled"
        delivered = {**answer, "credits": account.balance - self._held_by(account)}
        record = self._requests.get((id(account), idempotency_key)) if idempotency_key is not None else None
        if record is None or record.generation_key != generation_key:
            return delivered
        record.answer = record.answer or delivered
        return record.answer

    async def is_requested_by(self, user: UUID, generation_key: str) -> bool:
        """See `CreditLedger.is_requested_by`."""
        account = self._accounts.get(user)
        asked = {(owner, record.generation_key) for (owner, _), record in self._requests.items()}
        reservations = self._reservations_of(generation_key)
        return (id(account), generation_key) in asked or any(held.account is account for held in reservations)

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`."""
        account = self._accounts.pop(user, None)
        if account is None:
            return False
        self._nobodys.append(account)
        self._requests = {name: record for name, record in self._requests.items() if name[0] != id(account)}
        return True

    # --- what the rest of the ledger does with credits ------------------------------------------

    def _can_pay(self, generation_key: str, charges: Sequence[Charge]) -> bool:
        """Whether every account has enough, or a predecessor paid; nothing is changed."""
        if not charges or self._inherited(generation_key):
            return True
        accounts = [self._accounts.get(charge.user, _Account()) for charge in charges]
        return all(
            account.balance - self._held_by(account) >= charge.credits
            for account, charge in zip(accounts, charges, strict=True)
        )

    def _inherited(self, generation_key: str) -> list[_Reservation]:
        """What predecessors reserved and may hold still."""
        now = self._clock.monotonic()
        return [
            reservation
            for reservation in self._reservations_of(generation_key)
            if reservation.state == "held" and reservation.expires >= now
        ]

    def _reserve(self, generation_key: str, charges: Sequence[Charge]) -> None:
        """Reserve what can be paid; what a predecessor reserved is inherited, and its time runs anew."""
        if not charges:
            return
        expires = self._clock.monotonic() + HOLD_SECONDS
        if inherited := self._inherited(generation_key):
            for reservation in inherited:
                reservation.expires = expires
            return
        held = [reservation for reservation in self._reservations_of(generation_key) if reservation.state == "held"]
        accounts = [self._accounts.get(charge.user, _Account()) for charge in charges]
        for reservation in self._reservations:
            if reservation in held or (reservation.account in accounts and self._is_lapsed(reservation)):
                self._give_back(reservation)
        for account, charge in zip(accounts, charges, strict=True):
            account.held += charge.credits
            self._reservations.append(_Reservation(generation_key, account, charge.credits, expires))

    def _settle(self, generation_key: str) -> None:
        for reservation in self._reservations_of(generation_key):
            if reservation.state == "held":
                reservation.state = "settled"
                reservation.account.held -= reservation.amount
                reservation.account.balance -= reservation.amount
                self._ledger["settle", str(reservation.id)] = (reservation.account, -reservation.amount)

    def _give_back_all(self, generation_keys: Iterable[str]) -> None:
        for key in generation_keys:
            for reservation in self._reservations_of(key):
                self._give_back(reservation)

    def _give_back(self, reservation: _Reservation) -> bool:
        if reservation.is_delivered:
            return False
        if reservation.state == "held":
            reservation.state = "released"
            reservation.account.held -= reservation.amount
        elif reservation.state == "settled":
            reservation.state = "refunded"
            reservation.account.balance += reservation.amount
            self._ledger["refund", str(reservation.id)] = (reservation.account, reservation.amount)
        return True

    def _is_led(self, key: str) -> bool:
        """Whether a lease is on the generation; the tables know."""
        raise NotImplementedError

    def _is_lapsed(self, reservation: _Reservation) -> bool:
        is_over = reservation.state == "held" and reservation.expires < self._clock.monotonic()
        return is_over and not self._is_led(reservation.generation_key)

    def _held_by(self, account: _Account) -> int:
        """Without what lapsed and was not released yet."""
        return account.held - sum(
            reservation.amount
            for reservation in self._reservations
            if reservation.account is account and self._is_lapsed(reservation)
        )

    def _release_expired(self) -> None:
        now = self._clock.monotonic()
        for reservation in self._reservations:
            if self._is_lapsed(reservation):
                self._give_back(reservation)
        self._requests = {name: record for name, record in self._requests.items() if record.since >= now - DAY_SECONDS}

    def _note_saved(self, use: RequestCount) -> None:
        """Served without a call: the picture of the newest submit."""
        mine = [submit for submit in self._submits if submit.generation_key == use.generation_key]
        if mine and use.outcome in (Outcome.HIT, Outcome.STALE, Outcome.COALESCED):
            mine[-1].saved += use.count

    def _money(self, kind: str) -> Counter[str]:
        """Sums over the book."""
        sums = Counter[str]()
        for submit in self._submits:
            sums.update(submit.money() if submit.kind == kind else {})
        return sums

    def _note_cost(self, generation_key: str, cost_micro_usd: int | None) -> None:
        """What the newest submit of a generation cost."""
        mine = [submit for submit in self._submits if submit.generation_key == generation_key]
        if mine and cost_micro_usd is not None:
            mine[-1].cost_micro_usd = cost_micro_usd

    def _reservations_of(self, generation_key: str) -> list[_Reservation]:
        return [reservation for reservation in self._reservations if reservation.generation_key == generation_key]

    def _is_faulty(self, account: _Account) -> bool:
        earned = sum(delta for owner, delta in self._ledger.values() if owner is account)
        held = sum(
            reservation.amount
            for reservation in self._reservations
            if reservation.account is account and reservation.state == "held"
        )
        return (account.balance, account.held) != (earned, held)
