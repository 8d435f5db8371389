"""`copperplate purge --tier`: copies in some tiers, while the pictures stay."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli import consent
from copperplate.cli.cdns import say_of_cdns, tell_cdns
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK
from copperplate.cli.operations import loss_of
from copperplate.cli.shared import say, with_database
from copperplate.compose import open_backend, open_redis_copies
from copperplate.feed import Tier
from copperplate.operations.purge_tiers import TierPurge, purge_tiers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from copperplate.model import Condition
    from copperplate.operations.cdn_purges import CdnReport
    from copperplate.operations.purge_tiers import SharedCopies
    from copperplate.ports import Feed
    from copperplate.settings import Settings

PURGED_TIERS: Final = tuple(tier.value for tier in (Tier.MEMORY, Tier.DISK, Tier.REDIS, Tier.STORAGE, Tier.CDN))


def run_purge_of_tiers(settings: Settings, arguments: argparse.Namespace, condition: Condition | None) -> int:
    """Copies of pictures that meet every condition given, or all where it is None."""
    asked = TierPurge(
        tiers=frozenset(map(Tier, arguments.tier)),
        condition=condition,
        with_pinned=arguments.with_pinned,
        with_children=arguments.with_children,
    )

    async def run(opened: Settings, *, is_dry_run: bool) -> tuple[dict[str, Any], CdnReport | None]:
        async with open_backend(opened) as (ledger, stores):
            async with _open_redis(opened, ledger, asked) as redis:
                figures = await purge_tiers(ledger, asked, is_dry_run=is_dry_run, stores=stores, redis=redis)
            is_told = not is_dry_run and not asked.tiers.isdisjoint({Tier.STORAGE, Tier.CDN})
            return figures, await tell_cdns(opened, ledger) if is_told else None

    with with_database(settings) as opened:
        if not arguments.dry_run and not arguments.yes:
            found, _ = asyncio.run(run(opened, is_dry_run=True))
            if not consent.is_given(arguments, "; ".join(_losses(found))):
                return EXIT_FAILED
        figures, report = asyncio.run(run(opened, is_dry_run=arguments.dry_run))
    _show(figures, arguments)
    if not arguments.dry_run and not asked.tiers.isdisjoint({Tier.STORAGE, Tier.CDN}):
        say_of_cdns(report)
    if figures.get("storage", {}).get("pinned"):
        say("pinned pictures are left: --with-pinned means them, too")
    return EXIT_OK


def _open_redis(settings: Settings, ledger: Feed, asked: TierPurge) -> AbstractAsyncContextManager[SharedCopies | None]:
    """Redis, where it is to be purged and there is one."""
    return open_redis_copies(settings, ledger) if Tier.REDIS in asked.tiers else contextlib.nullcontext()


def _losses(figures: Mapping[str, Any]) -> Iterator[str]:
    """What goes, tier by tier."""
    for tier in ("memory", "disk"):
        if tier in figures:
            entries, size = f"{figures[tier]['entries']:,} copies", f"{figures[tier]['bytes']:,} bytes"
            yield f"at most {entries}, {size}, {'in' if tier == 'memory' else 'on'} {tier}{_when(figures[tier])}"
    if "redis" in figures:
        yield f"{figures['redis']['entries']:,} entries, {figures['redis']['bytes']:,} bytes, in Redis"
    if "storage" in figures:
        yield loss_of({**figures["storage"], "images": figures["storage"]["images"]})
    if "cdn" in figures:
        keys, objects = f"{figures['cdn']['keys']:,} pictures", f"{figures['cdn']['objects']:,} objects"
        yield f"the copies that CDNs have of {keys} and {objects}"


def _when(figures: Mapping[str, Any]) -> str:
    """How old the figures of a tier of processes are."""
    if figures["reported_seconds_ago"] is None:
        return ", as no process reported any lately"
    return f", as reported from {figures['places']:,} places {figures['reported_seconds_ago']:.0f} s ago"


def _show(figures: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        show(figures, as_json=True)
        return
    for tier, values in figures.items():
        known = {name: value for name, value in values.items() if name != "tree" and value is not None}
        print(tier, *(f"{name}={value}" for name, value in known.items()))
    if not arguments.dry_run and not {"memory", "disk"}.isdisjoint(figures):
        say("processes drop what they have in memory and on disk within 3 seconds, or before they answer any of it")
