"""`copperplate credits`: give credits, look at an account, check that every sum agrees."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from copperplate.cli.arguments import add_json
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK
from copperplate.cli.shared import add_command, ask_ledger, between, say, user_id

if TYPE_CHECKING:
    import argparse

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.settings import Settings

MAX_GRANT: Final = 1_000_000_000


def add(commands: Any) -> None:
    """The command and its three parts."""
    parser = commands.add_parser(
        "credits",
        help="give users credits, and check the sums",
        description="Credits of signed-in users.",
        allow_abbrev=False,
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")

    grant = add_command(parts, "grant", run_grant, "give a user credits")
    grant.add_argument("user", type=user_id, metavar="UUID", help="the user's id in Supabase Auth")
    grant.add_argument("amount", type=_amount, metavar="N", help=f"how many, 1 to {MAX_GRANT:,}")
    grant.add_argument("--ref", default=None, help="what it is for, such as an order: given twice, it counts once")
    add_json(grant)

    shown = add_command(parts, "show", run_show, "show what a user has")
    shown.add_argument("user", type=user_id, metavar="UUID", help="the user's id in Supabase Auth")
    add_json(shown)

    add_json(add_command(parts, "audit", run_audit, "add everything up; exit code 1 where a sum does not agree"))


def run_grant(arguments: argparse.Namespace) -> int:
    """Once per reference; without one every call is a grant of its own."""
    ref = arguments.ref or f"copperplate credits grant {uuid4()}"

    async def grant(ledger: SqlLedger, _: Settings) -> dict[str, Any]:
        return asdict(await ledger.grant_credits(arguments.user, arguments.amount, ref))

    show(ask_ledger(arguments, grant), as_json=arguments.json)
    return EXIT_OK


def run_show(arguments: argparse.Namespace) -> int:
    """Balance, held, available."""

    async def read(ledger: SqlLedger, _: Settings) -> dict[str, Any]:
        found = await ledger.credits(arguments.user)
        return {**asdict(found), "available": found.available}

    show(ask_ledger(arguments, read), as_json=arguments.json)
    return EXIT_OK


def run_audit(arguments: argparse.Namespace) -> int:
    """Sums over all accounts; a fault is an account whose sums do not agree."""

    async def audit(ledger: SqlLedger, _: Settings) -> dict[str, Any]:
        return dict(await ledger.audit_credits())

    sums = ask_ledger(arguments, audit)
    faults = sums["faults"]
    show(sums if arguments.json else {**sums, "faults": len(faults)}, as_json=arguments.json)
    for fault in faults:
        say(f"copperplate: {fault['fault']}: account {fault['account_id']}, {fault['found']} not {fault['expected']}")
    return EXIT_FAILED if faults else EXIT_OK


def _amount(raw: str) -> int:
    return between(raw, 1, MAX_GRANT)
