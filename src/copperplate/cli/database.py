"""`copperplate migrate`, `database-url` and `stats`: the database."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from copperplate.access import shares
from copperplate.cli.exit_codes import EXIT_OK, EXIT_UNAVAILABLE
from copperplate.cli.shared import add_command, database_url, say, settings_of, with_database
from copperplate.compose import open_backend
from copperplate.errors import Misconfigured
from copperplate.feed import Tier
from copperplate.prices import MICRO, dollars
from copperplate.recipes.kinds import IMAGE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from copperplate.ports.budgets import BudgetState
    from copperplate.ports.statistics import KindStats, MoneySum, WarmingStats
    from copperplate.ports.tiers import TierSums
    from copperplate.settings import Settings


def add(commands: Any) -> None:
    """Add `migrate`, `database-url` and `stats`."""
    add_command(commands, "migrate", run_migrate, "bring the database's schema up to date")

    url = add_command(
        commands, "database-url", run_database_url, "print a URL for psql; needs a running `copperplate dev`"
    )
    url.add_argument("--tcp", action="store_true", help="over TCP on 127.0.0.1 instead of the Unix socket")


def add_stats(commands: Any) -> None:
    """The figures."""
    stats = add_command(commands, "stats", run_stats, "show what was asked, made and saved")
    stats.add_argument("--json", action="store_true", help="for programs")


def run_migrate(arguments: argparse.Namespace) -> int:
    """Apply what is missing, and make buckets again that are gone."""
    from copperplate.local.migrations import migrate

    settings = settings_of(arguments)
    if settings.database_url is not None:
        migrate(settings.database_url, announce=say)
        say(f"the schema of {_place_of(settings.database_url)} is up to date")
    elif settings.supabase_url is not None:
        # Settings name another database than the local one.
        raise Misconfigured(
            f"SUPABASE_URL is set, DATABASE_URL is not: set it to the connection string of {settings.supabase_url} "
            "(dashboard: Connect, session pooler), or paste sql/setup.sql into its SQL editor. Nothing was changed."
        )
    else:
        with database_url(settings):  # opening the local database migrates it
            say(f"the schema of the local database in {settings.data_dir} is up to date")
    return EXIT_OK


def _place_of(url: str) -> str:
    """Which database a URL names, without its password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        named = conninfo_to_dict(url)
    except ProgrammingError:
        return "the database in DATABASE_URL"
    host = str(named.get("host") or named.get("hostaddr") or "localhost")
    return f"{host}:{named.get('port') or 5432}/{named.get('dbname') or named.get('user') or ''}"


def run_database_url(arguments: argparse.Namespace) -> int:
    """A URL for the owner of the schema, as the last line."""
    from copperplate.local.cluster import find_running

    settings = settings_of(arguments)
    running = find_running(settings.data_dir)
    if running is None:
        say(f"copperplate: no database runs on {settings.data_dir}: start `copperplate dev` first [not_running]")
        return EXIT_UNAVAILABLE
    print(running.tcp_url() if arguments.tcp else running.owner_url)
    return EXIT_OK


def run_stats(arguments: argparse.Namespace) -> int:
    """One table of figures, since the beginning and today."""

    async def read(settings: Settings) -> tuple[dict[str, Any], Sequence[MoneySum], BudgetState]:
        async with open_backend(settings) as (ledger, _):
            figures = {
                **asdict(await ledger.generation_stats()),
                **_kept(await ledger.kind_stats(IMAGE.name)),
                **_warmed(await ledger.warming_stats()),
                **_tiers(await ledger.read_tiers()),
            }
            [wall, *_] = await ledger.read_budgets(shares.named(settings, ()))
            return figures, (await ledger.usage_totals()).money, wall

    with with_database(settings_of(arguments)) as settings:
        figures, money, wall = asyncio.run(read(settings))
    show({**figures, **_sums(money)}, as_json=arguments.json)
    if not arguments.json:
        cap = "no cap" if wall.cap_micro_usd is None else f"at most {dollars(wall.cap_micro_usd)}"
        print(f"spent today: {dollars(wall.used_micro_usd)}, {cap}; more by `copperplate budget show`")
    for row in money:
        if row.unpriced or row.unpriced_saved:
            counts = f"{row.unpriced} calls to {row.model} of {row.provider}, {row.unpriced_saved} saved ones"
            say(f"unknown price: {counts}; see `copperplate prices`")
    return EXIT_OK


def _kept(stats: KindStats) -> dict[str, Any]:
    """As `get_cache_stats()` names them."""
    return {
        "total_cached_images": stats.pictures,
        "total_access_count": stats.accesses,
        "avg_access_count": stats.avg_accesses,
        "total_size_bytes": stats.size_bytes,
        "total_stored_bytes": stats.stored_bytes,
    }


def _warmed(stats: WarmingStats) -> dict[str, Any]:
    """Of the last 90 days: pictures made by warming, those of them that were asked for since, and what both cost."""
    return {
        "warmed_pictures": stats.pictures,
        "warmed_and_asked_for": stats.asked_for,
        "warmed_requests": stats.requests,
        "warmed_usd": stats.estimated_micro_usd / MICRO,
        "warmed_in_vain_usd": stats.unused_micro_usd / MICRO,
    }


def _tiers(tiers: Iterable[TierSums]) -> dict[str, Any]:
    """What is in each tier, over all processes that answered something in the last five minutes; today's hits (UTC)."""
    figures: dict[str, Any] = {}
    for each in tiers:
        if each.tier is not Tier.STORAGE:  # above, as what is kept
            figures[f"{each.tier}_copies"] = each.entries
            figures[f"{each.tier}_bytes"] = each.bytes
            figures[f"{each.tier}_oldest_seconds"] = each.oldest_seconds
        figures[f"{each.tier}_hits_today"] = each.hits_today
    return figures


def _sums(money: Iterable[MoneySum]) -> dict[str, Any]:
    """Dollars spent and saved, exact to a millionth, of each kind of picture and of all; what they leave out."""
    sums = Counter[str]()
    for row in money:
        for name in ("spent", "saved"):
            sums[f"{name}_usd"] += getattr(row, f"{name}_micro_usd")
            sums[f"{row.kind}_{name}_usd"] += getattr(row, f"{name}_micro_usd")
        sums["estimated_generations"] += row.estimated
        sums["unpriced_generations"] += row.unpriced
        sums["unpriced_savings"] += row.unpriced_saved
    amounts = {name: sums[name] / MICRO for name in ("spent_usd", "saved_usd")}
    amounts |= {name: amount / MICRO for name, amount in sorted(sums.items()) if name.endswith("_usd")}
    return {
        **amounts,
        **{name: sums[name] for name in ("estimated_generations", "unpriced_generations", "unpriced_savings")},
    }


def show(figures: dict[str, Any], *, as_json: bool) -> None:
    """Figures by name, as a table or for programs."""
    if as_json:
        print(json.dumps(figures, indent=2, default=float))
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        shown = "-" if value is None else f"{value:,}" if not isinstance(value, bool) else str(value).lower()
        print(f"{name.replace('_', ' '):<{width}}  {shown:>16}")
