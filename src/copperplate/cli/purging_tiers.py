"""`copperplate purge --tier`: copies in some tiers, while the pictures stay."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli import consent
from copperplate.cli.cdns import say_of_cdns, say_of_untold, tell_cdns
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK
from copperplate.cli.operations import loss_of
from copperplate.cli.shared import WHERE_KEYS_ARE, say, with_database
from copperplate.compose import open_backend, open_redis_copies
from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.operations.purge_tiers import TierPurge, purge_tiers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from copperplate.operations.cdn_purges import CdnReport
    from copperplate.operations.purge_tiers import SharedCopies
    from copperplate.ports import Feed
    from copperplate.ports.maintenance import Maintenance
    from copperplate.settings import Settings

OF_AN_UNKNOWN_KEY: Final = f"nothing is known of this key, and nothing was removed. {WHERE_KEYS_ARE}"
# What is dropped from these CDNs are told.
_IN_CDNS: Final = {Tier.STORAGE, Tier.CDN}
PURGED_TIERS: Final = tuple(tier.value for tier in (Tier.MEMORY, Tier.DISK, Tier.REDIS, Tier.STORAGE, Tier.CDN))


def run_purge_of_tiers(settings: Settings, arguments: argparse.Namespace, condition: Condition | None) -> int:
    """Copies of pictures that meet every condition given, or all where it is None."""
    asked = TierPurge(
        tiers=frozenset(map(Tier, arguments.tier)),
        condition=condition,
        with_pinned=arguments.with_pinned,
        with_children=arguments.with_children,
    )
    is_in_cdns = not asked.tiers.isdisjoint(_IN_CDNS)
    is_found = True

    async def run(opened: Settings, *, is_dry_run: bool) -> tuple[dict[str, Any], CdnReport | None]:
        nonlocal is_found
        async with open_backend(opened) as (ledger, stores):
            is_found = await _is_found(ledger, condition)  # before anything is removed
            async with _open_redis(opened, ledger, asked) as redis:
                figures = await purge_tiers(ledger, asked, is_dry_run=is_dry_run, stores=stores, redis=redis)
            tells = is_in_cdns and not is_dry_run
            return figures, await tell_cdns(opened, ledger, stores) if tells else None

    with with_database(settings) as opened:
        if not arguments.dry_run and not arguments.yes:
            found, _ = asyncio.run(run(opened, is_dry_run=True))
            verb = "removes" if "storage" in found else "drops"
            if not consent.is_given(arguments, "; ".join(_losses(found)), verb=verb):
                return EXIT_FAILED
        figures, report = asyncio.run(run(opened, is_dry_run=arguments.dry_run))
        _show(figures, as_json=arguments.json)
    if is_in_cdns and not arguments.dry_run:
        say_of_cdns(report)
    if figures.get("storage", {}).get("pinned"):
        say("pinned pictures are left: --with-pinned means them, too")
    # Of a key copies are declared wrong even if the ledger has forgotten it.
    is_declared = not arguments.dry_run and (is_found or (condition is not None and condition.key is not None))
    reached = _say_what_is_reached(settings, asked.tiers, as_json=arguments.json) if is_declared else frozenset[Tier]()
    if not is_found and condition is not None and condition == Condition(key=condition.key):
        _say_of_unknown_key(reached)
    return EXIT_FAILED if is_declared and asked.tiers == {Tier.CDN} and not reached else EXIT_OK


async def _is_found(ledger: Maintenance, condition: Condition | None) -> bool:
    """Whether a picture of the ledger meets the condition."""
    if condition is None:
        return True
    return bool((await ledger.purge(condition, 1, is_dry_run=True, with_pinned=True)).generations)


def _say_what_is_reached(settings: Settings, tiers: frozenset[Tier], *, as_json: bool) -> frozenset[Tier]:
    """Say what becomes of copies that were declared wrong; answers in which tiers somebody drops them.

    `settings` are those given: without the local database.
    """
    reached = set(tiers)
    if not as_json and not tiers.isdisjoint({Tier.MEMORY, Tier.DISK}):
        say("processes drop what they have in memory and on disk within 3 seconds, or before they answer any of it")
    if Tier.REDIS in tiers and settings.redis_url is None:
        reached.remove(Tier.REDIS)
        say(
            "Redis was not reached, REDIS_URL is not set here: its copies are wrong for every process, and end by "
            "themselves."
        )
    if Tier.CDN in tiers and not say_of_untold(settings):
        reached.remove(Tier.CDN)
    return frozenset(reached)


def _say_of_unknown_key(reached: frozenset[Tier]) -> None:
    """Tiers may have copies of what the ledger has forgotten; storage has none."""
    near = [tier for tier in PURGED_TIERS if tier != Tier.STORAGE.value and Tier(tier) in reached]
    if near:
        tiers = ", ".join(near)
        say(f"nothing is known of this key; copies of it in {tiers} are declared wrong all the same. {WHERE_KEYS_ARE}")
    else:
        say(OF_AN_UNKNOWN_KEY)


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
        yield loss_of(figures["storage"])
    if "cdn" in figures:
        keys, objects = f"{figures['cdn']['keys']:,} pictures", f"{figures['cdn']['objects']:,} objects"
        yield f"the copies that CDNs have of {keys} and {objects}"


def _when(figures: Mapping[str, Any]) -> str:
    """How old the figures of a tier of processes are."""
    if figures["reported_seconds_ago"] is None:
        return ", as no process reported any lately"
    return f", as reported from {figures['places']:,} places {figures['reported_seconds_ago']:.0f} s ago"


def _show(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(figures, as_json=True)
        return
    for tier, values in figures.items():
        known = {name: value for name, value in values.items() if name != "tree" and value is not None}
        most = ("at most",) if tier in ("memory", "disk") else ()
        print(tier, *most, *(f"{name}={value}" for name, value in known.items()))
