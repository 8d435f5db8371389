"""Telling CDNs at once what a command has declared wrong, and saying what is left to the work step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.cli.shared import say
from copperplate.compose import cdns_of, make_cdn_purges
from copperplate.errors import LedgerUnavailable
from copperplate.operations.cdn_purges import LATE, CdnReport
from copperplate.ports.cdns import CdnScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.ports import CdnOutbox, ObjectStore
    from copperplate.settings import Settings


async def tell_cdns(settings: Settings, ledger: CdnOutbox, stores: Mapping[str, ObjectStore]) -> CdnReport | None:
    """One run over what waits in the outbox, of others too; None where the ledger does not answer any more."""
    try:
        return await make_cdn_purges(settings, ledger, stores).run()
    except LedgerUnavailable:
        return None


def say_of_untold(settings: Settings) -> bool:
    """Say which CDN was not told from here, and who tells it; answers whether somebody may tell it.

    `settings` are those given: without the local database, which nobody else has.
    """
    scopes = cdns_of(settings).keys()
    if CdnScope.TAG in scopes:
        return True
    is_shared = settings.supabase_url is not None or settings.database_url is not None
    if not scopes and not is_shared:
        say(
            "No CDN was told, as none is set: set COPPERPLATE_VERCEL_TOKEN and VERCEL_PROJECT_ID, here or where the "
            "work step runs. Until then copies end by themselves. [misconfigured]"
        )
        return False
    say(
        "Vercel's CDN was not told from here, COPPERPLATE_VERCEL_TOKEN is not set: the purge waits in the database for "
        "two days, and the next work step of the deployment tells it, if the token is set there. Else its copies end "
        "by themselves. sql/cdn_purges.sql lists what waits"
    )
    return True


def say_of_cdns(report: CdnReport | None) -> None:
    """What CDNs were told, and what the next work step does."""
    if report is None:
        say("CDNs were not told yet: the work step tells them [ledger_unavailable]")
        return
    for error in report.errors:
        what = str(error).removesuffix(".")
        say(f"{what}. The work step tells it again; `copperplate work` does so from here [{error.code}]")
    if report.again:
        say(
            f"CDNs were told to forget {report.told:,} copies; the work step (`copperplate work`) tells them once more "
            f"in {LATE.total_seconds():.0f} seconds or later, when no process answers them any more"
        )
