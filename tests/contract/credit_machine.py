"""Credits against a model of dictionaries: any calls in any order, each of them repeated later, and time passing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from copperplate.budgets import Charge
from copperplate.errors import LedgerUnavailable
from copperplate.ledger_answers import Lead
from copperplate.model import Condition
from copperplate.recipes.objects import original_key
from tests.contract.credit_model import ANSWER, REST, Account, Model
from tests.contract.ledger.harness import LEASE, failure
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from copperplate.model import Upload

# All multiples of seven: no sum of them comes within four seconds of a bound of the model (or of a lease), so that the
# moments a real database takes decide nothing.
STEPS = (7, 28, 700, 910, 86_415)
USERS = [UUID(int=0xA11CE), UUID(int=0xB0B), UUID(int=0xCA201)]
LEADERS = [UUID(int=number) for number in (1, 2, 3)]
REQUESTS = {request.generation_key: request for request in (picture_request("a fox"), picture_request("a hen"))}
KEYS = list(REQUESTS)

user, leader, key = st.sampled_from(USERS), st.sampled_from(LEADERS), st.sampled_from(KEYS)
amount, number = st.sampled_from([1, 1, 2]), st.integers(0, 3)
idempotency_key = st.sampled_from(["k", "l", None])


class MachineHarness(Protocol):
    """A ledger without anything in it, whose clock can be moved."""

    ledger: Any

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a call answers."""

    def advance(self, seconds: float) -> None:
        """Move the ledger's clock."""

    def reservations(self, key: str) -> list[UUID]:
        """The reservations of a generation, the oldest first."""


def _upload(key: str, fence: int) -> Upload:
    return upload(f"{key} {fence}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as it can be made again."""

    name: str
    arguments: tuple[Any, ...]


# The others say whether they found something to do, which a repeat does not.
REPEATABLE = ("grant", "acquire", "complete", "fail", "refund", "begin_request", "deliver", "is_requested_by")


class CreditMachine(RuleBasedStateMachine):
    """Makes calls on a ledger and on the model, and compares every answer and every sum."""

    def open_harness(self) -> MachineHarness:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.harness = self.open_harness()
        self.model = Model()
        self.history: list[Call] = []
        self.leads: list[tuple[str, int]] = []
        self.answer: Any = None

    # --- what can happen ------------------------------------------------------------------------

    @initialize()
    def begins(self) -> None:
        for user in USERS[:2]:
            self.call("grant", user, 9, f"first of {user.int}")

    @rule(user=user, number=number)
    def grants(self, user: UUID, number: int) -> None:
        self.call("grant", user, number + 1, f"{number} of {user.int}")

    @rule(key=key, leader=leader, user=user, amount=amount)
    def acquires(self, key: str, leader: UUID, user: UUID, amount: int) -> None:
        self.call("acquire", key, leader, user, amount)

    @rule(key=key, leader=leader, user=user, amount=amount, is_told=st.booleans())
    def makes(self, key: str, leader: UUID, user: UUID, amount: int, is_told: bool) -> None:
        self.call("acquire", key, leader, user, amount)
        found = self.model.generations.get(key)
        if found is not None:
            self.call("complete", key, found.fence)
        if is_told:
            self.call("deliver", user, key, None)

    @precondition(lambda self: self.leads)
    @rule(number=number, name=st.sampled_from(["complete", "fail", "report_missing"]))
    def ends(self, number: int, name: str) -> None:
        """By its leader, or by one of before; and what was made is gone."""
        self.call(name, *self.leads[-1 - number % len(self.leads)])

    @rule(key=key, number=number)
    def refunds(self, key: str, number: int) -> None:
        self.call("refund", key, number)

    @rule(user=user, key=key, name=idempotency_key, is_delivery=st.booleans())
    def asks(self, user: UUID, key: str, name: str | None, is_delivery: bool) -> None:
        self.call("deliver" if is_delivery else "begin_request", user, key, name)
        self.call("is_requested_by", user, key)

    @rule(key=key, user=user, name=st.sampled_from(["sweep", "purge", "sweep", "forget"]))
    def cares(self, key: str, user: UUID, name: str) -> None:
        self.call(name, *{"purge": (key,), "forget": (user,), "sweep": ()}[name])

    @rule(key=key, user=user, seconds=st.sampled_from([28, 700, 910]), is_taken_over=st.booleans())
    def leaves(self, key: str, user: UUID, seconds: float, is_taken_over: bool) -> None:
        """A leader is heard of no more; a sweep comes by, before or after somebody took over."""
        self.call("acquire", key, LEADERS[0], user, 1)
        self.waits(seconds)
        if is_taken_over:
            self.call("acquire", key, LEADERS[1], user, 1)
        self.call("sweep")

    @rule(seconds=st.sampled_from(STEPS))
    def waits(self, seconds: float) -> None:
        self.model.now += seconds
        self.harness.advance(seconds)
        self.answer = None

    @precondition(lambda self: self.history)
    @rule(back=st.integers(0, 49))
    def replays(self, back: int) -> None:
        call = self.history[-1 - back % len(self.history)]
        self.call(call.name, *call.arguments)

    @precondition(lambda self: self.answer is not None and self.history[-1].name in REPEATABLE)
    @rule()
    def repeats(self) -> None:
        """At once: the same answer, and nothing changes."""
        last, before = self.answer, self.model.sums()
        self.call(self.history[-1].name, *self.history[-1].arguments)
        assert (self.answer, self.model.sums()) == (last, before)

    # --- one call -------------------------------------------------------------------------------

    def call(self, name: str, *arguments: Any) -> None:
        self.history.append(Call(name, arguments))
        # Both are asked in the same state: which reservation a refund means is told by what is there now.
        expected = getattr(self.model, name)(*arguments)
        answer = self.harness.run(getattr(self, f"_{name}")(*arguments))
        if name == "acquire":
            expected, answer = self._compare_leads(arguments[0], expected, answer)
        assert answer == expected, f"{name}{arguments} answered {answer}, not {expected}"
        self.answer = answer
        self.check()

    def check(self) -> None:
        """Every sum, after every call."""
        ledger = self.harness.ledger
        for user in USERS:
            found, expected = self.harness.run(ledger.credits(user)), self.model.accounts.get(user, Account())
            held = self.model.held_by(expected)
            assert (found.balance, found.held) == (expected.balance, held), f"{found}, not {expected}, {held} held"
            assert 0 <= found.held <= found.balance
        audit = dict(self.harness.run(ledger.audit_credits()))
        del audit["accounts"]  # those that never had anything may be tidied away, or not
        assert audit == self.model.sums(), f"{audit}, not {self.model.sums()}"
        assert audit["balance"] == audit["granted"] - audit["settled"] + audit["refunded"]

    def _compare_leads(self, key: str, expected: str, result: Any) -> tuple[Any, Any]:
        word = type(result).__name__
        if not isinstance(result, Lead) or expected not in ("Lead", "New lead"):
            return expected, word
        led = self.model.generations[key]
        if expected == "New lead":
            assert all(result.fence > fence for _, fence in self.leads)
            led.fence = result.fence
            self.leads.append((key, result.fence))
        return ("Lead", led.fence), (word, result.fence)

    async def _grant(self, user: UUID, amount: int, ref: str) -> str:
        try:
            await self.harness.ledger.grant_credits(user, amount, ref)
        except LedgerUnavailable:
            return "refused"
        return "granted"

    async def _acquire(self, key: str, leader: UUID, user: UUID, amount: int) -> Any:
        charges = [Charge(user=user, credits=amount)]
        return await self.harness.ledger.acquire(REQUESTS[key], leader=leader, lease_duration=LEASE, charges=charges)

    async def _complete(self, key: str, fence: int) -> bool:
        ledger = self.harness.ledger
        await ledger.begin_submit(key, fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await ledger.intend_upload(key, fence, _upload(key, fence), usage={}, cost_micro_usd=40)
        return await ledger.complete(key, fence, _upload(key, fence), url=None) is not None

    async def _fail(self, key: str, fence: int) -> bool:
        return bool(await self.harness.ledger.fail(key, fence, failure(rest=REST)))

    async def _report_missing(self, key: str, fence: int) -> bool:
        entry = _upload(key, fence).as_entry(kind="image", key=original_key(key), generation_key=key, is_original=True)
        return bool(await self.harness.ledger.report_missing(entry))

    async def _purge(self, key: str) -> int:
        purged = await self.harness.ledger.purge(Condition(key=key), 10, is_dry_run=False)
        return int(purged.generations)

    async def _refund(self, key: str, number: int) -> bool:
        mine = self.harness.reservations(key)
        return bool(await self.harness.ledger.refund_credits(mine[number % len(mine)] if mine else UUID(int=0)))

    async def _sweep(self) -> int:
        return int(await self.harness.ledger.sweep(100))

    async def _begin_request(self, user: UUID, key: str, name: str | None) -> tuple[bool, Any]:
        ask = await self.harness.ledger.begin_request(user, key, name)
        return ask.is_conflict, ask.answer

    async def _deliver(self, user: UUID, key: str, name: str | None) -> Any:
        return await self.harness.ledger.deliver(user, key, ANSWER, name)

    async def _is_requested_by(self, user: UUID, key: str) -> bool:
        return bool(await self.harness.ledger.is_requested_by(user, key))

    async def _forget(self, user: UUID) -> bool:
        return bool(await self.harness.ledger.forget_user(user))
