"""The gate, as a table: which caller may cause a miss in which mode, and whose budgets it is booked to."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.access.caller import THE_OWNER, Caller
from copperplate.access.gate import Gate
from copperplate.access.owners import asker_of, owner_of
from copperplate.access.signatures import SigningKey, sign
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.store import MemoryStore
from copperplate.api_keys import ApiKey, Scope
from copperplate.budgets import Budget
from copperplate.denials import AccessDenied, InvalidSignature, MissingScope, SignatureExpired
from copperplate.generation.kinds import Kind
from copperplate.generation.lookup import LookupOptions
from copperplate.model import User
from copperplate.prices import dearest_micro_usd
from copperplate.settings import Settings
from copperplate.wishes import Wish
from copperplate.work.promises import new_wish
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.generation.lookup import Permit
    from copperplate.recipes.url import UrlSignature

SOURCE = Path(__file__).parents[2] / "src" / "copperplate"
REQUEST = picture_request()
SECRET = "s" * 32
MODES = ("open", "signed", "keys")
USER, KEY_ID = UUID(int=0xA11CE), UUID(int=7)
HOUSE = ["model:scripted/copperplate/painter-1", "provider:scripted", "all"]
ADDRESS, NETWORK = "address:192.0.2.1", "192.0.2.1"


def api_key(*scopes: Scope, is_visible: bool = False) -> ApiKey:
    return ApiKey(id=KEY_ID, prefix="cp_12345678", tier="premium", scopes=frozenset(scopes), is_visible=is_visible)


def signature(*, hours: int = 1, secret: str = SECRET, generation_key: str = REQUEST.generation_key) -> UrlSignature:
    key = SigningKey(key_id="k1", secret=secret)
    return sign(generation_key, key, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


STRANGER = Caller(address=NETWORK)
CALLERS: Mapping[str, tuple[Caller, UrlSignature | None, list[str]]] = {
    "a stranger": (STRANGER, None, [ADDRESS, "anonymous"]),
    "a user": (Caller(address=NETWORK, user=User(id=USER)), None, [f"user:{USER}"]),
    "a user without a name": (
        Caller(address=NETWORK, user=User(id=USER, is_anonymous=True)),
        None,
        [f"user:{USER}", ADDRESS, "anonymous"],
    ),
    "a key": (Caller(address=NETWORK, key=api_key(Scope.GENERATE)), None, [f"key:{KEY_ID}"]),
    "a visible key": (Caller(address=NETWORK, key=api_key(Scope.GENERATE, is_visible=True)), None, [f"key:{KEY_ID}"]),
    "a key for other things": (Caller(address=NETWORK, key=api_key(Scope.PURGE)), None, [f"key:{KEY_ID}"]),
    "a link": (STRANGER, signature(), ["link:k1"]),
    "an old link": (STRANGER, signature(hours=0), ["link:k1"]),
    "a forged link": (STRANGER, signature(secret="x" * 32), ["link:None"]),
    "a link to another picture": (STRANGER, signature(generation_key="0" * 64), ["link:None"]),
    "a key with a forged link": (
        Caller(address=NETWORK, key=api_key(Scope.GENERATE)),
        signature(secret="x" * 32),
        [f"key:{KEY_ID}"],
    ),
    "a user with an old link": (Caller(address=NETWORK, user=User(id=USER)), signature(hours=0), [f"user:{USER}"]),
}
# In `open`, `signed` and `keys`; None: may cause a miss.
DENIALS: Mapping[str, tuple[type[Exception] | None, ...]] = {
    "a stranger": (None, AccessDenied, AccessDenied),
    "a user": (None, None, None),
    "a user without a name": (None, None, None),
    "a key": (None, None, None),
    "a visible key": (None, None, None),
    "a key for other things": (MissingScope, MissingScope, MissingScope),
    "a link": (None, None, AccessDenied),
    "an old link": (SignatureExpired, SignatureExpired, SignatureExpired),
    "a forged link": (InvalidSignature, InvalidSignature, InvalidSignature),
    "a link to another picture": (InvalidSignature, InvalidSignature, InvalidSignature),
    "a key with a forged link": (None, None, None),
    "a user with an old link": (None, None, None),
}


class Unpriced(ScriptedProvider):
    """A provider whose price nobody knows."""

    def price_micro_usd(self, recipe: Any, inputs: Any = ()) -> int | None:
        return None


def gate(provider: ScriptedProvider | None = None, **environ: str) -> Gate:
    clock = FakeClock()
    settings = Settings.from_env({"COPPERPLATE_URL_SIGNING_KEYS": f"k1:{SECRET}", **environ})
    kinds = {"image": Kind(provider=provider or ScriptedProvider(clock), store=MemoryStore("generated-images"))}
    return Gate(settings=settings, kinds=kinds, clock=clock)


def names(permit: Permit, *, is_own: bool = True) -> list[str]:
    assert permit.spending is not None
    return [budget.name for budget in permit.spending.budgets if budget.is_own is is_own]


def budget(permit: Permit, name: str) -> Budget:
    assert permit.spending is not None
    return next(each for each in permit.spending.budgets if each.name == name)


@pytest.mark.parametrize(
    ("who", "mode", "denial"),
    [(who, mode, denial) for who, denials in DENIALS.items() for mode, denial in zip(MODES, denials, strict=True)],
)
def test_each_kind_of_caller_in_each_mode(who: str, mode: str, denial: type[Exception] | None) -> None:
    caller, signed, own = CALLERS[who]
    permit = gate(COPPERPLATE_ACCESS=mode).permit(caller, REQUEST, signed)
    assert type(permit.denial) is (type(None) if denial is None else denial)
    assert names(permit) == own
    assert names(permit, is_own=False) == HOUSE
    assert permit.spending is not None
    assert (permit.spending.payer, permit.spending.amount_micro_usd) == (own[0], 3_000)


@pytest.mark.parametrize(
    ("who", "own"), [("a user", []), ("a user without a name", [ADDRESS, "anonymous"])], ids=["named", "anonymous"]
)
def test_what_credits_pay_is_bound_by_the_house_and_strangers_by_their_share(who: str, own: list[str]) -> None:
    permit = gate().permit_with_credits(CALLERS[who][0], REQUEST)
    assert (permit.denial, names(permit), names(permit, is_own=False)) == (None, own, HOUSE)
    assert permit.spending is not None
    assert permit.spending.payer == f"user:{USER}"


def test_the_owners_own_tools_are_bound_by_the_house() -> None:
    permit = gate(COPPERPLATE_ACCESS="keys").permit_of_owner(REQUEST)
    assert (permit.denial, names(permit), names(permit, is_own=False)) == (None, [], HOUSE)


def test_the_owner_is_a_caller_who_may_have_everything_made_within_the_house() -> None:
    permit = gate(COPPERPLATE_ACCESS="keys").permit(THE_OWNER, REQUEST)
    assert permit == gate(COPPERPLATE_ACCESS="keys").permit_of_owner(REQUEST)
    assert (asker_of(THE_OWNER), owner_of(THE_OWNER), THE_OWNER.is_unknown) == ("owner", None, False)


def test_only_the_command_line_acts_as_the_owner() -> None:
    acting = {path for path in SOURCE.rglob("*.py") if re.search(r"\bTHE_OWNER\b|is_owner=", path.read_text())}
    assert {path.parent.name for path in acting - {SOURCE / "access" / "caller.py"}} == {"cli"}


def kept_wish(permit: Permit, **fields: Any) -> Wish:
    """A wish of who has this permit, as the ledger gives it to whom takes it."""
    wish = new_wish(REQUEST, LookupOptions(permit=permit), owner="somebody")
    given = {"generation_key": wish.generation_key, "recipe": wish.recipe, "spending": wish.spending, "charge": None}
    return Wish(id=1, owner=wish.owner, tries=1, **{**given, **fields})


@pytest.mark.parametrize(("who", "own"), [(who, own) for who, (_, _, own) in CALLERS.items()])
def test_a_wish_is_booked_as_its_caller_was_but_to_no_address(who: str, own: list[str]) -> None:
    caller, signed, _ = CALLERS[who]
    wish = kept_wish(gate().permit(caller, REQUEST, signed))
    permit = gate().permit_of_wish(wish, REQUEST)
    assert permit.denial is None
    assert names(permit) == [name for name in own if name != ADDRESS]
    assert names(permit, is_own=False) == HOUSE
    assert permit.spending is not None
    assert permit.spending.payer == ("anonymous" if who == "a stranger" else own[0])
    assert NETWORK not in repr((wish, permit))


def test_a_wish_is_booked_at_the_caps_and_prices_of_today() -> None:
    nameless = CALLERS["a user without a name"][0]
    wish = kept_wish(gate().permit(nameless, REQUEST))
    changed = {"COPPERPLATE_DAILY_BUDGET_USD": "7", "COPPERPLATE_ANONYMOUS_BUDGET_USD": "2"}
    later = gate(Unpriced(FakeClock(), name="fal"), **changed, COPPERPLATE_USER_BUDGET_USD="1")
    permit = later.permit_of_wish(wish, REQUEST)
    caps = {name: budget(permit, name).cap_micro_usd for name in ("all", "anonymous", f"user:{USER}")}
    assert caps == {"all": 7_000_000, "anonymous": 2_000_000, f"user:{USER}": 1_000_000}
    assert permit.spending is not None
    assert permit.spending.amount_micro_usd == dearest_micro_usd("fal", REQUEST.size, str(REQUEST.recipe["prompt"]))


def test_a_wish_of_a_stranger_is_not_bound_by_what_others_have_in_flight() -> None:
    bound = gate(COPPERPLATE_CALLER_IN_FLIGHT="3")
    for who, most in (("a stranger", None), ("a user without a name", 3), ("a key", 3)):
        permit = bound.permit_of_wish(kept_wish(bound.permit(CALLERS[who][0], REQUEST)), REQUEST)
        assert permit.spending is not None
        assert permit.spending.max_in_flight == most


def test_a_wish_that_cost_nothing_is_refused_where_it_would_cost_something_now() -> None:
    free = gate(ScriptedProvider(FakeClock(), is_billable=False))
    wish = kept_wish(free.permit(STRANGER, REQUEST))
    assert (wish.spending, free.permit_of_wish(wish, REQUEST).denial) == (None, None)
    assert isinstance(gate().permit_of_wish(wish, REQUEST).denial, AccessDenied)


def test_what_the_painter_makes_is_booked_to_nothing_and_needs_the_mode_all_the_same() -> None:
    free = ScriptedProvider(FakeClock(), is_billable=False)
    assert gate(free).permit(STRANGER, REQUEST).spending is None
    assert isinstance(gate(free, COPPERPLATE_ACCESS="keys").permit(STRANGER, REQUEST).denial, AccessDenied)


def test_an_unknown_price_is_the_dearest_known_one_of_the_provider() -> None:
    permit = gate(Unpriced(FakeClock(), name="fal")).permit(STRANGER, REQUEST)
    assert permit.spending is not None
    assert permit.spending.amount_micro_usd == dearest_micro_usd("fal", REQUEST.size, str(REQUEST.recipe["prompt"])) > 0


def test_the_caps_that_stand_where_nothing_is_set() -> None:
    permit = gate().permit(CALLERS["a user without a name"][0], REQUEST)
    assert budget(permit, "all").cap_micro_usd == 5_000_000
    shares = {name: budget(permit, name) for name in (f"user:{USER}", ADDRESS, "anonymous")}
    assert {each.cap_micro_usd for each in shares.values()} == {None}
    assert [(each.share_of, each.permille) for each in shares.values()] == [
        ("all", 100),
        ("anonymous", 100),
        ("all", 500),
    ]
    assert {each.cap_pictures for each in shares.values()} == {None}
    assert permit.spending is not None
    assert permit.spending.max_in_flight is None
    # Of keys, links and models an operator sets caps, in the ledger.
    assert all(each.share_of is None for each in permit.spending.budgets if each.name in HOUSE)


def test_the_caps_that_are_set() -> None:
    permit = gate(
        COPPERPLATE_DAILY_BUDGET_USD="7.5",
        COPPERPLATE_DAILY_BUDGET_PICTURES="90",
        COPPERPLATE_ANONYMOUS_BUDGET_USD="0",
        COPPERPLATE_ANONYMOUS_BUDGET_PICTURES="12",
        COPPERPLATE_USER_BUDGET_USD="0.25",
        COPPERPLATE_CALLER_IN_FLIGHT="3",
    ).permit(CALLERS["a user without a name"][0], REQUEST)
    caps = {name: budget(permit, name) for name in ("all", "anonymous", f"user:{USER}")}
    assert [(each.cap_micro_usd, each.cap_pictures) for each in caps.values()] == [
        (7_500_000, 90),
        (0, 12),
        (250_000, None),
    ]
    assert permit.spending is not None
    assert permit.spending.max_in_flight == 3


def test_the_wall_is_sent_without_a_cap_where_it_is_off() -> None:
    permit = gate(COPPERPLATE_DAILY_BUDGET_USD="off").permit(STRANGER, REQUEST)
    assert names(permit, is_own=False) == HOUSE, "everything is still counted"
    assert budget(permit, "all") == Budget(name="all")


def test_a_caller_sees_budgets_of_its_own_and_the_wall() -> None:
    for caller, _, own in CALLERS.values():
        if not own[0].startswith("link"):
            assert [each.name for each in gate().budgets_of(caller)] == [*own, "all"]


def test_no_caller_names_an_address_when_it_is_printed() -> None:
    assert NETWORK not in repr(replace(STRANGER, user=User(id=USER)))


def _makers(source: str) -> int:
    """How often a `Permit` is made, however it is imported, copied ones included."""
    tree = ast.parse(source)
    aliases = {
        each.asname or each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
        if each.name == "Permit"
    } | {"Permit"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    # `replace(permit, …)` makes one too.
    copies = [
        call
        for call in calls
        if _called(call) == "replace" and "permit" in "".join(map(ast.unparse, call.args[:1])).lower()
    ]
    return sum(_called(call) in aliases for call in calls) + len(copies)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def test_the_gate_alone_makes_permits() -> None:
    makers = {str(file.relative_to(SOURCE)): _makers(file.read_text()) for file in SOURCE.rglob("*.py")}
    assert len(makers) > 200
    assert {file for file, count in makers.items() if count} == {"access/gate.py", "testing.py"}


def test_whoever_makes_a_permit_is_found() -> None:
    assert _makers("from copperplate.generation import lookup\nlookup.Permit(spending=None)") == 1
    assert _makers("from copperplate.generation.lookup import Permit as May\nMay()") == 1
    assert _makers("from dataclasses import replace\nreplace(options.permit, denial=None)") == 1
    assert _makers("def f(permit: Permit) -> None:\n    LookupOptions(permit=permit)") == 0
