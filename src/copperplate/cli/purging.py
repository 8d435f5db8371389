"""`copperplate purge` declares pictures wrong, or their copies in some tiers."""

from __future__ import annotations

import argparse
import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli import consent
from copperplate.cli.cdns import say_of_cdns, tell_cdns
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.lineage import tree_lines
from copperplate.cli.operations import days, loss_of
from copperplate.cli.purging_tiers import OF_AN_UNKNOWN_KEY, PURGED_TIERS, run_purge_of_tiers
from copperplate.cli.shared import A_KEY, add_command, key_of, say, settings_of, with_database
from copperplate.compose import open_backend
from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.operations.purge import purge

if TYPE_CHECKING:
    from copperplate.operations.cdn_purges import CdnReport
    from copperplate.settings import Settings

_NOTHING_NAMED: Final = (
    "copperplate: name what is wrong: --key, --prompt, --prefix, --model or --older-than-days; or --all with --tier "
    "[usage]"
)


def add(commands: Any) -> None:
    """Add `purge`."""
    purge_ = add_command(commands, "purge", run_purge, "declare pictures wrong; they are made anew when asked for")
    purge_.add_argument("--key", type=key_of, help=A_KEY)
    purge_.add_argument("--prompt", type=_given, help="every picture of this text")
    purge_.add_argument("--prefix", type=_prefix, help="every generation whose key begins so")
    purge_.add_argument("--model", type=_given, help="every picture this model made")
    purge_.add_argument("--older-than-days", type=days, metavar="N", help="every generation older than N days")
    purge_.add_argument(
        "--tier",
        action="append",
        choices=PURGED_TIERS,
        help="only copies in this tier, pinned or not; storage are the pictures themselves. May be given several times "
        "(default: the pictures, with every copy)",
    )
    purge_.add_argument("--all", action="store_true", help="everything that these tiers have")
    purge_.add_argument("--with-pinned", action="store_true", help="pinned ones, too; --key alone means them anyway")
    purge_.add_argument(
        "--with-children", action="store_true", help="and all that was made from them; a dry run shows it as a tree"
    )
    purge_.add_argument("--dry-run", action="store_true", help="only count what would be removed")
    consent.add_yes(purge_)
    purge_.add_argument("--json", action="store_true", help="for programs")


def _given(raw: str) -> str:
    """Not empty, as an unset shell variable is."""
    if not raw.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return raw


def _prefix(raw: str) -> str:
    if not re.fullmatch("[0-9a-f]{1,64}", raw):
        raise argparse.ArgumentTypeError(f"1 to 64 of 0-9 and a-f, not {raw!r}")
    return raw


def run_purge(arguments: argparse.Namespace) -> int:
    """Pictures that meet every condition given, or their copies in some tiers."""
    age = arguments.older_than_days
    settings = settings_of(arguments)
    condition = Condition(
        key=arguments.key,
        prompt=arguments.prompt,
        key_prefix=arguments.prefix,
        model=arguments.model,
        older_than=timedelta(days=age) if age is not None else None,
    )
    if fault := _fault_of(arguments, condition):
        say(fault)
        return EXIT_USAGE
    what = "drops copies" if _is_of_copies(arguments) else consent.REMOVAL
    if not arguments.dry_run and not consent.can_be_had(arguments, what):
        return EXIT_USAGE
    if arguments.tier:
        return run_purge_of_tiers(settings, arguments, None if arguments.all else condition)
    return _run_purge_of_pictures(settings, arguments, condition)


def _is_of_copies(arguments: argparse.Namespace) -> bool:
    """Whether the pictures themselves stay."""
    return bool(arguments.tier) and Tier.STORAGE.value not in arguments.tier


def _fault_of(arguments: argparse.Namespace, condition: Condition) -> str | None:
    is_named = condition != Condition()
    if arguments.all and is_named:
        return "copperplate: --all leaves nothing out: give it without --key, --prompt, --prefix and the like [usage]"
    if not is_named and not (arguments.all and arguments.tier):
        return _NOTHING_NAMED
    if _is_of_copies(arguments) and (arguments.with_pinned or arguments.with_children):
        return "copperplate: copies are dropped, pinned or not: --with-pinned and --with-children need storage [usage]"
    return None


def _run_purge_of_pictures(settings: Settings, arguments: argparse.Namespace, condition: Condition) -> int:
    async def run(opened: Settings, *, is_dry_run: bool) -> tuple[dict[str, Any], CdnReport | None]:
        async with open_backend(opened) as (ledger, stores):
            figures = await purge(
                ledger,
                condition,
                is_dry_run=is_dry_run,
                with_pinned=arguments.with_pinned,
                with_children=arguments.with_children,
                stores=stores,
            )
            return figures, None if is_dry_run else await tell_cdns(opened, ledger, stores)

    with with_database(settings) as opened:
        if not arguments.dry_run and not arguments.yes:
            found, _ = asyncio.run(run(opened, is_dry_run=True))
            if found["generations"] and not consent.is_given(arguments, loss_of(found)):
                return EXIT_FAILED
        figures, report = asyncio.run(run(opened, is_dry_run=arguments.dry_run))
    _show_purge(figures, arguments)
    if not arguments.dry_run:
        say_of_cdns(report)
    if figures["pinned"]:
        say("pinned pictures are left: --with-pinned means them, too, and --key names one")
    if condition == Condition(key=arguments.key) and not figures["generations"]:
        say(OF_AN_UNKNOWN_KEY)
    return EXIT_OK


def _show_purge(figures: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        show(figures, as_json=True)
    else:
        show({name: value for name, value in figures.items() if name != "tree"}, as_json=False)
        for line in tree_lines(figures.get("tree", ())):
            print(line)
    if figures.get("children") and not arguments.with_children:
        say("what was made from these pictures stays, as many as children: --with-children removes it, too")
