"""`copperplate cleanup` removes what is old, `copperplate purge` what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.adapters.system_clock import SystemClock
from copperplate.cli import consent
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.lineage import tree_lines
from copperplate.cli.shared import A_KEY, WHERE_KEYS_ARE, add_command, between, key_of, say, settings_of, with_database
from copperplate.compose import make_images, open_backend, open_cdns
from copperplate.errors import Misconfigured
from copperplate.model import Condition
from copperplate.operations.backfill import Backfill
from copperplate.operations.cleanup import clean, count
from copperplate.operations.purge import purge
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from copperplate.ports import Images
    from copperplate.settings import Settings

MAX_DAYS = 36_500


def add(commands: Any) -> None:
    """Add `cleanup` and `purge`."""
    cleanup = add_command(commands, "cleanup", run_cleanup, "remove what is old; the same run as the cron's")
    cleanup.add_argument(
        "--max-age-days",
        type=_days,
        metavar="N",
        help="remove what was not served for N days (default: the rule of its kind, 30 for all but memoji)",
    )
    cleanup.add_argument("--dry-run", action="store_true", help="only count what would be removed")
    consent.add_yes(cleanup)
    cleanup.add_argument("--json", action="store_true", help="for programs")

    purge_ = add_command(commands, "purge", run_purge, "declare pictures wrong; they are made anew when asked for")
    purge_.add_argument("--key", type=key_of, help=A_KEY)
    purge_.add_argument("--prompt", type=_given, help="every picture of this text")
    purge_.add_argument("--prefix", type=_prefix, help="every generation whose key begins so")
    purge_.add_argument("--model", type=_given, help="every picture this model made")
    purge_.add_argument("--older-than-days", type=_days, metavar="N", help="every generation older than N days")
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


def run_cleanup(arguments: argparse.Namespace) -> int:
    """One run, or what it would remove."""
    keep = None if arguments.max_age_days is None else timedelta(days=arguments.max_age_days)
    # No question for what the cron removes every day anyway.
    is_asking = not arguments.dry_run and keep is not None and _is_sooner(keep)
    if is_asking and not consent.can_be_had(arguments):
        return EXIT_USAGE

    async def run(settings: Settings, *, is_dry_run: bool) -> dict[str, Any]:
        async with open_backend(settings) as (ledger, stores):
            if is_dry_run:
                return dict(await count(ledger, keep=keep))
            clock = SystemClock()
            with _images(settings) as images:
                backfill = None if images is None else Backfill(ledger, stores, images, clock)
                cleaned = await clean(ledger, stores.values(), clock=clock, backfill=backfill, keep=keep)
            return cleaned.as_dict()

    with with_database(settings_of(arguments)) as settings:
        if is_asking and not consent.is_given(arguments, _loss(asyncio.run(run(settings, is_dry_run=True)))):
            return EXIT_FAILED
        figures = asyncio.run(run(settings, is_dry_run=arguments.dry_run))
    show(figures, as_json=arguments.json)
    if not figures.get("is_complete", True):
        say("not everything is done: run it again, or leave the rest to the next cron")
    return EXIT_OK


@contextlib.contextmanager
def _images(settings: Settings) -> Iterator[Images | None]:
    """For placeholders; None where Pillow is not installed, which a cleanup does not need."""
    try:
        images = make_images(settings)
    except Misconfigured:
        yield None
        return
    with contextlib.closing(images):
        yield images


def run_purge(arguments: argparse.Namespace) -> int:
    """Pictures that meet every condition given."""
    age = arguments.older_than_days
    settings = settings_of(arguments)
    condition = Condition(
        key=arguments.key,
        prompt=arguments.prompt,
        key_prefix=arguments.prefix,
        model=arguments.model,
        older_than=timedelta(days=age) if age is not None else None,
    )
    if condition == Condition():
        say("copperplate: name what is wrong: --key, --prompt, --prefix, --model or --older-than-days [usage]")
        return EXIT_USAGE

    if not arguments.dry_run and not consent.can_be_had(arguments):
        return EXIT_USAGE

    async def run(settings: Settings, *, is_dry_run: bool) -> dict[str, Any]:
        async with open_backend(settings) as (ledger, stores), open_cdns(settings) as cdns:
            return await purge(
                ledger,
                condition,
                is_dry_run=is_dry_run,
                with_pinned=arguments.with_pinned,
                with_children=arguments.with_children,
                stores=stores,
                cdns=cdns,
            )

    with with_database(settings) as opened:
        if not arguments.dry_run and not arguments.yes:
            found = asyncio.run(run(opened, is_dry_run=True))
            if found["generations"] and not consent.is_given(arguments, _loss(found)):
                return EXIT_FAILED
        figures = asyncio.run(run(opened, is_dry_run=arguments.dry_run))
    _show_purge(figures, arguments)
    if figures["pinned"]:
        say("pinned pictures are left: --with-pinned means them, too, and --key names one")
    if condition == Condition(key=arguments.key) and not figures["generations"]:
        say(f"nothing is known of this key, and nothing was removed. {WHERE_KEYS_ARE}")
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


def _is_sooner(keep: timedelta) -> bool:
    """Whether some kind loses more than by its own rule."""
    return any(keep < spec.retention for spec in KINDS.values() if spec.ages_from_last_use)


def _loss(counted: Mapping[str, int]) -> str:
    by_kind = {spec.plural: counted[spec.count_name] for spec in KINDS.values() if counted.get(spec.count_name)}
    each = f" ({', '.join(f'{number:,} {plural}' for plural, number in by_kind.items())})" if by_kind else ""
    generations, size = f"{counted['generations']:,} generations", f"{counted['bytes']:,} bytes"
    return (
        f"{sum(by_kind.values()):,} pictures of {generations}{each}, {size}, "
        "which are made and paid anew when somebody asks for them"
    )


def _days(raw: str) -> int:
    return between(raw, 0, MAX_DAYS)
