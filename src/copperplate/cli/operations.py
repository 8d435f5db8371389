"""`copperplate cleanup` removes what is old."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.adapters.system_clock import SystemClock
from copperplate.cli import consent
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.shared import add_command, between, say, settings_of, with_database
from copperplate.compose import make_images, open_backend
from copperplate.errors import Misconfigured
from copperplate.operations.backfill import Backfill
from copperplate.operations.cleanup import clean, count
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from copperplate.ports import Images
    from copperplate.settings import Settings

MAX_DAYS = 36_500


def add(commands: Any) -> None:
    """Add `cleanup`."""
    cleanup = add_command(commands, "cleanup", run_cleanup, "remove what is old; the same run as the cron's")
    cleanup.add_argument(
        "--max-age-days",
        type=days,
        metavar="N",
        help="remove what was not served for N days (default: the rule of its kind, 30 for all but memoji)",
    )
    cleanup.add_argument("--dry-run", action="store_true", help="only count what would be removed")
    consent.add_yes(cleanup)
    cleanup.add_argument("--json", action="store_true", help="for programs")


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
        if is_asking and not consent.is_given(arguments, loss_of(asyncio.run(run(settings, is_dry_run=True)))):
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


def _is_sooner(keep: timedelta) -> bool:
    """Whether some kind loses more than by its own rule."""
    return any(keep < spec.retention for spec in KINDS.values() if spec.ages_from_last_use)


def loss_of(counted: Mapping[str, int]) -> str:
    """What is lost, by the counts of a cleanup or a purge."""
    by_kind = {spec.plural: counted[spec.count_name] for spec in KINDS.values() if counted.get(spec.count_name)}
    each = f" ({', '.join(f'{number:,} {plural}' for plural, number in by_kind.items())})" if by_kind else ""
    generations, size = f"{counted['generations']:,} generations", f"{counted['bytes']:,} bytes"
    return (
        f"{sum(by_kind.values()):,} pictures of {generations}{each}, {size}, "
        "which are made and paid anew when somebody asks for them"
    )


def days(raw: str) -> int:
    """The argument of an age."""
    return between(raw, 0, MAX_DAYS)
