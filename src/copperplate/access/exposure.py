"""What a deployment may cost at most a day, and through whom: in words, for its operator. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from copperplate.access import shares
from copperplate.budgets import ANONYMOUS, WALL
from copperplate.prices import dollars

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from copperplate.ports.budgets import BudgetState
    from copperplate.settings import Settings

_MODES: Final[Mapping[str, str]] = {
    "open": "open: everybody may have pictures made; those nobody knows, from what is set aside for them",
    "signed": "signed: a picture is made for a signed URL, an API key or a sign-in; stored ones are for everybody",
    "keys": "keys: a picture is made for an API key or a sign-in; stored ones are for everybody",
}
# By what a remark is about: the variables it is made from, beside caps that the operator set.
RESTS_ON: Final[Mapping[str, frozenset[str]]] = {
    "budget": frozenset(
        {
            *("COPPERPLATE_ACCESS", "COPPERPLATE_PROVIDER", "FAL_KEY", "OPENAI_API_KEY", "COPPERPLATE_USER_BUDGET_USD"),
            *("COPPERPLATE_DAILY_BUDGET_USD", "COPPERPLATE_DAILY_BUDGET_PICTURES"),
            *("COPPERPLATE_ANONYMOUS_BUDGET_USD", "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES"),
        }
    ),
    "access": frozenset({"COPPERPLATE_ACCESS", "COPPERPLATE_URL_SIGNING_KEYS"}),
    "proxies": frozenset({"COPPERPLATE_PUBLIC_BASE_URL", "COPPERPLATE_TRUSTED_PROXIES"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One line for an operator: what it is about, and whether something should be done."""

    what: str
    detail: str
    is_warning: bool = False


def remarks_on(settings: Settings, billable: Iterable[str], states: Iterable[BudgetState]) -> list[Remark]:
    """Of the wall, the access mode and the addresses of callers; `billable` are the providers that cost money."""
    names = ", ".join(sorted(set(billable)))
    by_name = {state.budget: state for state in states}
    return [_of_wall(settings, names, by_name), _of_access(settings, names), *_of_proxies(settings)]


def _of_wall(settings: Settings, billable: str, states: Mapping[str, BudgetState]) -> Remark:
    if not billable:
        return Remark(what="budget", detail="nothing costs money here: no provider that bills is set")
    wall = states[WALL]
    if wall.cap_micro_usd is None and wall.cap_pictures is None:
        detail = (
            f"the wall is off: what {billable} may cost a day has no limit, and callers nobody knows can use up "
            "everything. Set COPPERPLATE_DAILY_BUDGET_USD, for instance to 5.00"
        )
        return Remark(what="budget", detail=detail, is_warning=True)
    parts = [f"{billable} may cost at most {_cap_of(wall)} a day (UTC), {_used_of(wall)} of it today"]
    advice = _to_leave_some(wall, states[ANONYMOUS]) if settings.access == "open" else None
    if settings.access == "open":
        parts.append(_of_unknown(wall, states[ANONYMOUS]))
    parts.append(f"a signed-in user has {_cap_of_user(settings, wall)} unless credits pay")
    parts.append("keys and signed URLs what is left, unless `copperplate budget set` gives them a cap")
    if advice is not None:
        parts.append(f"callers nobody knows can use up everything: {advice}")
    return Remark(what="budget", detail="; ".join(parts), is_warning=advice is not None)


def _of_unknown(wall: BudgetState, share: BudgetState) -> str:
    within = replace(
        share,
        cap_micro_usd=_least(share.cap_micro_usd, wall.cap_micro_usd),
        cap_pictures=share.cap_pictures
        if share.cap_pictures is None
        else _least(share.cap_pictures, wall.cap_pictures),
    )
    address = _least(_permille_of(share, shares.ADDRESS_PERMILLE), wall.cap_micro_usd)
    return f"callers nobody knows share {_cap_of(within)} of it, one address {_in_dollars(address)}"


def _to_leave_some(wall: BudgetState, share: BudgetState) -> str | None:
    """What keeps the unknown from using up a cap of the wall, where nothing does."""
    if 0 in (wall.cap_micro_usd, wall.cap_pictures, share.cap_micro_usd, share.cap_pictures):
        return None
    if _is_all(share.cap_pictures, wall.cap_pictures):
        return f"set COPPERPLATE_ANONYMOUS_BUDGET_PICTURES lower than {wall.cap_pictures:,}"
    if _is_all(share.cap_micro_usd, wall.cap_micro_usd):
        return f"set COPPERPLATE_ANONYMOUS_BUDGET_USD lower than {dollars(wall.cap_micro_usd or 0)}"
    return None


def _is_all(share: int | None, whole: int | None) -> bool:
    return whole is not None and (share is None or share >= whole)


def _least(*caps: int | None) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)


def _of_access(settings: Settings, billable: str) -> Remark:
    detail = _MODES[settings.access]
    if settings.access == "signed" and not settings.url_signing_keys:
        detail = f"{detail}. COPPERPLATE_URL_SIGNING_KEYS is not set: no address can be signed"
        return Remark(what="access", detail=detail, is_warning=True)
    if settings.access == "open" and billable:
        detail = f"{detail}. COPPERPLATE_ACCESS=signed or =keys lets no stranger spend"
    return Remark(what="access", detail=detail)


def _of_proxies(settings: Settings) -> list[Remark]:
    """`serve` speaks plain http: at an https address something stands in front of it."""
    is_behind_proxy = (settings.public_base_url or "").startswith("https:") and not settings.on_vercel
    if not is_behind_proxy or settings.trusted_proxies:
        return []
    detail = (
        "COPPERPLATE_PUBLIC_BASE_URL is https, so a proxy stands in front of `serve`, and COPPERPLATE_TRUSTED_PROXIES "
        "names none: every caller has the proxy's address, and all share the budget of one. Name the proxy there"
    )
    return [Remark(what="proxies", detail=detail, is_warning=True)]


def _cap_of(state: BudgetState) -> str:
    caps = [] if state.cap_micro_usd is None else [dollars(state.cap_micro_usd)]
    caps += [] if state.cap_pictures is None else [f"{state.cap_pictures:,} pictures"]
    return " and ".join(caps) or "any part"


def _used_of(state: BudgetState) -> str:
    return dollars(state.used_micro_usd) if state.cap_micro_usd is not None else f"{state.used_pictures:,} pictures"


def _permille_of(state: BudgetState, permille: int) -> int | None:
    return None if state.cap_micro_usd is None else state.cap_micro_usd * permille // 1_000


def _cap_of_user(settings: Settings, wall: BudgetState) -> str:
    cap = settings.user_budget if settings.user_budget is not None else _permille_of(wall, shares.USER_PERMILLE)
    return _in_dollars(_least(cap, wall.cap_micro_usd))


def _in_dollars(cap: int | None) -> str:
    return "any part" if cap is None else dollars(cap)
