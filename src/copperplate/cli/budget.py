"""`copperplate budget`: what may be spent a day, what is used of it, and other caps for a while."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.access.budget_states import read_all, read_named
from copperplate.budgets import PREPAID, Budget
from copperplate.cli import budget_arguments as types
from copperplate.cli import consent
from copperplate.cli.arguments import add_json, dollar_amount, pictures
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.explain import provider_of
from copperplate.cli.shared import add_command, ask_ledger, say
from copperplate.cli.tables import print_json, print_table, time_text
from copperplate.errors import InvalidRequest, Misconfigured, NotFound
from copperplate.prices import MICRO, dollars
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.ports.budgets import BudgetState
    from copperplate.settings import Settings

_COLUMNS: Final = ("budget", "used", "cap", "left", "pictures", "cap", "left", "resets at", "override until")
# Of a kind of budget: what is not there.
_UNKNOWN: Final = {
    "key": "there is no API key {}",
    "link": "COPPERPLATE_URL_SIGNING_KEYS has no key {}",
    "model": "these settings offer no model {}",
}


def add(commands: Any) -> None:
    """The command and its parts."""
    parser = commands.add_parser(
        "budget",
        help="show and set what may be spent a day",
        description=f"Budgets by UTC day. A NAME is {types.NAMES}; prepaid/NAME is a cap that nothing resets.",
        allow_abbrev=False,
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    shown = add_command(parts, "show", run_show, "show caps, what is used of them and what is left")
    shown.add_argument("name", nargs="?", type=types.budget_name, metavar="NAME", help="one budget (default: all)")
    add_json(shown)
    _add_set(parts)
    reset = _of_one(add_command(parts, "reset", run_reset, "let the caps of a budget apply anew from now on"))
    consent.add_yes(reset)
    add_json(reset)
    _add_override(parts)
    add_json(
        add_command(parts, "audit", run_audit, "compare every counter with the book; exit code 1 where one is off")
    )


def _add_set(parts: Any) -> None:
    parser = _of_one(add_command(parts, "set", run_set, "set the caps of a budget; what is not named stays"))
    parser.add_argument(
        "--usd",
        type=types.dollars_or_off,
        metavar="N|off",
        help="dollars a day, six decimals at most; 0 refuses everything, off leaves it to the settings",
    )
    parser.add_argument("--pictures", type=types.pictures_or_off, metavar="N|off", help="pictures a day, or off")
    parser.add_argument("--prepaid", action="store_true", help="once and for all instead of a day: nothing resets it")
    add_json(parser)


def _add_override(parts: Any) -> None:
    parser = _of_one(add_command(parts, "override", run_override, "let other caps of a budget stand for a while"))
    parser.add_argument("--usd", type=dollar_amount, metavar="N", help="dollars a day meanwhile")
    parser.add_argument("--pictures", type=pictures, metavar="N", help="pictures a day meanwhile")
    parser.add_argument(
        "--until", type=types.until, metavar="TIME", help="90m, 6h, 2d, 1w from now on, or a time: 2026-12-24T18:00Z"
    )
    parser.add_argument("--end", action="store_true", help="end the override that stands")
    add_json(parser)


def run_show(arguments: argparse.Namespace) -> int:
    """All that have caps or were used today, or one; of addresses none."""

    async def read(ledger: SqlLedger, settings: Settings) -> Sequence[BudgetState]:
        if arguments.name is None:
            return await read_all(ledger, settings)
        return await read_named(ledger, settings, await _resolve(ledger, arguments.name))

    _print_states(arguments, read)
    return EXIT_OK


def run_set(arguments: argparse.Namespace) -> int:
    """Caps above those of the settings."""
    if arguments.usd is None and arguments.pictures is None:
        say("copperplate: name a cap: --usd, --pictures or both [usage]")
        return EXIT_USAGE
    is_prepaid = arguments.prepaid and not arguments.name.startswith(PREPAID)
    asked = f"{PREPAID}{arguments.name}" if is_prepaid else arguments.name

    async def change(ledger: SqlLedger, settings: Settings) -> Sequence[BudgetState]:
        name = await _target(ledger, settings, asked)
        # What an operator set before, unless an override hides it; a prepaid budget beside it comes after it.
        [stands, *_] = await ledger.read_budgets([Budget(name=name)])
        if stands.override_until is not None and None in (arguments.usd, arguments.pictures):
            end = f"`copperplate budget override {arguments.name} --end`"
            raise InvalidRequest(
                f"An override stands until {time_text(stands.override_until)} and hides the caps below it: "
                f"name --usd and --pictures, or end it with {end}."
            )
        # What was closed altogether, as a visible key is when it is made, is opened by one cap alone.
        is_closed = stands.cap_micro_usd == 0 == stands.cap_pictures
        usd = _changed(arguments.usd, None if is_closed else stands.cap_micro_usd)
        most = _changed(arguments.pictures, None if is_closed else stands.cap_pictures)
        told = await ledger.set_budget(name, usd, most)
        if usd is None and most is None and told.cap_micro_usd == 0:
            say("copperplate: everybody can read this key: without a cap it spends nothing")
        return await read_named(ledger, settings, name)

    _print_states(arguments, change)
    return EXIT_OK


def run_reset(arguments: argparse.Namespace) -> int:
    """What was used no longer counts; what was booked stays in the book."""
    if not consent.can_be_had(arguments):
        return EXIT_USAGE
    if not consent.is_given(arguments, f"from budget {arguments.name} what is used: as much may be spent again"):
        return EXIT_FAILED

    async def change(ledger: SqlLedger, settings: Settings) -> Sequence[BudgetState]:
        name = await _resolve(ledger, arguments.name)
        await ledger.reset_budget(name)
        return await read_named(ledger, settings, name)

    _print_states(arguments, change)
    return EXIT_OK


def run_override(arguments: argparse.Namespace) -> int:
    """Other caps until a time, by the ledger's clock, or the end of those."""
    has_caps = arguments.usd is not None or arguments.pictures is not None
    if arguments.end is has_caps or has_caps is (arguments.until is None):
        say("copperplate: give --usd or --pictures, and --until; or --end alone [usage]")
        return EXIT_USAGE

    async def change(ledger: SqlLedger, settings: Settings) -> Sequence[BudgetState]:
        name, until = await _target(ledger, settings, arguments.name), arguments.until
        if until is not None:
            until = await _future(ledger, until)
        await ledger.override_budget(name, arguments.usd, arguments.pictures, until)
        return await read_named(ledger, settings, name)

    _print_states(arguments, change)
    return EXIT_OK


def run_audit(arguments: argparse.Namespace) -> int:
    """A fault is a counter that is not the sum of its bookings and reservations."""

    async def audit(ledger: SqlLedger, _: Settings) -> dict[str, Any]:
        return dict(await ledger.audit_budgets())

    found = ask_ledger(arguments, audit)
    # An address is in no output, its digest neither.
    faults = [{**fault, "budget": re.sub("address:.*", "address", fault["budget"])} for fault in found["faults"]]
    if arguments.json:
        print_json({**found, "faults": faults})
    for fault in faults:
        counted = f"{dollars(fault['counted_micro_usd'])} and {fault['counted_pictures']} pictures are counted"
        booked = f"{dollars(fault['micro_usd'])} and {fault['pictures']} are booked"
        say(f"copperplate: budget {fault['budget']} on {fault['day']}: {counted}, {booked}")
    if not arguments.json:
        print(f"{found['counters']} counters, {len(faults)} faults")
    return EXIT_FAILED if faults else EXIT_OK


async def _resolve(ledger: SqlLedger, name: str) -> str:
    """The name with a key's prefix as the key's id."""
    if (prefix := types.prefix_of(name)) is None:
        return name
    found = [str(key.id) for key in await ledger.list_api_keys() if key.prefix == prefix]
    if not found:
        raise NotFound(f"There is no API key cp_{prefix}…: `copperplate keys list` has them all.")
    return name.replace(prefix, found[0])


async def _target(ledger: SqlLedger, settings: Settings, name: str) -> str:
    """The name of a budget to change, as the ledger has it. Says where nothing is booked to such a one.

    Raises `InvalidRequest` for a revoked key's, whose cap of 0 is for good.
    """
    resolved = await _resolve(ledger, name)
    kind, _, which = resolved.removeprefix(PREPAID).partition(":")
    if kind == "key":
        record = next((key for key in await ledger.list_api_keys() if str(key.id) == which), None)
        if record is not None and record.revoked_at is not None:
            raise InvalidRequest(f"The API key cp_{record.prefix}… is revoked, and has nothing to spend for good.")
        is_known = record is not None
    elif kind == "link":
        is_known = which in dict(settings.url_signing_keys or ())
    else:
        is_known = kind != "model" or which in _offered(settings)
    if not is_known:
        say(f"warning: {_UNKNOWN[kind].format(which)}; a cap of it bounds nothing until there is")
    return resolved


def _offered(settings: Settings) -> set[str]:
    """The models of these settings, as budgets name them; connects to nothing."""
    providers = []
    for kind in KINDS:
        # What is misconfigured offers nothing.
        with suppress(Misconfigured):
            providers.append(provider_of(kind, settings))
    return {f"{provider.name}/{model}" for provider in providers for model in provider.models}


async def _future(ledger: SqlLedger, until: datetime | timedelta) -> datetime:
    """The end of an override, by the ledger's clock."""
    now = datetime.fromtimestamp(float((await ledger.check_setup())["now"]), UTC)
    if isinstance(until, timedelta):
        return now + until
    if until <= now:
        raise InvalidRequest(
            f"--until is {time_text(until)}, and the ledger's clock says {time_text(now)}: name a later time."
        )
    return until


def _changed(asked: int | str | None, stands: int | None) -> int | None:
    if asked is None:
        return stands
    return None if isinstance(asked, str) else asked


def _print_states(
    arguments: argparse.Namespace, ask: Callable[[SqlLedger, Settings], Awaitable[Sequence[BudgetState]]]
) -> None:
    """Keys by their prefix for people, and by their id for programs, as in answers over HTTP."""

    async def read(ledger: SqlLedger, settings: Settings) -> tuple[Sequence[BudgetState], dict[str, str]]:
        states = await ask(ledger, settings)
        has_keys = any(state.budget.removeprefix(PREPAID).startswith("key:") for state in states)
        keys = await ledger.list_api_keys() if has_keys and not arguments.json else ()
        return states, {str(key.id): key.prefix for key in keys}

    states, prefixes = ask_ledger(arguments, read)
    if arguments.json:
        print_json([_row(state) for state in states])
    else:
        rows = (_cells(state, prefixes) for state in states)
        print_table([_COLUMNS, *rows], right=range(1, len(_COLUMNS) - 2))


def _row(state: BudgetState) -> dict[str, Any]:
    """A budget for programs; a dollar has six decimals, so that a float of 64 bits holds each amount exactly."""
    return {
        "budget": state.budget,
        "used_usd": state.used_micro_usd / MICRO,
        "cap_usd": _each(state.cap_micro_usd, lambda amount: amount / MICRO),
        "left_usd": _each(state.left_micro_usd, lambda amount: amount / MICRO),
        "used_pictures": state.used_pictures,
        "cap_pictures": state.cap_pictures,
        "left_pictures": state.left_pictures,
        "resets_at": _each(state.resets_at, time_text),
        "override_until": _each(state.override_until, time_text),
    }


def _cells(state: BudgetState, prefixes: Mapping[str, str]) -> list[str]:
    kind, colon, which = state.budget.partition(":")
    cells = (
        dollars(state.used_micro_usd),
        _each(state.cap_micro_usd, dollars),
        _each(state.left_micro_usd, dollars),
        f"{state.used_pictures:,}",
        _each(state.cap_pictures, "{:,}".format),
        _each(state.left_pictures, "{:,}".format),
        _each(state.resets_at, time_text),
        _each(state.override_until, time_text),
    )
    return [f"{kind}{colon}{prefixes.get(which, which)}", *(cell or "-" for cell in cells)]


def _each(value: Any, show: Callable[[Any], Any]) -> Any:
    return None if value is None else show(value)


def _of_one(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", type=types.budget_name, metavar="NAME", help=types.NAMES)
    return parser
