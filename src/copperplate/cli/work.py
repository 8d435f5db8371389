"""`copperplate work` makes what was promised and what batches wait for, until nothing is due."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK
from copperplate.cli.shared import add_command, ask_ledger, between, say, settings_of, with_database
from copperplate.compose import open_services
from copperplate.work.step import Report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.settings import Settings

MAX_LIMIT: Final = 1_000
DEFAULT_SHOWN: Final = 5
# Where something is due and others have as much in flight as may be.
AGAIN_SECONDS: Final = 1.0


def add(commands: Any) -> None:
    """Add `work`."""
    work = add_command(commands, "work", run_work, "make promised pictures and those of batches, until none is due")
    work.add_argument(
        "--limit",
        type=_limit,
        metavar="N",
        help="how many at once, over all processes (default: COPPERPLATE_WORK_ITEMS); with --dry-run how many to list",
    )
    how = work.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="take at most N, once, and end when they are made")
    how.add_argument("--dry-run", action="store_true", help="only list what is still to be made, the most urgent first")
    work.add_argument("--json", action="store_true", help="for programs")


def run_work(arguments: argparse.Namespace) -> int:
    """Work until nothing is due, or list it."""
    if arguments.dry_run:
        return _list(arguments)

    async def run(opened: Settings) -> tuple[Report, int]:
        async with open_services(opened) as services:
            limit = arguments.limit or opened.work_items
            if arguments.once:
                report = await services.work.run(within_seconds=math.inf, in_flight=limit, at_most=limit)
                await services.work.cdns.empty(most_runs=1)
                return report, services.work.cdns.told
            total = Report()
            while True:
                total += await services.work.run(within_seconds=math.inf, in_flight=limit)
                if not await services.ledger.is_work_due():
                    break
                await services.clock.sleep(AGAIN_SECONDS)
            await services.work.cdns.empty()
            return total, services.work.cdns.told

    with with_database(settings_of(arguments)) as settings:
        report, told = asyncio.run(run(settings))
    show(asdict(report), as_json=arguments.json)
    if told:
        say(f"CDNs were told to forget {told:,} copies")
    if report.put_back:
        say("what was put back is made later: run it again, or leave it to a server")
    return EXIT_FAILED if report.failed else EXIT_OK


def _list(arguments: argparse.Namespace) -> int:
    limit = arguments.limit or DEFAULT_SHOWN

    async def ask(ledger: SqlLedger, _: Settings) -> Sequence[tuple[str, str]]:
        return await ledger.pending_prompts(limit)

    pending = ask_ledger(arguments, ask)
    if arguments.json:
        show({"pending": [{"key": key, "prompt": prompt} for key, prompt in pending]}, as_json=True)
        return EXIT_OK
    for key, prompt in pending:
        print(key, prompt)
    if not pending:
        say("nothing is still to be made")
    return EXIT_OK


def _limit(raw: str) -> int:
    return between(raw, 1, MAX_LIMIT)
