"""Credits in a history: callers who pay, and every promise about what they paid, checked after every call."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from copperplate.accounts.user_requests import UserRequests
from copperplate.failure_classes import FailureClass
from copperplate.generation.timings import Timings
from copperplate.recipes.objects import original_key
from copperplate.testing import PERMIT
from copperplate.work.promises import Promises
from tests.simulation.loop import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.model import IdempotencyRecord, PictureRequest
    from copperplate.ports import Clock
    from tests.simulation.world import Process, World

USERS = [UUID(int=number) for number in (0xA11CE, 0xB0B, 0xCA201)]
# What a reservation may become, and in which call.
STEPS = {
    ("held", "settled"): {"complete"},
    ("held", "released"): {"fail", "sweep", "delete", "take_down", "cleanup_generations", "acquire"},
    ("settled", "refunded"): {"report_missing", "delete", "take_down", "cleanup_entries", "cleanup_generations"},
}


class Money:
    """Who has what, as an onlooker knows it: from the states of reservations, never from the sums beside them."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Of its own, so that who pays changes nothing else in the story.
        self._random = random.Random(f"who pays in {world.seed}")
        self._granted: dict[UUID, int] = {}
        self._states: dict[UUID, str] = {}
        self._told: dict[tuple[UUID, str], str] = {}
        self._settled_as: dict[UUID, str] = {}
        self.debits = 0
        self.denials = 0

    def grant(self) -> None:
        """Some have plenty, some have nothing."""
        for user in USERS:
            amount = self._random.choice((0, 1, 2, 20))
            self._granted[user] = amount
            if amount:
                run_now(self._world.ledger.grant_credits(user, amount, f"for {user.int}"))

    def draw_user(self) -> UUID | None:
        """Three of four callers are signed in."""
        return self._random.choice((*USERS, None))

    def draw_name(self) -> str | None:
        """An Idempotency-Key, now and then one that stands for something else."""
        return self._random.choice((None, None, "k", "l", "m"))

    def tell(self, user: UUID, key: str) -> None:
        """A caller is about to be told where the picture is."""
        original = self._world.ledger._entries.get(original_key(key))
        self._told[(user, key)] = original.entry.path if original is not None else ""

    # --- what must hold -------------------------------------------------------------------------

    def check(self, call: str) -> None:
        """After every call on the ledger."""
        ledger, oracle = self._world.ledger, self._world.oracle
        for each in ledger._reservations:
            before, now = self._states.get(each.id, "none"), each.state
            if before != now:
                self._states[each.id] = now
                self._moves(each, before, call)
        self._check_sums()
        held = Counter(each.generation_key for each in ledger._reservations if each.state == "held")
        oracle.check(all(count == 1 for count in held.values()), "a generation holds twice")
        for key in held:
            row = ledger._generations.get(key)
            is_open = row is not None and (row.is_live or row.failure_class is FailureClass.ABANDONED)
            oracle.check(is_open, "credits are held for a generation that is over")

    def is_over(self) -> None:
        """Longer than anything may be held after the last call, and one sweep."""
        held = sum(each.state == "held" for each in self._world.ledger._reservations)
        self._world.oracle.check(held == 0, f"{held} reservations are held after a sweep")

    def _moves(self, each: Any, before: str, call: str) -> None:
        oracle, ledger = self._world.oracle, self._world.ledger
        if before == "none":
            oracle.check(call == "acquire" and each.state == "held", f"{call} reserved credits")
            return
        expected = STEPS.get((before, each.state), set())
        oracle.check(call in expected, f"{call} made a reservation {each.state} that was {before}")
        if each.state == "settled":
            self.debits += 1
            path = ledger._entries[original_key(each.generation_key)].entry.path
            oracle.check(path not in self._settled_as.values(), "a picture was paid for twice")
            self._settled_as[each.id] = path
        elif each.state == "refunded":
            owner = next((user for user in USERS if ledger._accounts.get(user) is each.account), None)
            told = self._told.get((owner, each.generation_key)) if owner is not None else None
            oracle.check(told != self._settled_as[each.id], "a picture was refunded that was delivered")

    def _check_sums(self) -> None:
        ledger, oracle = self._world.ledger, self._world.oracle
        taken: Counter[tuple[int, str]] = Counter()
        for each in ledger._reservations:
            taken[(id(each.account), each.state)] += each.amount
        for user, granted in self._granted.items():
            account = ledger._accounts.get(user)
            if account is None:
                continue
            balance, held = granted - taken[(id(account), "settled")], taken[(id(account), "held")]
            oracle.check((account.balance, account.held) == (balance, held), "an account is not what its rows say")
            oracle.check(0 <= held <= balance, "more is held than there is")
        oracle.check(run_now(ledger.audit_credits())["faults"] == [], "the audit finds a fault")


class ProcessAccounts:
    """The calls on credits that a process makes, over the same network as the others."""

    def __init__(self, world: World, call: Callable[[str, Any], Any]) -> None:
        assert world.money is not None
        self._money = world.money
        self._real = world.ledger
        self._call = call

    async def begin_request(self, user: UUID, generation_key: str, idempotency_key: str | None) -> IdempotencyRecord:
        ask: IdempotencyRecord = await self._call(
            "begin_request", lambda: self._real.begin_request(user, generation_key, idempotency_key)
        )
        return ask

    async def deliver(
        self, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        async def act() -> Mapping[str, Any]:
            told = await self._real.deliver(user, generation_key, answer, idempotency_key)
            self._money.tell(user, generation_key)
            return told

        delivered: Mapping[str, Any] = await self._call("deliver", act)
        return delivered


class Uncounted:
    """Nobody counts here."""

    def count(self, *_: Any, **__: Any) -> None:
        """Forget it."""


def make_asking(
    world: World, coordinator: Coordinator, ledger: Any, kinds: Mapping[str, Kind], clock: Clock
) -> UserRequests | None:
    """How signed-in people ask a process, in a history that has credits."""
    if world.money is None:
        return None
    accounts: Any = ProcessAccounts(world, ledger._call)
    uncounted: Any = Uncounted()
    return UserRequests(
        coordinator=coordinator,
        promises=Promises(
            coordinator=coordinator, ledger=ledger, request_meter=uncounted, clock=clock, lease=Timings().lease
        ),
        ledger=ledger,
        stores={kind.store.bucket: kind.store for kind in kinds.values()},
        accounts=accounts,
        request_meter=uncounted,
        clock=clock,
    )


async def ask_as(world: World, process: Process, user: UUID, asked: PictureRequest) -> str:
    """One ask of a signed-in person; answers how it ended."""
    assert process.user_requests is not None
    assert world.money is not None
    delivered = await process.user_requests.request(user, asked, PERMIT, idempotency_key=world.money.draw_name())
    return f"delivered, {delivered.credits} credits left"
